"""What is told of tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tmrld.control.schemas.common import FromView


class Token(FromView):
    """A token: everything but its secret."""

    name: str = Field(description="Whom it was made for.")
    scope: str = Field(description="What it allows: viewer, operator, admin; worker or trainer for a node.")
    created: float = Field(description="When it was made.")


class Tokens(BaseModel):
    """All tokens by name."""

    items: list[Token]


class NewToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Whom it is for; a node has to call itself so.", max_length=200)
    scope: Literal["viewer", "operator", "admin", "worker", "trainer"] = Field(description="What it allows.")


class IssuedToken(BaseModel):
    """A token that was just made."""

    name: str = Field(description="Whom it was made for.")
    scope: str = Field(description="What it allows.")
    token: str = Field(description="The token, told this once.")
