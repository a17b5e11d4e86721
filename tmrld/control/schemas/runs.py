"""What is told of runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
    queued_position: int | None = Field(
        description="Its place among the runs that wait for a trainer, from 1; null if it does not."
    )
    trainer: str | None = Field(description="Name of the trainer that is connected and works for it.")
    workers: list[str] = Field(description="Names of the workers that are connected and work for it.")
    updates_per_s: float | None = Field(description="Gradient updates per second, as its trainer last reported.")
    last_return: float | None = Field(description="Sum of rewards of the newest training episode.")
    spark: list[float | None] = Field(description="Sums of rewards of the newest training episodes, at most 60, oldest first.")
    problem: str | None = Field(
        description="What is wrong with it now, in the words of the relay or of a node that works for it; null if nothing is."
    )
    unstored_chunks: int = Field(description="Chunks that have arrived at the relay and wait for its disk.")
    unstored_bytes: int = Field(description="Their size.")


class Runs(BaseModel):
    """All runs."""

    items: list[Run]


Start = Literal["now", "queue", "no"]
Patch = Annotated[dict[str, Any], Field(description="A merge patch (RFC 7396) over that configuration.")]


class NewRun(BaseModel):
    """A run that is to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Its name: lower-case letters, digits, dots, dashes and underscores.", max_length=200)
    preset: str | None = Field(None, description="The preset that it begins from; null for the defaults.", max_length=200)
    config: Patch = {}
    start: Start = Field("no", description="Start it now, queue it until a trainer has nothing to do, or leave it stopped.")


class NewClone(BaseModel):
    """A run that is to be made with the configuration of another one."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Its name.", max_length=200)
    config: Patch = {}
    start: Start = Field("no", description="Start it now, queue it until a trainer has nothing to do, or leave it stopped.")


class Preset(BaseModel):
    """A run that is ready to be made."""

    name: str = Field(description="Its name.")
    title: str = Field(description="Its name for people.")
    description: str = Field(description="What it is good for.")
    config: dict[str, Any] = Field(description="The whole configuration.")


class Presets(BaseModel):
    """All presets."""

    items: list[Preset]
