"""What is wrong with a training at this moment: each function or class here looks at numbers and finds a `Symptom`, or None.

They are pure; `tmrld.trainer.health` asks them, and makes verdicts of what they find again and again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from tmrld.payloads import ACTOR_KINDS, MIXED, Array, Chunk
from tmrld.rl.options import AlgorithmOptions
from tmrld.rl.replay import Replay

STRETCH_STEPS = 20
"""What was earned in a stretch of driving is spread over at least so many steps, a second in the game: a finish is paid in one of
them, and took all that came before."""
RUNAWAY = 1.5
"""Times what rewards and gamma allow (`stretch_value`).  A critic that learns something new may promise more than was ever driven,
but hardly that everything is better than the best stretch; on average over a batch, healthy runs come to a fifth."""
DOUBLING_REPORTS = 3
DOUBLINGS = 3
DOUBLING_SHARE = 0.5
"""Values that have doubled so many times, each within `DOUBLING_REPORTS`, and have come to this share of what is allowed, run away
already: those of healthy runs double early, when the first good driving is discovered, and far below it."""
EXPLODING = 1.5
"""The same for the root of the critics' mean squared error, which is the size of their mistakes; healthy runs come to a fiftieth."""
OUTWEIGHED = 10.0
ALPHA_GREW = 100.0
"""A temperature that has grown by this factor, and whose bonus for ever is worth `OUTWEIGHED` times all reward, chases a target that
is out of reach."""
FRESH_VALUE = 1.0
"""Networks that know nothing yet speak in numbers of about this size, whatever rewards are."""

DYING_BELOW_TARGET = 3.0
"""Nats per action value that the entropy may lie below the target of a learned temperature.  The temperature holds it within one of
it; three are a spread twenty times narrower than what was asked for."""
DYING_FIXED = -6.0
"""Nats per action value below which exploring has ended where the temperature is fixed: the actions' spread is a thousandth of their
range, or they sit where tanh is flat and no gradient leads back.  Healthy runs of some thousand updates stay above -1."""

STARVED_S = 60.0
"""Chunks come every second or two while a car drives, evaluations included; a restart of the race takes some seconds, and one of the
worker's engine with a game to find about half a minute."""

LAG_VERSIONS = 20
LAG_UPDATES = 5000
LAG_SHARE = 0.05
"""Weights are old when they are so many versions, so many updates and this share of all updates behind the newest.  A slow line or a
fast trainer makes some versions, or some thousand updates, of a few seconds; all three at once a worker that no longer hears."""
LAG_CHUNKS = 3
"""So many chunks in a row: a worker that was away brings what it drove meanwhile, and then drives with the newest."""

WINDOW_TRANSITIONS = 100_000
"""Driving by the policy that has to bring something: an hour and a half in the game, a minute or two in the simulator."""
WINDOW_EPISODES = 40
"""And at least so many episodes, or their chance would be taken for a trend."""
FIRST_EPISODES = 20
"""What is driven in so many episodes at the beginning is what knowing nothing brings."""
ARRIVED_SHARE = 0.2
"""Whoever finishes every fifth training episode has learned the track, and no more is asked of returns: with exploring actions, good
drivers finish every other one, and stay there."""

COLLAPSE_EPISODES = 100
COLLAPSE_FROM = 0.5
COLLAPSED = 1.0 / 3.0
"""A share of finishes over `COLLAPSE_EPISODES`, once `COLLAPSE_FROM` or more, that is a third of its best: by chance alone (five
standard deviations) that does not happen."""


@dataclass(frozen=True)
class Symptom:
    """What was found, what to do about it, and the numbers behind it."""

    text: str
    mend: str
    numbers: dict[str, float]


@dataclass(frozen=True)
class Driven:
    """What one training chunk shows.

    ``lag_versions`` and ``lag_updates`` say how far behind the newest weights its newest step by the policy was (0 where the policy
    did not drive).  ``value`` is what earning as much for ever would be worth (`stretch_value`).  ``forgets`` says whether the memory
    has let transitions go.  The rest describes an episode that ended with it: ``episode_return`` is None where none did, ``progress``
    NaN where there is no track.
    """

    worker: str
    value: float
    lag_versions: int = 0
    lag_updates: int = 0
    forgets: bool = False
    actor: str = MIXED
    episode_steps: int = 0
    episode_return: float | None = None
    finished: bool = False
    progress: float = math.nan


