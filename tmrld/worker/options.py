"""How a run's experience is collected and its policy evaluated.  Imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tmrld.applies import live, new_run, restart


class CollectionOptions(BaseModel):
    """How workers cut episodes into chunks, and what they keep of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: str = Field(
        "",
        max_length=64,
        description="Name of weights on the relay's shelf that drive instead of the policy that is learned; empty: the latter does.",
        json_schema_extra=restart(),
    )
    noise_colour: float = Field(
        1.0,
        ge=0.0,
        le=2.0,
        description="How long what the policy tries lasts, in episodes for training: the power of its noise goes with 1 / "
        "frequency**noise_colour.  0 is white, each step on its own; 1 is pink; 2 is a random walk.  "
        "Pink Noise Is All You Need (ICLR 2023) (1).",
        json_schema_extra=live(),
    )
    chunk_steps: int = Field(
        100, ge=1, le=10_000, description="A chunk is sent after this many steps ...", json_schema_extra=live("steps")
    )
    chunk_s: float = Field(
        1.0, gt=0, le=60, description="... or after this many seconds, whichever comes first.", json_schema_extra=live("s")
    )
    compression: Literal["none", "zstd"] = Field(
        "none", description="Compression of chunks; zstd pays for images.", json_schema_extra=live()
    )
    perturbed_starts: bool = Field(
        True,
        description="Whether training episodes start as evaluation does: a little off, askew, on other tyres.  A policy that knows "
        "one start alone fails beside its own line.",
        json_schema_extra=live(),
    )
    info: tuple[str, ...] = Field(
        (),
        max_length=32,
        description="Numbers of the environment's info that are stored with each step, by name.",
        json_schema_extra=live(),
    )
    policy_state: bool = Field(
        False,
        description="With network.gru, whether workers send along what the policy remembered at each step, so that it is known where "
        "a window begins that is learned from; otherwise nothing is remembered there.  2 bytes per value and step.  The critics "
        "always begin with nothing.  R2D2 (Kapturowski et al. 2019), section 3.",
        json_schema_extra=new_run(),
    )


class EvaluationOptions(BaseModel):
    """From where evaluation episodes start; the seeds are 0, 1, 2 and so on, so that versions are compared on the same starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset_m: float = Field(
        1.0, ge=0, le=100, description="Largest lateral offset of the start in metres.", json_schema_extra=live("m")
    )
    heading_deg: float = Field(
        5.0, ge=0, le=90, description="Largest error of the initial heading in degrees.", json_schema_extra=live("°")
    )
    grip: float = Field(0.05, ge=0, lt=1, description="Largest relative change of the tyres' grip.", json_schema_extra=live())
    first_seed: int = Field(
        0, ge=0, lt=2**31, description="Seed of the first episode of each evaluation.", json_schema_extra=live()
    )

    @property
    def start(self) -> dict[str, Any]:
        """The options of a reset that starts so, by its seed."""
        return {"perturb": {"offset_m": self.offset_m, "heading_deg": self.heading_deg, "grip": self.grip}}
