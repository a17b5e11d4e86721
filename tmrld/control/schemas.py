"""What the control API answers with: its documented shape.  Made from the views of `tmrld.node`, field by field.

Times are seconds since 1970 by the relay's clock.  A number that is NaN or infinite is null.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _FromView(BaseModel):
    model_config = ConfigDict(from_attributes=True)


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


class Node(_FromView):
    """A node that is connected."""

    name: str = Field(description="Its name.")
    role: str = Field(description="relay, trainer or worker.")
    version: str = Field(description="Its version of tmrld.")
    remote: str = Field(description="Address that it comes from.")
    run: str = Field(description="Run that it works for; empty for none.")
    state: str = Field(description="What it does.")
    detail: str = Field(description="A sentence about that, if there is one.")
    latency_s: float | None = Field(description="Measured round trip to it, in seconds.")
    machine: dict[str, Any] = Field(description="Facts about its machine.")
    values: dict[str, Any] = Field(description="Numbers that it reports of itself.")


class Nodes(BaseModel):
    """All nodes that are connected."""

    items: list[Node]


class Run(_FromView):
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


class Series(_FromView):
    """A metric's points in the order of updates: three lists of one length."""

    name: str = Field(description="Name of the metric.")
    updates: list[int] = Field(description="Update of each point.")
    transitions: list[int] = Field(description="Training transitions there were by then.")
    values: list[float | None] = Field(description="Value of each point; null for NaN and infinities.")


class Metrics(BaseModel):
    """Which metrics a run has, and the points of those that were asked for."""

    run: str = Field(description="Name of the run.")
    names: list[str] = Field(description="All metrics that the run has.")
    series: list[Series] = Field(description="Those asked for with `names`, in that order.")


class Evaluation(_FromView):
    """How a version of the weights did in its evaluation episodes."""

    episodes: int = Field(description="How many there were.")
    finished: int = Field(description="How many of them reached the finish.")
    mean_return: float | None = Field(description="Mean sum of rewards.")
    median_lap_s: float | None = Field(description="Median lap time of those that finished, in seconds.")


class Weights(_FromView):
    """A stored version of the policy."""

    version: int = Field(description="Its number, which grows.")
    update: int = Field(description="Gradient updates behind it.")
    lineage: int = Field(description="Lineage of the run that it belongs to.")
    size_bytes: int = Field(description="Size of the file.")
    sha256: str = Field(description="SHA-256 of the file in hexadecimal; in quotes it is the file's ETag.")
    created: float = Field(description="When the relay received it.")
    pinned: bool = Field(description="Whether it is kept for good.")
    evaluation: Evaluation | None = Field(description="How it did, once it has been evaluated.")


class WeightsVersions(BaseModel):
    """The stored versions of a run's policy."""

    items: list[Weights]


class Episode(_FromView):
    """An episode that was driven to its end."""

    episode: str = Field(description="Its id.")
    worker: str = Field(description="Name of the worker that drove it.")
    track: str = Field(description="Track that it was driven on.")
    purpose: str = Field(description="train or evaluation.")
    actor: str = Field(description="Who drove: random, policy, human or scripted.")
    steps: int = Field(description="Its length in steps.")
    episode_return: float | None = Field(description="Sum of its rewards.")
    finished: bool = Field(description="Whether it reached the finish.")
    lap_time_s: float | None = Field(description="Lap time in seconds, if it did.")
    progress: float | None = Field(description="Share of the track that was driven, from 0 to 1.")
    weights_version: int = Field(description="Version of the weights that drove.")
    received: float = Field(description="When the relay had all of it.")


class Episodes(BaseModel):
    """Episodes of a run, the newest first."""

    items: list[Episode]
