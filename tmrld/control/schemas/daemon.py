"""What the daemon tells of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Whether the daemon works.  Asked for without a token."""

    status: str = Field(description="`ok`, or what is wrong.")
    uptime_s: float = Field(description="Seconds since the start.")
    roles: list[str] = Field(description="What this daemon does: relay, trainer, worker.")


class Version(BaseModel):
    """What is running here."""

    version: str = Field(description="Version of tmrld.")
    api: Literal["v1"] = Field("v1", description="Version of this API.")
    node: str = Field(description="Name of this node.")