def shown_by(chunk: Chunk, gamma: float, version: int = 0, weights_interval: int = 0, *, forgets: bool = False) -> Driven:
    """What a chunk shows when ``version`` is the newest, and one is made every ``weights_interval`` updates."""
    lag = 0
    if chunk.columns.keys() >= {"actor", "weights"}:
        by_policy = chunk.columns["actor"][chunk.lead :] == ACTOR_KINDS.index("policy")
        newest = chunk.columns["weights"][chunk.lead :][by_policy][-1:]
        lag = max(0, version - int(newest[0])) if len(newest) else 0
    driven = Driven(
        chunk.worker, stretch_value(chunk.columns["reward"][chunk.lead :], gamma), lag, lag * weights_interval, forgets
    )
    summary = chunk.summary
    if summary is None:
        return driven
    return replace(
        driven,
        actor=summary.actor,
        episode_steps=summary.steps,
        episode_return=summary.episode_return,
        finished=summary.finished,
        progress=summary.progress,
    )


def stretch_value(reward: Array, gamma: float) -> float:
    """What it is worth to earn these rewards, in absolute numbers, again and again for ever: (steps,)."""
    return float(np.abs(reward).sum()) / (1.0 - gamma ** max(len(reward), STRETCH_STEPS))


def values_of(memory: Replay, gamma: float) -> Iterator[float]:
    """`stretch_value` of everything in a memory, stretch by stretch."""
    for first in range(0, len(memory), STRETCH_STEPS):
        yield stretch_value(memory.gather(np.arange(first, min(first + STRETCH_STEPS, len(memory)))).reward, gamma)


def not_finite(arrays: Mapping[str, Array]) -> list[str]:
    """The names of those that hold NaN or infinities."""
    return [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]


def without_number(arrays: Mapping[str, Array]) -> list[str]:
    """The names of those that hold NaN.  An optimizer may know of gradients without end, and still not move by them."""
    return [name for name, array in arrays.items() if array.dtype.kind == "f" and np.isnan(array).any()]


