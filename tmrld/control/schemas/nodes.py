"""What is told of nodes."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tmrld.control.schemas.common import FromView


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


class Node(FromView):
    """A node that is known."""

    name: str = Field(description="Its name.")
    role: str = Field(description="relay, trainer or worker.")
    version: str = Field(description="Its version of tmrld.")
    remote: str = Field(description="Address that it comes from.")
    run: str = Field(description="Run that it works for; empty for none.")
    connected: bool = Field(description="Whether it is connected now.")
    state: str = Field(description="What it does; `away` while it is not connected.")
    detail: str = Field(description="A sentence about that, if there is one.")
    latency_s: float | None = Field(description="Measured round trip to it, in seconds.")
    machine: dict[str, Any] = Field(description="Facts about its machine.")
    values: dict[str, Any] = Field(description="Numbers that it reports of itself.")
    last_seen: float = Field(description="When it was last there.")
    assigned: str | None = Field(description="Run that a person has chosen for it; null: the relay chooses.")


class Nodes(BaseModel):
    """All nodes that are known."""

    items: list[Node]


class Diagnosis(FromView):
    """What one look at a machine found."""

    area: str = Field(description="What it belongs to, such as `network`.")
    check: str = Field(description="What was looked at.")
    state: str = Field(description="ok; note: works, but should be known; wrong: keeps something from working.")
    text: str = Field(description="What was found, and what was expected.")
    mend: str = Field(description="What to do; empty where there is nothing to do.")
    code: str = Field(description="The cause, in a word that stays the same between versions; empty where all is well.")


class Examination(FromView):
    """What the doctor found on a node's machine."""

    time: float = Field(description="When that was.")
    state: str = Field(description="The worst of its diagnoses.")
    diagnoses: list[Diagnosis] = Field(description="What was looked at, area by area.")
    picture: Annotated[str, BeforeValidator(_base64)] = Field(
        description="What the node sees of the game, with the LIDAR's beams: a JPEG in base64; empty where it sees none."
    )


class NewName(BaseModel):
    """What to call a node."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Its new name.", max_length=200)


class Assignment(BaseModel):
    """Which run a node is to work for."""

    run: str | None = Field(description="Name of the run; null leaves the node to the relay.", max_length=200)
    take_over: bool = Field(False, description="Whether a trainer replaces the one that trains the run now.")
