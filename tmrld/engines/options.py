"""How the supervisor treats an engine."""

from __future__ import annotations

import logging
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EngineOptions(BaseModel):
    """Patience with an engine process, and its share of the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Threads for numerical libraries (OpenMP, MKL, OpenBLAS); None leaves it to them.",
    )
    priority: Literal["normal", "low"] = Field(default="normal", description="Low gives way to everything else on the machine.")
    log_level: int = Field(default=logging.INFO, ge=0, le=50, description="Least level of log records that reach the daemon.")
    beat_s: float = Field(default=2.0, gt=0, le=60, description="Seconds between the heartbeats of a loop that goes round.")
    start_timeout_s: float = Field(
        default=300.0, gt=0, le=3600, description="Seconds until the first sign of life; importing torch can take a minute."
    )
    hang_timeout_s: float | None = Field(
        default=60.0, gt=0, le=3600, description="Seconds without a sign of life until the engine is killed; None never kills."
    )
    stop_timeout_s: float = Field(
        default=10.0, ge=0, le=600, description="Seconds between asking the engine to end and terminating it."
    )
    terminate_timeout_s: float = Field(
        default=3.0, ge=0, le=60, description="Seconds between terminating an engine and killing it (POSIX)."
    )
    restart_on_crash: bool = Field(default=True, description="False for one job: after a crash the engine stays down.")
    backoff_first_s: float = Field(default=0.5, ge=0, le=60, description="Seconds before the restart after a first crash.")
    backoff_cap_s: float = Field(
        default=30.0, ge=0, le=600, description="Seconds before a restart at most; each crash doubles."
    )
    healthy_s: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds of running after which earlier crashes are forgotten."
    )
