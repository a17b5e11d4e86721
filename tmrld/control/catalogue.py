"""What every curve means: one entry per metric that trainers and the relay report, shown beside it wherever people meet it.

An algorithm of one's own may report metrics of its own: they are shown by their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class MetricInfo:
    """``unit`` is "" where there is none; ``better`` is None where neither more nor less is better."""

    name: str
    title: str
    group: str
    unit: str
    description: str
    healthy: str
    better: Better | None = None


TRAINING, EVALUATION = "Training episodes", "Evaluation"
CRITIC, POLICY, PACE = "Critics", "Policy", "Pace"
OTHER = "Other"
GROUPS = (TRAINING, EVALUATION, CRITIC, POLICY, PACE, OTHER)
"""In the order in which they are shown."""


def _driving(prefix: str, group: str, who: str) -> tuple[MetricInfo, ...]:
    return (
        MetricInfo(
            f"{prefix}_return",
            "Return",
            group,
            "",
            f"Mean sum of rewards of {who}, per version of the weights; 1 is 10 m of new ground, a finish pays extra.",
            "Rises, first by jumps and later slowly; a long fall says that learning has become unstable.",
            "higher",
        ),
        MetricInfo(
            f"{prefix}_lap_s",
            "Lap time",
            group,
            "s",
            f"Median time of the laps that were finished, in {who}.",
            "Appears with the first finished lap, then falls towards a floor.",
            "lower",
        ),
        MetricInfo(
            f"{prefix}_progress",
            "Progress",
            group,
            "",
            f"Mean share of the track that was driven (1 is the finish), in {who}.",
            "Climbs to 1; a plateau marks a corner that is not understood yet.",
            "higher",
        ),
        MetricInfo(
            f"{prefix}_finished_share",
            "Finished",
            group,
            "",
            f"Share that reached the finish, of {who}.",
            "Close to 1 once the track is learned.",
            "higher",
        ),
        MetricInfo(
            f"{prefix}_steps",
            "Length",
            group,
            "steps",
            f"Mean length of {who}.",
            "Grows while the car learns to stay on the road, then shrinks as laps get faster.",
        ),
    )


ENTRIES = (
    *_driving("training", TRAINING, "the episodes that are learned from, with exploring actions"),
    *_driving("evaluation", EVALUATION, "the evaluation episodes, without exploration and from varied starts"),
    MetricInfo(
        "loss_critic",
        "Critic loss",
        CRITIC,
        "",
        "Mean squared error of the critics against their targets.",
        "Falls fast at first, rises with each discovery, and stays of one size; growing for ever means divergence.",
        "lower",
    ),
    MetricInfo(
        "q",
        "Action value",
        CRITIC,
        "reward",
        "Mean of what the critics expect a batch's actions to bring, in scaled reward.",
        "Rises with the return and levels off; far above any return that was ever seen it is overestimated.",
    ),
    MetricInfo(
        "q_target",
        "Target value",
        CRITIC,
        "reward",
        "Mean of the targets that the critics are drawn to.",
        "Runs close beside the action value; a lasting distance says that the critics do not keep up.",
    ),
    MetricInfo(
        "q_spread",
        "Disagreement",
        CRITIC,
        "reward",
        "How far the critics of an ensemble are apart about the same action: their standard deviation, in scaled reward.",
        "Falls with experience, and stays small beside the action value; growing, it says that the critics guess.",
    ),
    MetricInfo(
        "loss_actor",
        "Policy loss",
        POLICY,
        "",
        "What the policy descends on: its entropy cost less the value of its own actions.",
        "Mirrors the action value, upside down: it falls while the policy gets better.",
    ),
    MetricInfo(
        "entropy",
        "Entropy",
        POLICY,
        "nats",
        "How random the policy's actions are.",
        "Falls from its start and settles, at the target where alpha is learned; a sudden drop means that exploring has ended.",
    ),
    MetricInfo(
        "alpha",
        "Entropy coefficient",
        POLICY,
        "",
        "How much randomness is worth in reward.",
        "Constant when it is fixed; learned, it falls and settles well above 0.",
    ),
    MetricInfo(
        "loss_temperature",
        "Temperature loss",
        POLICY,
        "",
        "What a learned entropy coefficient descends on; 0 when it is fixed.",
        "Swings around 0.",
    ),
    MetricInfo(
        "updates_per_s",
        "Updates",
        PACE,
        "1/s",
        "Gradient updates per second.",
        "Steady; it drops while the trainer waits for samples or shares its processor.",
        "higher",
    ),
    MetricInfo(
        "updating_share",
        "Time updating",
        PACE,
        "",
        "Share of the trainer's time that is spent in gradient updates.",
        "Close to 1 when learning is what limits the run.",
        "higher",
    ),
    MetricInfo(
        "sampling_share",
        "Time sampling",
        PACE,
        "",
        "Share of the trainer's time in which it waits for a batch; the next one is drawn while an update runs.",
        "A few per cent; much more asks for a smaller batch or a shorter history.",
        "lower",
    ),
    MetricInfo(
        "waiting_share",
        "Time waiting",
        PACE,
        "",
        "Share of the trainer's time in which it waits for samples.",
        "Near 0 with a fast simulator; in real time it waits for most of the time, and more workers help.",
        "lower",
    ),
    MetricInfo(
        "processor_share",
        "Processor",
        PACE,
        "cores",
        "Processor time that the trainer's engine takes per second: 1 is one core.",
        "Near 1 on a CPU while it updates.",
    ),
    MetricInfo(
        "replay_transitions",
        "Replay memory",
        PACE,
        "transitions",
        "Transitions that the replay memory holds.",
        "Grows to its capacity and stays there.",
    ),
    MetricInfo(
        "demonstration_transitions",
        "Demonstrations",
        PACE,
        "transitions",
        "Transitions of demonstrations that are learned from besides; they never leave.",
        "Stays as it is.",
    ),
)
BY_NAME = {entry.name: entry for entry in ENTRIES}
_PLACES = {entry.name: place for place, entry in enumerate(ENTRIES)}


def info(name: str) -> MetricInfo:
    """What this curve means; for one that is not ours, its name and no more."""
    return BY_NAME.get(name) or MetricInfo(
        name, name, OTHER, "", "A measurement of this run's own algorithm or environment.", "See where it is made."
    )


def place(entry: MetricInfo) -> tuple[int, int, str]:
    """Where it is shown: group by group, in the order of the entries, those of others by name."""
    return GROUPS.index(entry.group), _PLACES.get(entry.name, len(ENTRIES)), entry.name
