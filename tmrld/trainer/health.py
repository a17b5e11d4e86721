"""Says in words when a training goes wrong: a stream of measurements in, verdicts out.  No clock, no torch, no file.

Whoever trains tells a `Health` what the algorithm reports (`Report`), what each chunk shows of the driving (`Driven`), and when
it waits.  It answers with verdicts: one when something begins to be wrong, one when that is over.  What goes on being wrong is in
``standing``, with its newest numbers.

===================  ===========================================================================================================
``not-finite``       a measurement or a parameter is NaN or infinite
``exploding``        the critics are wrong by more than any value can be
``values-runaway``   action values are beyond what rewards and gamma allow, or double again and again on the way there
``entropy-dying``    the policy hardly tries anything any more
``starved``          nothing was collected for a while, and updates wait for it
``policy-lag``       a worker drives with weights that are far from the newest
``no-progress``      returns have not risen over a long window, and there is something left to learn
``finish-collapse``  after the memory began to forget, the share of finished episodes fell far below its best
===================  ===========================================================================================================

How much is too much stands in `tmrld.trainer.symptoms`.  While one of the first two stands, a training has *diverged*: its weights
are not fit to be driven with, nor its state to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tmrld.payloads import Array
from tmrld.rl.options import AlgorithmOptions
from tmrld.trainer.symptoms import Driven, Finishes, Lag, Returns, Symptom, Values, dying, no_numbers, not_finite, starved

OVER: Mapping[str, str] = {
    "not-finite": "all numbers are finite again",
    "exploding": "the critics are back within what rewards allow",
    "values-runaway": "action values are back within what rewards allow",
    "entropy-dying": "the policy explores again",
    "starved": "samples come again",
    "policy-lag": "all workers drive with new weights",
    "no-progress": "there is progress, or nothing left to learn",
    "finish-collapse": "the track is finished as before",
}
"""Every code, and what is said when that verdict is over."""
DIVERGED = ("not-finite", "exploding")

BEGINS_AFTER = {"exploding": 2, "values-runaway": 3, "entropy-dying": 5}
"""So many reports in a row make a verdict, where a single one may be an odd batch."""
ENDS_AFTER = {
    "not-finite": 3,
    "exploding": 3,
    "values-runaway": 3,
    "entropy-dying": 5,
    "no-progress": 20,
    "finish-collapse": 20,
}
"""So many good reports, or episodes, in a row end one: whatever sways around a threshold is not told again and again."""


@dataclass(frozen=True)
class Report:
    """What an algorithm measured up to an update: means since the last report, by the names of `tmrld.rl.sac`.

    Those that an algorithm does not report are not judged.
    """

    update: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """Something is wrong since ``update``; or it is ``over`` there.

    ``text`` says what was found, ``mend`` what to do ("" when it is over), ``numbers`` are the newest ones behind it.
    """

    code: str
    update: int
    text: str
    mend: str
    numbers: dict[str, float]
    over: bool = False

    def to_plain(self) -> dict[str, Any]:
        """As values for a message."""
        return {"code": self.code, "update": self.update, "text": self.text, "mend": self.mend, "numbers": self.numbers}


class Health:
    """Judges one training.  ``action_size`` is how many values an action has; it may become known later."""

    def __init__(self, options: AlgorithmOptions, action_size: int = 1) -> None:
        self.action_size = action_size
        self._options = options
        self._update = 0
        self._standing: dict[str, Verdict] = {}
        self._streaks: dict[str, int] = dict.fromkeys(OVER, 0)
        """How many times in a row it was not as the standing verdict, or the lack of one, has it."""
        self._values = Values()
        self._lag = Lag()
        self._returns = Returns()
        self._finishes = Finishes()
        self._waiting_since: float | None = None
        self._policy_is_finite = True

    @property
    def standing(self) -> list[Verdict]:
        """What is wrong now, oldest first."""
        return list(self._standing.values())

    @property
    def diverged(self) -> bool:
        """Whether what is being learned is of no use."""
        return any(code in self._standing for code in DIVERGED)

    @property
    def doubtful(self) -> bool:
        """Whether it has diverged, or has in the newest report, which another one has to confirm."""
        return self.diverged or any(self._streaks[code] for code in DIVERGED)

    def set_options(self, options: AlgorithmOptions) -> None:
        """The training goes on with other options; what was seen under the former ones still counts."""
        self._options = options

    def report(self, report: Report) -> list[Verdict]:
        """Judge what the algorithm reports."""
        self._update = report.update
        values, gamma = report.values, self._options.gamma
        bad = sorted(name for name, value in values.items() if not math.isfinite(value))
        if bad:
            return list(self._settle("not-finite", no_numbers(bad, values)))
        verdicts = list(self._settle("not-finite", None)) if values and self._policy_is_finite else []
        if "loss_critic" in values:
            verdicts += self._settle("exploding", self._values.exploding(values, gamma))
        if "q" in values:
            verdicts += self._settle("values-runaway", self._values.runaway(values, gamma))
        if "entropy" in values:
            verdicts += self._settle("entropy-dying", dying(values["entropy"], self.action_size, self._options))
        return verdicts

    def policy(self, update: int, tensors: Mapping[str, Array]) -> list[Verdict]:
        """Judge a policy that is about to be published."""
        self._update = update
        bad = not_finite(tensors)
        self._policy_is_finite = not bad
        return list(self._settle("not-finite", no_numbers(bad, {}))) if bad else []

    def remember(self, value: float) -> None:
        """Take note of what a stretch of driving is worth (`Driven.value`), whoever drove it, and when."""
        self._values.see(value * self._options.reward_scale)

    def driven(self, driven: Driven) -> list[Verdict]:
        """Judge a chunk that enters the memory now."""
        self.remember(driven.value)
        verdicts = list(self._settle("policy-lag", self._lag.take(driven, self._update)))
        if driven.episode_return is not None:
            verdicts += self._settle("no-progress", self._returns.take(driven))
            verdicts += self._settle("finish-collapse", self._finishes.take(driven))
        return verdicts

    def waits(self, now_s: float) -> list[Verdict]:
        """No update can be made for lack of samples; ``now_s`` is of any clock that never goes back."""
        if self._waiting_since is None:
            self._waiting_since = now_s
        symptom = starved(now_s - self._waiting_since)
        return list(self._settle("starved", symptom)) if symptom is not None else []

    def rests(self) -> list[Verdict]:
        """Something has come, or there is nothing to do: whatever comes next has not been waited for until now."""
        self._waiting_since = None
        return list(self._settle("starved", None))

    def _settle(self, code: str, symptom: Symptom | None) -> Iterator[Verdict]:
        """Yield a verdict when it begins or ends, after as many signs in a row as that takes."""
        standing = self._standing.get(code)
        if standing is not None and symptom is not None:
            self._standing[code] = replace(standing, text=symptom.text, numbers=symptom.numbers)
        if (symptom is None) == (standing is None):
            self._streaks[code] = 0
            return
        self._streaks[code] += 1
        if self._streaks[code] < (ENDS_AFTER if symptom is None else BEGINS_AFTER).get(code, 1):
            return
        self._streaks[code] = 0
        if symptom is not None:
            verdict = Verdict(code, self._update, symptom.text, symptom.mend, symptom.numbers)
            self._standing[code] = verdict
            yield verdict
        elif standing is not None:
            del self._standing[code]
            yield replace(standing, update=self._update, text=OVER[code], mend="", over=True)