def no_numbers(names: Sequence[str], values: Mapping[str, float]) -> Symptom:
    """These measurements or tensors are NaN or infinite."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return Symptom(
        f"numbers are no longer finite, in {shown}",
        "lower the algorithm's learning rates, and look for rewards that are far too large",
        {name: values[name] for name in names if name in values},
    )


def starved(waited_s: float) -> Symptom | None:
    """Nothing has come for so long."""
    if waited_s <= STARVED_S:
        return None
    return Symptom(
        f"no samples have come for {waited_s:.0f} s, and the training waits for them",
        "see whether a worker of this run is connected and drives, and what its log says",
        {"waited_s": waited_s},
    )


class Values:
    """Looks at critics and temperature, beside the rewards that there have been."""

    def __init__(self) -> None:
        self._best = 0.0
        """The value of the best stretch ever seen, in reward as it was scaled then."""
        self._newest: deque[float] = deque(maxlen=DOUBLINGS * DOUBLING_REPORTS + 1)
        self._least_alpha = math.inf

    def see(self, value: float) -> None:
        """Take note of a stretch's value in scaled reward."""
        self._best = max(self._best, value)

    def exploding(self, values: Mapping[str, float], gamma: float) -> Symptom | None:
        """Mistakes larger than anything can be worth."""
        error, allowed = math.sqrt(max(0.0, values["loss_critic"])), self._allowed(values, gamma)
        if error <= EXPLODING * allowed:
            return None
        return Symptom(
            f"the critics explode: they are wrong by {error:.4g}, and rewards allow no value above {allowed:.4g}",
            "lower algorithm.learning_rate_critic, and algorithm.reward_scale if it is far above 1",
            {"error": error, "allowed": allowed},
        )

    def runaway(self, values: Mapping[str, float], gamma: float) -> Symptom | None:
        """Values that cannot be true, or are on their way there."""
        value, allowed = values["q"], self._allowed(values, gamma)
        self._newest.append(abs(value))
        steps = list(self._newest)[::DOUBLING_REPORTS]
        doubling = len(steps) > DOUBLINGS and all(2.0 * before <= after for before, after in pairwise(steps))
        if abs(value) > RUNAWAY * allowed:
            what = f"they are {value:.4g} on average, and rewards allow {allowed:.4g}"
        elif doubling and abs(value) > DOUBLING_SHARE * allowed:
            what = f"they have doubled {DOUBLINGS} times in {DOUBLINGS * DOUBLING_REPORTS} reports, to {value:.4g} on average"
        else:
            return self._outweighed(values, gamma)
        return Symptom(
            f"action values run away: {what}",
            "lower algorithm.learning_rate_critic or algorithm.tau, and keep network.critic_layer_norm on",
            {"q": value, "allowed": allowed},
        )

    def _outweighed(self, values: Mapping[str, float], gamma: float) -> Symptom | None:
        """A temperature that has left all reward behind, and takes the values with it."""
        if "alpha" not in values or "entropy" not in values:
            return None
        alpha = values["alpha"]
        self._least_alpha = min(self._least_alpha, alpha)
        bonus = abs(alpha * values["entropy"]) / (1.0 - gamma)
        if alpha <= ALPHA_GREW * self._least_alpha or bonus <= OUTWEIGHED * (self._best + FRESH_VALUE):
            return None
        return Symptom(
            f"action values run away with the temperature: alpha has grown to {alpha:.4g} and outweighs all reward",
            "lower algorithm.target_entropy, which this policy cannot reach, or algorithm.learning_rate_temperature",
            {"q": values["q"], "alpha": alpha, "entropy": values["entropy"]},
        )

    def _allowed(self, values: Mapping[str, float], gamma: float) -> float:
        """The largest action value that can be true: the best stretch for ever, and the bonus for entropy."""
        bonus = abs(values.get("alpha", 0.0) * values.get("entropy", 0.0)) / (1.0 - gamma)
        return self._best + bonus + FRESH_VALUE


def dying(entropy: float, action_size: int, options: AlgorithmOptions) -> Symptom | None:
    """A policy that hardly tries anything any more."""
    if options.learn_alpha:
        target = -float(action_size) if options.target_entropy == "auto" else options.target_entropy
        if options.schedule_updates and options.schedule_target_entropy != "same":
            target = min(target, options.schedule_target_entropy)
        floor = target - DYING_BELOW_TARGET * action_size
        mend = "raise algorithm.learning_rate_temperature or algorithm.alpha, or lower algorithm.learning_rate_actor"
    else:
        floor = DYING_FIXED * action_size
        mend = "raise algorithm.alpha or have it learned (algorithm.learn_alpha), or lower algorithm.reward_scale"
    if entropy >= floor:
        return None
    return Symptom(
        f"exploring has ended: the policy's entropy is {entropy:.1f} nats, below {floor:.1f}",
        mend,
        {"entropy": entropy, "floor": floor},
    )


class Lag:
    """Looks at how old the weights are that workers drive with."""

    def __init__(self) -> None:
        self._late: dict[str, tuple[int, Driven]] = {}
        """For each worker that is late: chunks in a row, and the newest."""

    def take(self, driven: Driven, update: int) -> Symptom | None:
        """The worker that is furthest behind, if any is far."""
        far = max(LAG_UPDATES, LAG_SHARE * update)
        if driven.lag_versions >= LAG_VERSIONS and driven.lag_updates >= far:
            chunks, _ = self._late.get(driven.worker, (0, driven))
            self._late[driven.worker] = (chunks + 1, driven)
        else:
            self._late.pop(driven.worker, None)
        found = [newest for chunks, newest in self._late.values() if chunks >= LAG_CHUNKS]
        if not found:
            return None
        last = max(found, key=lambda each: each.lag_updates)
        return Symptom(
            f"{last.worker} drives with weights that are {last.lag_versions} versions, {last.lag_updates} updates old",
            "look at its line and its log, and restart its engine if newer ones do not reach it",
            {"versions": float(last.lag_versions), "updates": float(last.lag_updates)},
        )


