"""What is told of invites."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tmrld.control.schemas.common import FromView


class Invite(FromView):
    """An invite: everything but its secret."""

    id: str = Field(description="Its id.")
    role: str = Field(description="worker or trainer.")
    name: str | None = Field(description="What the machine will be called; null: as it likes.")
    created: float = Field(description="When it was made.")
    expires: float = Field(description="Until when it can be used.")
    used_by: str | None = Field(description="Name of the node that has joined with it.")


class Invites(BaseModel):
    """Invites, the newest first."""

    items: list[Invite]


class NewInvite(BaseModel):
    """An invite to make."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["worker", "trainer"] = Field(description="What the machine will do.")
    name: str | None = Field(None, description="What it will be called; null: as it likes.", max_length=200)
    expires_s: float = Field(3600.0, description="How long it can be used.", ge=1.0, le=30 * 86400.0)
    address: str | None = Field(
        None,
        description="HOST or HOST:PORT at which that machine reaches the relay's port for peers; null: relay.address, or a guess.",
        max_length=300,
    )


class MadeInvite(FromView):
    """An invite that was just made."""

    id: str = Field(description="Its id.")
    role: str = Field(description="worker or trainer.")
    name: str | None = Field(description="What the machine will be called; null: as it likes.")
    expires: float = Field(description="Until when it can be used.")
    address: str = Field(description="Where the machine will look for the relay.")
    invite: str = Field(description="The invite, told this once.")
    command: str = Field(description="What to run on the new machine.")
    warning: str | None = Field(description="What may keep it from working, if anything.")
