"""The hyper-parameters of learning: default, meaning, range and source of each.  Imports no torch.

The defaults learn the simulator's default track in a minute or two on two cores; each description has the value of its source.
Sources named below: SAC is arXiv 1812.05905; TMRL is version 0.7.1, by the key of its ``config.json``.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tmrld.applies import live, new_run, restart

OptimizerName = Literal["adam", "adamw", "sgd"]
Precision = Literal["auto", "float32", "bfloat16"]

ALGORITHMS = {
    "sac": "tmrld.rl.sac:SAC",
    "redq": "tmrld.rl.redq:REDQ",
    "droq": "tmrld.rl.droq:DroQ",
    "tqc": "tmrld.rl.tqc:TQC",
    "crossq": "tmrld.rl.crossq:CrossQ",
}
"""Where the class of each algorithm of ours is, by its name."""


def _optimizer(of: str, tmrl: str) -> Any:
    return Field(
        default="adam",
        description=f"What moves {of}: `adam`; `adamw`, whose decay does not pass through its memory (arXiv 1711.05101); or `sgd`, "
        f"plain gradient descent, which needs far larger steps.  TMRL OPTIMIZER_{tmrl}.",
        json_schema_extra=new_run(),
    )


def _betas(of: str, tmrl: str) -> Any:
    return Field(
        default=(0.9, 0.999),
        min_length=2,
        max_length=2,
        description=f"How long Adam's two means remember for {of}: gradients, and their squares.  Adam (arXiv 1412.6980), "
        f"algorithm 1; CrossQ (0.5, 0.999); TMRL BETAS_{tmrl}, which it does not use.",
        json_schema_extra=live(),
    )


def _weight_decay(of: str, tmrl: str) -> Any:
    return Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description=f"How strongly the parameters of {of} are drawn to 0.  SimBa (arXiv 2410.09754), with adamw (0.01); "
        f"TMRL L2_{tmrl} (0).",
        json_schema_extra=live(),
    )


class AlgorithmOptions(BaseModel):
    """How the policy is improved."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(
        default="sac",
        min_length=1,
        description="The learning algorithm: `sac`; `redq`, of many critics, for many updates per transition (arXiv 2101.05982; "
        "TMRL REDQSAC); `droq`, the same of two critics with dropout (arXiv 2110.02034); `tqc`, whose critics know how values are "
        "distributed (arXiv 2005.04269); `crossq`, whose critics are normalised over the batch and need no targets "
        "(arXiv 1902.05605); or `module:attribute` naming a class of your own (tmrld.rl.algorithm).",
        json_schema_extra=new_run(),
    )
    gamma: float = Field(
        default=0.98,
        ge=0.0,
        lt=1.0,
        description="Discount per step: a reward n steps ahead counts gamma**n.  SAC, table 1 (0.99); TMRL GAMMA (0.995).",
        json_schema_extra=live(),
    )
    tau: float = Field(
        default=0.02,
        gt=0.0,
        le=1.0,
        description="Share of the critics that moves into the target critics at each update.  SAC, table 1 (0.005); "
        "TMRL 1 - POLYAK (0.005).",
        json_schema_extra=live(),
    )
    learning_rate_actor: float = Field(
        default=1e-3,
        gt=0.0,
        le=1.0,
        description="Step size of the policy's optimizer.  SAC, table 1 (3e-4); TMRL LR_ACTOR (1e-5).",
        json_schema_extra=live(),
    )
    learning_rate_critic: float = Field(
        default=1e-3,
        gt=0.0,
        le=1.0,
        description="Step size of the critics' optimizer.  SAC, table 1 (3e-4); TMRL LR_CRITIC (5e-5).",
        json_schema_extra=live(),
    )
    learning_rate_temperature: float = Field(
        default=1e-3,
        gt=0.0,
        le=1.0,
        description="Adam step size of log(alpha) when alpha is learned.  SAC, section 5 (3e-4); TMRL LR_ENTROPY (3e-4).",
        json_schema_extra=live(),
    )
    optimizer_actor: OptimizerName = _optimizer("the policy", "ACTOR")
    optimizer_critic: OptimizerName = _optimizer("the critics", "CRITIC")
    betas_actor: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], ...] = _betas("the policy", "ACTOR")
    betas_critic: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], ...] = _betas("the critics", "CRITIC")
    weight_decay_actor: float = _weight_decay("the policy", "ACTOR")
    weight_decay_critic: float = _weight_decay("the critics", "CRITIC")
    schedule_updates: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="Updates, from the first one on, over which the learning rates and the target entropy move in a straight line to "
        "where the next two options say; 0: they stay what they are.",
        json_schema_extra=live("updates"),
    )
    schedule_learning_rates: float = Field(
        default=0.1,
        ge=0.0,
        le=100.0,
        description="What is left of each of the three learning rates at the end of the schedule: 1 is all, 0 ends learning.",
        json_schema_extra=live(),
    )
    schedule_target_entropy: float | Literal["same"] = Field(
        default="same",
        description="The target entropy at the end of the schedule; same leaves it alone.",
        json_schema_extra=live("nats"),
    )
    alpha: float = Field(
        default=0.01,
        gt=0.0,
        description="Entropy coefficient: fixed, or where learning it starts.  SAC, section 5; TMRL ALPHA (0.01).",
        json_schema_extra=live(),
    )
    learn_alpha: bool = Field(
        default=True,
        description="Whether alpha is adjusted so that the entropy meets its target.  SAC, eq. 18; TMRL LEARN_ENTROPY_COEF.",
        json_schema_extra=live(),
    )
    target_entropy: float | Literal["auto"] = Field(
        default=-1.0,
        description="Entropy in nats that a learned alpha aims at; auto is minus the number of action values.  "
        "SAC, table 1 (auto); TMRL TARGET_ENTROPY (-0.5).",
        json_schema_extra=live("nats"),
    )
    batch_size: int = Field(
        default=256,
        ge=1,
        le=1_000_000,
        description="Transitions per update.  SAC, table 1; TMRL BATCH_SIZE.",
        json_schema_extra=live("transitions"),
    )
    critics: Annotated[int, Field(ge=1, le=100)] | Literal["auto"] = Field(
        default="auto",
        description="How many critics there are; auto is as many as the algorithm's paper has: sac, droq and crossq 2, "
        "tqc 5, redq 10.  TMRL REDQ_N (10).",
        json_schema_extra=new_run(),
    )
    critic_subset: int = Field(
        default=2,
        ge=1,
        le=100,
        description="redq, droq: how many target critics, drawn anew for each update, have the smallest of their values believed; "
        "at most all of them.  REDQ (arXiv 2101.05982), algorithm 1, M; TMRL REDQ_M (2).",
        json_schema_extra=live(),
    )
    dropout: float = Field(
        default=0.01,
        ge=0.0,
        lt=1.0,
        description="droq: share of the values inside the critics that is left out at random.  DroQ (arXiv 2110.02034; 0.01 and "
        "less).",
        json_schema_extra=live(),
    )
    quantiles: int = Field(
        default=25,
        ge=1,
        le=1000,
        description="tqc: how many quantiles of its value's distribution each critic tells.  TQC (arXiv 2005.04269), M.",
        json_schema_extra=new_run(),
    )
    dropped_quantiles: int = Field(
        default=2,
        ge=0,
        le=1000,
        description="tqc: how many quantiles per critic, the largest of all critics' together, are not believed; more make for lower "
        "values.  At least one per critic is left.  TQC, d (0 to 5).",
        json_schema_extra=live(),
    )
    policy_interval: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Critic updates per update of policy and temperature.  CleanRL policy_frequency; REDQ, algorithm 1, G (20, with "
        "as many updates per transition); TMRL REDQ_Q_UPDATES_PER_POLICY_UPDATE (20).",
        json_schema_extra=live("updates"),
    )
    policy_average: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Updates over which the policy that drives is averaged, at most the last tenth of all; 1 drives "
        "with the newest.  An average lacks the whims of single updates.  Polyak and Juditsky 1992 (SIAM J. Control Optim. 30, 838).",
        json_schema_extra=live("updates"),
    )
    policy_hold: int = Field(
        default=2000,
        ge=0,
        le=10_000_000,
        description="Updates before a policy that starts from weights (`training.start_from`) is changed: until then the critics "
        "alone learn, what it is worth.  Without effect on a policy that starts at random.",
        json_schema_extra=live("updates"),
    )
    policy_anchor: float = Field(
        default=0.1,
        ge=0.0,
        description="What a policy that started from weights loses, per nat, by straying from its own average: what it tries "
        "lies near what was driven, which is what the critics know.  Without effect on one that started at random.  Compare MPO "
        "(arXiv 1806.06920), section 4.2.",
        json_schema_extra=live("scaled reward per nat"),
    )
    reward_scale: float = Field(
        default=1.0,
        gt=0.0,
        description="Factor on every reward before the critics see it.  SAC, first version (arXiv 1801.01290, section 5.2).",
        json_schema_extra=live(),
    )
    n_step: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Steps of reward that an update looks ahead before it trusts the critics; 1 is SAC's own.  More carry what a "
        "corner costs back faster, with some bias towards older policies.  Rainbow (arXiv 1710.02298), section 3.",
        json_schema_extra=live("steps"),
    )
    update_to_data: float = Field(
        default=0.1,
        gt=0.0,
        le=100.0,
        description="Updates per collected transition; a simulator is cheaper than an update.  SAC, table 1 (1); "
        "TMRL MAX_TRAINING_STEPS_PER_ENVIRONMENT_STEP (4).",
        json_schema_extra=live("updates per transition"),
    )
    warm_up: int = Field(
        default=1000,
        ge=1,
        description="Transitions driven with random actions before the first update.  TMRL ENVIRONMENT_STEPS_BEFORE_TRAINING.",
        json_schema_extra=live("transitions"),
    )

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        """A name is one of ours, or says where a class of one's own is, which only the trainer can look up."""
        module, _, attribute = name.partition(":")
        if name in ALGORITHMS or (module and attribute):
            return name
        near = get_close_matches(name, ALGORITHMS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(ALGORITHMS)}, or give module:attribute"
        raise ValueError(f"there is no algorithm '{name}': {hint}")


