"""Evaluations that are published, and the leaderboard."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tmrld.control.schemas.common import FromView

Protocol = Literal["plain", "tmrl-league"]
Game = Literal["sim", "trackmania", ""]
Seconds = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Return = Annotated[float, Field(allow_inf_nan=False)]


class NewEvaluatedEpisode(BaseModel):
    """An episode as it was driven."""

    model_config = ConfigDict(extra="forbid")

    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(None, description="Seed of its start, if it had one.")
    finished: bool = Field(description="Whether it reached the finish.")
    lap_time_s: Seconds | None = Field(None, description="Lap time in seconds, if it was finished and laps are timed.")
    episode_return: Return | None = Field(None, description="Sum of its rewards; null where it is unknown.")
    steps: int = Field(description="Its length in steps.", ge=1, le=2**53)

    @model_validator(mode="after")
    def _laps_are_finished(self) -> Self:
        if self.lap_time_s is not None and not self.finished:
            raise ValueError("an episode that was not finished has no lap time")
        return self


class NewEvaluatedWeights(BaseModel):
    """What has driven."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What it is called on the leaderboard.", min_length=1, max_length=100)
    run: str | None = Field(None, description="Run that the weights came from, if they did.", min_length=1, max_length=200)
    version: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(None, description="Their version in that run.")


class NewEvaluation(BaseModel):
    """Episodes that are to be published."""

    model_config = ConfigDict(extra="forbid")

    weights: NewEvaluatedWeights = Field(description="What has driven.")
    track: str = Field(description="Name of the track.", min_length=1, max_length=200)
    environment: str = Field(description="Id of the environment.", min_length=1, max_length=200)
    game: Game = Field("", description="sim, trackmania, or empty for an environment of another kind.")
    protocol: Protocol = Field(
        "plain",
        description="tmrl-league: by the rules of the TMRL Roborace League, episodes in the order in which they were driven.",
    )
    perturbed: bool = Field(False, description="Whether the starts were perturbed, as in a run's own evaluation.")
    note: str = Field("", description="What else is worth knowing.", max_length=2000)
    episodes: list[NewEvaluatedEpisode] = Field(description="Every episode.", min_length=1, max_length=1000)


class EvaluatedEpisode(FromView):
    """An episode as it was driven."""

    seed: int | None = Field(description="Seed of its start, if it had one.")
    finished: bool = Field(description="Whether it reached the finish.")
    lap_time_s: float | None = Field(description="Lap time in seconds, if it was finished and laps are timed.")
    episode_return: float | None = Field(description="Sum of its rewards.")
    steps: int = Field(description="Its length in steps.")


class EvaluatedWeights(FromView):
    """What has driven."""

    name: str = Field(description="What it is called.")
    run: str | None = Field(description="Run that the weights came from, if they did; it need not be one of this relay.")
    version: int | None = Field(description="Their version in that run.")


class Score(FromView):
    """What episodes say together.  The deviation is that of just these laps (divided by their number)."""

    episodes: int = Field(description="How many there were.")
    finished: int = Field(description="How many of them reached the finish.")
    finish_share: float | None = Field(description="The share of those, from 0 to 1.")
    mean_lap_s: float | None = Field(description="Mean lap time, in seconds.")
    std_lap_s: float | None = Field(description="Standard deviation of the lap times, in seconds.")
    median_lap_s: float | None = Field(description="Median lap time, in seconds.")
    best_lap_s: float | None = Field(description="Shortest lap, in seconds.")
    mean_return: float | None = Field(description="Mean sum of rewards.")


class LeagueScore(FromView):
    """How an entry stands by the rules of the TMRL Roborace League."""

    times_s: list[float] = Field(description="Times of the runs that count, penalties included, in seconds.")
    crashes: int = Field(description="Episodes that did not reach the finish: each adds 10 s to the next run.")
    eliminated: bool = Field(description="Whether the third crash has ended it.")
    mean_s: float | None = Field(description="The mean of ten runs, in seconds; null for an entry that is out.")
    std_s: float | None = Field(description="Their standard deviation, in seconds; null for an entry that is out.")


class PublishedEvaluation(FromView):
    """Episodes that somebody has published."""

    id: int = Field(description="Its number.")
    created: float = Field(description="When the relay received it.")
    author: str = Field(description="Whose token it was published with.")
    weights: EvaluatedWeights = Field(description="What has driven.")
    track: str = Field(description="Name of the track.")
    environment: str = Field(description="Id of the environment.")
    game: Game = Field(description="sim, trackmania, or empty for an environment of another kind.")
    protocol: Protocol = Field(description="plain, or tmrl-league for the rules of the TMRL Roborace League.")
    perturbed: bool = Field(description="Whether the starts were perturbed.")
    note: str = Field(description="What else is worth knowing.")
    episodes: list[EvaluatedEpisode] = Field(description="Every episode, in the order in which they were driven.")
    score: Score = Field(description="What they say together.")
    league: LeagueScore | None = Field(description="The league's score; null for another protocol.")


class PublishedEvaluations(BaseModel):
    """Published evaluations, the newest first."""

    items: list[PublishedEvaluation]
    next: str | None = Field(description="Give this as `before` to see the evaluations before these; null at the end.")


class LeaderboardEntry(FromView):
    """A line of a board."""

    rank: int = Field(description="Its place, from 1.")
    source: Literal["published", "run"] = Field(
        description="published: somebody has published it; run: the evaluation episodes of a run of this relay, those of the version "
        "that did best."
    )
    weights: EvaluatedWeights = Field(description="What has driven.")
    environment: str = Field(description="Id of the environment; of a run, as it is configured now.")
    protocol: Protocol = Field(description="plain, or tmrl-league for the rules of the TMRL Roborace League.")
    perturbed: bool = Field(description="Whether the starts were perturbed, where the world allows that.")
    created: float = Field(description="When the relay received it, or the newest of a run's episodes.")
    author: str | None = Field(description="Whose token it was published with; null for a run.")
    note: str = Field(description="What else is worth knowing.")
    evaluation: int | None = Field(description="Number of the published evaluation; null for a run.")
    score: Score = Field(description="What its episodes say together.")
    league: LeagueScore | None = Field(description="The league's score; null for another protocol.")


class Board(FromView):
    """Everything that drives on one track of one game: by the share of finishes, then by the median lap."""

    track: str = Field(description="Name of the track.")
    game: Game = Field(description="sim, trackmania, or empty for an environment of another kind.")
    entries: list[LeaderboardEntry] = Field(description="The best first.")


class Leaderboard(BaseModel):
    """The boards of all tracks, or of one."""

    items: list[Board]
