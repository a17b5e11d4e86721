"""What is told of the configuration of a run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tmrld.control.schemas.common import FromView


class Change(FromView):
    """A field that has one value before and another after."""

    path: str = Field(description="The field, for example `algorithm.gamma`.")
    before: Any = Field(description="Its value before.")
    after: Any = Field(description="Its value after.")
    applies: Literal["live", "restart", "new-run"] = Field(
        description="`live`: from the next update, step or episode on. `restart`: the engines that use it start again from their "
        "last checkpoint. `new-run`: only a run that has not begun can have it."
    )


class Config(FromView):
    """A run's configuration at one revision."""

    revision: int = Field(description="Number of the revision; they count from 1.")
    config: dict[str, Any] = Field(description="The configuration; `schema` says what it may hold.")
    author: str = Field(description="Who wrote it: the name of a token, or of the relay.")
    time: float = Field(description="When it was written.")


class Revision(FromView):
    """One step in the history of a configuration."""

    revision: int = Field(description="Its number.")
    author: str = Field(description="Who wrote it.")
    time: float = Field(description="When it was written.")
    changes: list[Change] = Field(description="In what it differs from the revision before it.")


class Revisions(BaseModel):
    """All revisions, the newest first."""

    items: list[Revision]


class Edit(FromView):
    """What an edit has done, or in a dry run would do."""

    revision: int = Field(
        description="The newest revision; in a dry run, or when nothing differs, the one that was there before."
    )
    config: dict[str, Any] = Field(description="The configuration after the edit.")
    changes: list[Change] = Field(description="What it changes.")


class Rollback(BaseModel):
    """To which revision a configuration goes back."""

    model_config = ConfigDict(extra="forbid")

    to: int = Field(description="The revision whose configuration is wanted again.", ge=1, le=2**31)
    revision: int = Field(description="The newest revision, as the author has seen it.", ge=1, le=2**31)
