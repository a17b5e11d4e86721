"""What is told of nodes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tmrld.control.schemas.common import FromView


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


class NewName(BaseModel):
    """What to call a node."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Its new name.", max_length=200)


class Assignment(BaseModel):
    """Which run a node is to work for."""

    run: str | None = Field(description="Name of the run; null leaves the node to the relay.", max_length=200)
