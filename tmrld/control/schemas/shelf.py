"""What is told of the files that runs refer to."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

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
        "`version`; demonstrations: `environment`, `track`, `episodes`, `transitions`, `finished`."
    )
    runs: list[str] = Field(description="Names of the runs that refer to it, oldest first.")


class ShelfItems(BaseModel):
    """Files on the shelf, by name."""

    items: list[ShelfItem]
