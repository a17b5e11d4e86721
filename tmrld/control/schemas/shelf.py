"""What is told of the files that runs refer to."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tmrld.control.schemas.common import FromView


class ShelfItem(FromView):
    """A file on the shelf."""

    name: str = Field(description="What runs call it.")
    file: str = Field(description="What a copy of it is called.")
    sha256: str = Field(description="SHA-256 of the file in hexadecimal; in quotes it is the file's ETag.")
    size_bytes: int = Field(description="Size of the file.")
    made: float = Field(description="When it was put there.")
    bundled: bool = Field(description="Whether tmrld brings it: then it cannot be replaced or deleted.")
    about: dict[str, Any] = Field(
        description="Its facts. Tracks: `length_m`, `points`, `source`, `lap_time_s`; weights: `environment`, `update`, `run`, "
        "`version`; demonstrations: `environment`, `track`, `episodes`, `transitions`, `finished`, and `run` where "
        "they are a run's."
    )
    runs: list[str] = Field(description="Names of the runs that refer to it, oldest first.")


class ShelfItems(BaseModel):
    """Files on the shelf, by name."""

    items: list[ShelfItem]


class NewDemonstrations(BaseModel):
    """Training episodes of a run that are to be demonstrations: all, or some of them."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What runs are to call them.", max_length=200)
    first: int | None = Field(None, description="So many of the first episodes.", ge=1, le=1_000_000)
    last: int | None = Field(None, description="So many of the last episodes.", ge=1, le=1_000_000)
    best_laps: int | None = Field(None, description="So many episodes with the fastest laps.", ge=1, le=1_000_000)
    finished_only: bool = Field(False, description="Whether episodes that did not reach the finish are left out.")
    replace: bool = Field(False, description="Whether they may take the place of others of that name.")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if sum(each is not None for each in (self.first, self.last, self.best_laps)) > 1:
            raise ValueError("first, last and best_laps exclude each other: give one of them")
        return self


class Making(FromView):
    """Demonstrations that are made of a run."""

    run: str = Field(description="The run.")
    name: str = Field(description="What runs are to call them.")
    state: Literal["making", "made", "failed"] = Field(description="Whether they are being made, on the shelf, or neither.")
    done: float = Field(description="The share of the work that is done, from 0 to 1.")
    episodes: int = Field(description="Episodes in the file, once it is made.")
    missing: int = Field(description="Episodes that were chosen, but are not whole in the sample log any more.")
    detail: str = Field(description="Where that failed: why, and what to do.")
