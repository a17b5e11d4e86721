"""How a relay keeps what it is sent.  Imports nothing heavy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RelayOptions(BaseModel):
    """Where the relay listens for peers, and how much it keeps of each run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on for workers and trainers; 0.0.0.0 for all.")
    port: int = Field(7401, ge=0, le=65535, description="Port for workers and trainers; 0 takes any free one.")
    address: str = Field(
        "", description="Address at which other machines reach this port, HOST or HOST:PORT, for invites; empty guesses."
    )
    sample_log_bytes: int = Field(
        20 * 2**30,
        ge=2**28,
        description="Sample log kept per run; older segments go, but never what a resume needs: when that alone takes more, "
        "collection stops until there is room.",
    )
    weights_bytes: int = Field(
        4 * 2**30,
        ge=2**20,
        description="Weights kept per run; older versions go, but never the newest, the best and the pinned.",
    )
    checkpoints_bytes: int = Field(
        8 * 2**30,
        ge=2**20,
        description="Checkpoints kept per run; older ones go, but never the newest, the best and the pinned.",
    )
    total_bytes: int = Field(
        100 * 2**30,
        ge=2**26,
        description="All runs together, with the relay's database and its shelf.  When they take more, samples, weights and "
        "checkpoints go in the order that `tmrld storage clean` has; when that does not help, collection stops until there is room.",
    )
    keep_weights: int = Field(
        20, ge=1, le=10_000, description="Newest versions of the weights kept per run, beside the best and pinned."
    )
    keep_checkpoints: int = Field(3, ge=1, le=1000, description="Newest checkpoints kept per run, beside the best and pinned.")
