"""Signing in."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Login(BaseModel):
    """What a person signs in with: one of the two."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: str = Field("", description="A token of a person, as `tmrld token new` prints it.", max_length=200)
    code: str = Field("", description="A one-time code, as in the address that `tmrld up` opens.", max_length=200)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.token) == bool(self.code):
            raise ValueError("expected either token or code")
        return self


class Session(BaseModel):
    """Who is asking."""

    name: str = Field(description="Whom the token was made for.")
    scope: str = Field(description="What it allows: viewer, operator or admin.")
    expires: float | None = Field(description="When the session ends; null for a token, which does not.")


class OneTimeCode(BaseModel):
    """Signs a browser in: put `#code=` and the code behind the page's address."""

    code: str = Field(description="The code, told this once.")
    expires_s: float = Field(description="How long it can be used, in seconds.")
