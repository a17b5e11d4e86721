"""What is told of runs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from tmrld.control.schemas.common import FromView


class Run(FromView):
    """A run at a glance."""

    name: str = Field(description="Its name.")
    state: str = Field(description="queued, running, paused, stopped, failed or finished.")
    created: float = Field(description="When it was made.")
    revision: int = Field(description="Number of the newest revision of its configuration.")
    config: dict[str, Any] = Field(description="That configuration.")
    lineage: int = Field(description="Number of its lineage: grows with each resume from an older checkpoint.")
    update: int = Field(description="Gradient updates so far.")
    transitions: int = Field(description="Training transitions that its sample log ever took.")
    episodes: int = Field(description="Episodes that were driven to their end.")
    best_lap_s: float | None = Field(description="Shortest lap so far, in seconds.")
    weights_version: int = Field(description="Newest version of its weights.")


class Runs(BaseModel):
    """All runs."""

    items: list[Run]
