"""What is told of logs."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tmrld.control.schemas.common import FromView


class LogLine(FromView):
    """A line of a log."""

    time: float = Field(description="When the relay received it.")
    level: str = Field(description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    source: str = Field(
        description="What said it: an engine, or a part of the daemon; in the log of a run, the node before it."
    )
    text: str = Field(description="What it says; may have several lines.")


class Log(BaseModel):
    """The newest lines of a log, oldest first."""

    items: list[LogLine]
