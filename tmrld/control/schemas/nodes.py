"""What is told of nodes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from tmrld.control.schemas.common import FromView


class Node(FromView):
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