@dataclass
class Returns:
    """Looks at whether driving gets better, over episodes that ended."""

    _first: list[float] = field(default_factory=list)
    _window: deque[Driven] = field(default_factory=deque)
    _steps: int = 0

    def take(self, driven: Driven) -> Symptom | None:
        """An episode; those of the policy make up the window, whoever drove the first ones.

        Returns rise when the second half of the window is better than the first by more than chance (one standard error).
        """
        assert driven.episode_return is not None
        if len(self._first) < FIRST_EPISODES:
            self._first.append(driven.episode_return)
        if driven.actor == "policy":
            self._add(driven)
        if self._steps < WINDOW_TRANSITIONS or len(self._window) < WINDOW_EPISODES:
            return None
        episodes = list(self._window)
        half = len(episodes) // 2
        before, after = (_returns(part) for part in (episodes[:half], episodes[half:]))
        chance = math.sqrt(before.var() / len(before) + after.var() / len(after))
        if after.mean() - before.mean() > chance or self._arrived(episodes[half:], float(after.mean())):
            return None
        share = _share(episodes[half:])
        return Symptom(
            f"no progress: in {self._steps:,} transitions the mean return went from {before.mean():.4g} to {after.mean():.4g}"
            + (f", and {share:.0%} of the episodes finish" if share is not None else ""),
            "see on the map where episodes end; start from weights that can drive (training.start_from), or from demonstrations",
            {"before": float(before.mean()), "after": float(after.mean()), "transitions": float(self._steps)},
        )

    def _add(self, driven: Driven) -> None:
        """Let the window grow, and go on with what it does not need any more."""
        self._window.append(driven)
        self._steps += driven.episode_steps
        while len(self._window) > WINDOW_EPISODES and self._steps - self._window[0].episode_steps >= WINDOW_TRANSITIONS:
            self._steps -= self._window.popleft().episode_steps

    def _arrived(self, episodes: Sequence[Driven], mean: float) -> bool:
        """Whether there is nothing left to ask for: it finishes or, without a track, does much better than at first."""
        share = _share(episodes)
        if share is not None:
            return share >= ARRIVED_SHARE
        first = np.array(self._first)
        return mean > float(first.mean() + 2.0 * first.std())


@dataclass
class Finishes:
    """Looks at the share of episodes by the policy that reach the finish."""

    _newest: deque[bool] = field(default_factory=lambda: deque(maxlen=COLLAPSE_EPISODES))
    _best: float = 0.0

    def take(self, driven: Driven) -> Symptom | None:
        """An episode that ended."""
        if driven.actor == "policy" and not math.isnan(driven.progress):
            self._newest.append(driven.finished)
        if len(self._newest) < COLLAPSE_EPISODES:
            return None
        share = sum(self._newest) / COLLAPSE_EPISODES
        self._best = max(self._best, share)
        if not driven.forgets or self._best < COLLAPSE_FROM or share >= COLLAPSED * self._best:
            return None
        return Symptom(
            f"it forgets the track: {share:.0%} of the newest {COLLAPSE_EPISODES} episodes finish, and {self._best:.0%} did once, "
            "before the memory let old driving go",
            "raise replay.capacity, and go back to a checkpoint from before: `tmrld checkpoint list RUN` names those that are kept, "
            "`tmrld checkpoint resume RUN UPDATE` goes back",
            {"share": share, "best": self._best},
        )


def _returns(episodes: Iterable[Driven]) -> Array:
    return np.array([each.episode_return for each in episodes], np.float64)


def _share(episodes: Sequence[Driven]) -> float | None:
    """The share that finished; None without a track."""
    on_a_track = [each.finished for each in episodes if not math.isnan(each.progress)]
    return sum(on_a_track) / len(on_a_track) if on_a_track else None
