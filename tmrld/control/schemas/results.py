"""What is told of what a run has brought."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from tmrld.control.schemas.common import FromView


class Series(FromView):
    """A metric's points in the order of updates: four lists of one length."""

    name: str = Field(description="Name of the metric.")
    updates: list[int] = Field(description="Update of each point.")
    transitions: list[int] = Field(description="Training transitions there were by then.")
    times: list[float] = Field(description="When the relay received each point.")
    values: list[float | None] = Field(description="Value of each point; null for NaN and infinities.")


class MetricInfo(FromView):
    """What a metric means."""

    name: str = Field(description="Its name.")
    title: str = Field(description="A short title.")
    group: str = Field(description="What it belongs to.")
    unit: str = Field(description="Its unit; empty for none.")
    description: str = Field(description="What it is, in a sentence.")
    healthy: str = Field(description="What it looks like when all is well, in a sentence.")
    better: Literal["higher", "lower"] | None = Field(description="Which way is better, if one is.")


class Metrics(BaseModel):
    """Which metrics a run has, and the points of those that were asked for."""

    run: str = Field(description="Name of the run.")
    names: list[str] = Field(description="All metrics that the run has.")
    info: list[MetricInfo] = Field(description="What each of them means, group by group.")
    series: list[Series] = Field(description="Those asked for with `names`, in that order.")


class Evaluation(FromView):
    """How a version of the weights did in its evaluation episodes."""

    episodes: int = Field(description="How many there were.")
    finished: int = Field(description="How many of them reached the finish.")
    mean_return: float | None = Field(description="Mean sum of rewards.")
    median_lap_s: float | None = Field(description="Median lap time of those that finished, in seconds.")


class Weights(FromView):
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


class Checkpoint(FromView):
    """A stored state of a run's training."""

    update: int = Field(description="The update at which it was taken.")
    lineage: int = Field(description="Number of its lineage: grows with each resume from an older checkpoint.")
    size_bytes: int = Field(description="Size of the file.")
    sha256: str = Field(description="SHA-256 of the file in hexadecimal.")
    created: float = Field(description="When the relay received it.")
    best: bool = Field(description="Whether it is the one nearest to the weights that did best in evaluation: then it is kept.")
    pinned: bool = Field(description="Whether it is kept for good.")
    damaged: bool = Field(description="Whether its file was found to be damaged: then nobody goes on from it.")


class Checkpoints(BaseModel):
    """The stored states of a run's training, the last stored first."""

    items: list[Checkpoint]


class Episode(FromView):
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
    next: str | None = Field(description="Give this as `before` to see the episodes before these; null at the end.")


class Trajectory(FromView):
    """A driven line: four lists of one length, of at most 256 points."""

    x: list[float | None] = Field(description="Metres.")
    z: list[float | None] = Field(description="Metres.")
    speed: list[float | None] = Field(description="Metres per second.")
    time: list[float | None] = Field(description="Seconds since the start.")


class DrivenEpisode(Episode):
    """An episode with the line that was driven."""

    trajectory: Trajectory = Field(description="The line; empty where the environment tells no positions.")


class Track(FromView):
    """The line of a track from start to finish, at most 1000 points of it."""

    name: str = Field(description="Its name.")
    x: list[float] = Field(description="Metres.")
    z: list[float] = Field(description="Metres; one for each x.")
    width_m: float | None = Field(description="Width of the road; null where it is unknown.")


class Bottleneck(FromView):
    """Which part of a run holds the others up."""

    part: Literal["collecting", "sending", "sampling", "updating", "none"] = Field(description="The part.")
    sentence: str = Field(description="Why, and what would help.")