class NetworkOptions(BaseModel):
    """The shape of policy and critics."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hidden: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(
        default=(128, 128),
        min_length=1,
        max_length=16,
        description="Width of each hidden layer.  SAC, table 1 (256, 256); TMRL's MLP (256, 256).",
        json_schema_extra=new_run(),
    )
    hidden_critic: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(
        default=(),
        max_length=16,
        description="The same for the critics alone; empty, they are as wide as the policy.  CrossQ (2048, 2048); SimBa "
        "(512, 2048, 2048).",
        json_schema_extra=new_run(),
    )
    trunk: Literal["mlp", "simba", "simba2"] = Field(
        default="mlp",
        description="How the hidden layers are joined: `mlp`, one after the other; `simba`, where the first one makes a stream as "
        "wide as it is, and each further one is a block of that width inside, whose output is added to the stream "
        "(arXiv 2410.09754; its policy is hidden = [128, 512]; a single width makes no block); or `simba2`, where stream and weights "
        "are of norm 1, and the stream goes some of the way to what a block gives (arXiv 2502.15280; of the same widths, without "
        "weight decay).",
        json_schema_extra=new_run(),
    )
    activation: Literal["relu", "tanh", "silu"] = Field(
        default="relu",
        description="What follows each hidden layer.  SAC, table 1; TMRL's MLP.",
        json_schema_extra=new_run(),
    )
    cnn: Literal["patches", "tmrl", "nature"] = Field(
        default="patches",
        description="The convolutions that read images, where an environment shows any: `patches`, whose first layer reads patches "
        "of 4 by 4 pixels that do not overlap (arXiv 2010.11929, section 3.1), and whose last one is normalised; `tmrl`, of TMRL's "
        "VanillaCNN, which takes 32 times the work; or `nature`, of DQN (Nature 518, 529), which takes 4 times.  "
        "benchmarks/reading.py compares how well they read.",
        json_schema_extra=new_run(),
    )
    gru: Annotated[int, Field(ge=0, le=4096)] = Field(
        default=0,
        description="How many values policy and critics each remember of an episode, in a gated recurrent unit before their hidden "
        "layers (arXiv 1406.1078; arXiv 2110.05038, 128); 0: they know no more than what an observation shows.",
        json_schema_extra=new_run(),
    )
    critic_layer_norm: bool = Field(
        default=True,
        description="Whether each hidden layer of the critics is normalised, so that values do not run away where there are no "
        "samples.  arXiv 2302.02948 (RLPD), section 4.2.  Without effect on trunk = simba or simba2 and on droq, which are "
        "normalised anyway, and on crossq, which is in another way.",
        json_schema_extra=new_run(),
    )
    log_std_min: float = Field(
        default=-20.0,
        ge=-50.0,
        le=0.0,
        description="Lowest logarithm of the policy's standard deviation.  TMRL's models.",
        json_schema_extra=new_run(),
    )
    log_std_max: float = Field(
        default=2.0,
        ge=0.0,
        le=10.0,
        description="Highest logarithm of the policy's standard deviation.  TMRL's models.",
        json_schema_extra=new_run(),
    )
    precision: Precision = Field(
        default="auto",
        description="What hidden layers are computed in where the trainer's device has bfloat16, as CUDA cards do and processors "
        "with AMX: float32; bfloat16, which is faster for wide layers; or auto: convolutions in bfloat16, and on such a processor "
        "the matrix products of plain networks in layers of more than 128 by 128 weights, summed in float32; the others in "
        "float32.  Losses, heads and parameters are float32 in any case, and all of it is on other processors and on Apple's GPU.",
        json_schema_extra=restart(),
    )


class ReplayOptions(BaseModel):
    """The replay memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    capacity: int = Field(
        default=1_000_000,
        ge=1,
        le=1_000_000_000,
        description="Transitions kept; beyond that the oldest chunks go.  SAC, table 1; TMRL MEMORY_SIZE.",
        json_schema_extra=restart("transitions"),
    )
    capacity_bytes: int = Field(
        default=0,
        ge=0,
        le=2**50,
        description="Memory that the replay memory may take, full: as many transitions are kept as fit into it, but no more than "
        "`capacity`.  A trainer's log says how many that is, which depends on the environment; 0: `capacity` alone counts.",
        json_schema_extra=restart("bytes"),
    )
    prioritised: bool = Field(
        default=False,
        description="Whether transitions are drawn the more often, the worse the critics foretold them last time, rather than all "
        "alike: prioritised experience replay (arXiv 1511.05952), the proportional variant.",
        json_schema_extra=restart(),
    )
    priority_alpha: float = Field(
        default=0.6,
        ge=0.0,
        le=1.0,
        description="With prioritised replay, the exponent of the errors: at 0 all are drawn alike, at 1 twice as often where the "
        "error is twice as large.  arXiv 1511.05952, equation 1 (0.6).",
        json_schema_extra=restart(),
    )
    priority_beta: float = Field(
        default=0.4,
        ge=0.0,
        le=1.0,
        description="With prioritised replay, the exponent of the importance-sampling weights when a run begins: at 1 what is drawn "
        "more often counts so much less, at 0 all count alike.  arXiv 1511.05952, section 3.4 (0.4).",
        json_schema_extra=restart(),
    )
    priority_beta_updates: int = Field(
        default=100_000,
        ge=0,
        le=1_000_000_000,
        description="Updates, from the first one on, over which that exponent rises to 1 in a straight line; 0: it stays.  "
        "arXiv 1511.05952, section 3.4 (all of a training).",
        json_schema_extra=restart("updates"),
    )
    demonstrations: tuple[str, ...] = Field(
        default=(),
        max_length=32,
        description="Names of demonstrations on the relay's shelf that are learned from besides what workers drive; they never leave "
        "the memory.",
        json_schema_extra=restart(),
    )
    demonstration_share: float = Field(
        default=0.25,
        ge=0.0,
        le=1.0,
        description="Share of each batch that is drawn from the demonstrations, if there are any.  arXiv 2302.02948 (RLPD), "
        "section 4.1 (0.5).",
        json_schema_extra=restart(),
    )
    sequence_length: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="With network.gru, how many steps on end are learned from in a window of an episode; an update draws as many "
        "windows as make up a batch, one at least.  R2D2 (Kapturowski et al. 2019), 80; arXiv 2110.05038, 64.",
        json_schema_extra=restart("steps"),
    )
    burn_in: int = Field(
        default=8,
        ge=0,
        le=1000,
        description="With network.gru, how many steps before these are read, so that something is remembered.  R2D2, section 3 (40).",
        json_schema_extra=restart("steps"),
    )
