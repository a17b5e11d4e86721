"""How a run is trained, apart from its algorithm: pace, intervals, warm-up.  Imports nothing heavy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tmrld.applies import live, new_run


class TrainingOptions(BaseModel):
    """Pace and intervals of training; counted in updates and transitions, never in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="Seeds the networks, the sampling of batches and random warm-up actions.",
        json_schema_extra=new_run(),
    )
    start_from: str = Field(
        "",
        max_length=64,
        description="Name of weights on the relay's shelf that the policy starts from; empty: it starts at random.",
        json_schema_extra=new_run(),
    )
    slack_transitions: int = Field(
        500,
        ge=1,
        description="How far collection may run ahead of the updates, so that neither side waits for a round trip.",
        json_schema_extra=live("transitions"),
    )
    weights_interval_updates: int = Field(
        100,
        ge=1,
        description="Updates between two versions sent to workers (TMRL: UPDATE_MODEL_INTERVAL).",
        json_schema_extra=live("updates"),
    )
    checkpoint_interval_updates: int = Field(
        2000,
        ge=1,
        description="Updates between two checkpoints.  The first one comes after 200, if that is earlier.",
        json_schema_extra=live("updates"),
    )
    metrics_interval_updates: int = Field(
        100, ge=1, description="Updates over which metrics are averaged and reported.", json_schema_extra=live("updates")
    )
    evaluation_interval_updates: int = Field(
        1000,
        ge=1,
        description="Updates between two evaluations of the deterministic policy, each with the next version of the weights.",
        json_schema_extra=live("updates"),
    )
    evaluation_episodes: int = Field(
        3, ge=0, le=100, description="Episodes per evaluation; 0 turns evaluation off.", json_schema_extra=live("episodes")
    )
    max_updates: int = Field(
        0, ge=0, description="The run is finished after this many updates; 0 for no end.", json_schema_extra=live("updates")
    )
