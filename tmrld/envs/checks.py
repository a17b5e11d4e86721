"""Does an environment do what tmrld, and Gymnasium, expect of it?  Each check says ok, or what is wrong and what to do about it.

The game begins a race anew with every reset, which takes its time: fewer are needed there, and nothing is made twice.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec as EnvSpecification
from gymnasium.utils.env_checker import check_env

from tmrld.envs.measuring import Timed
from tmrld.envs.options import OURS, EnvironmentOptions
from tmrld.envs.pacing import PacedEnv
from tmrld.envs.registry import Env, describe, keeps_real_time, make, newest_frames
from tmrld.envs.timekeeping import Distribution, verdict
from tmrld.errors import TmrldError
from tmrld.payloads import Array, EnvSpec

STEPS = 200
"""As long as an episode is watched, unless it is said: 10 s in real time."""
INFO = {
    "x": (float, int),
    "z": (float, int),
    "heading": (float, int),
    "speed": (float, int),
    "gear": (int,),
    "rpm": (float, int),
    "progress": (float, int),
    "finished": (bool,),
    "lap_time_s": (float, int, type(None)),
    "track": (str,),
    "user_drives": (bool,),
    "reward_terms": (dict,),
}
"""What ours tell with each step, and of which types."""
NUMBERS = ("x", "z", "speed", "progress", "lap_time_s")
"""What is read of any environment's info, if it is there."""

State = Literal["ok", "note", "wrong"]
Step = tuple[Any, Any, Any, Any, Any]


@dataclass(frozen=True)
class Finding:
    """What came of a check: its name, how it is, and a sentence."""

    check: str
    state: State
    text: str


def checks(options: EnvironmentOptions, steps: int = STEPS) -> Iterator[Finding]:
    """Check the environment that ``options`` name, for ``steps`` steps.

    Raises WorldError where it cannot be made, and GameError where the game cannot be reached.
    """
    env = make(options, "rgb_array" if options.id in OURS else None)
    closes = False
    try:
        spec = describe(env, options)
        timed = _timed(env)
        yield Finding("spaces", "ok", _spaces(spec))
        yield from _gymnasium(env, options)
        drive = _Drive(env, spec, options, timed)
        try:
            drive.go(steps)
        except TmrldError:
            raise
        except Exception as error:  # whatever an environment does wrong, in whatever way
            yield Finding(
                "driving", "wrong", f"{drive.count}, then {_plain(error)}: this is the environment's own code to mend"
            )
        else:
            yield from drive.findings()
            if not keeps_real_time(env, options) and not drive.taken_over:
                yield _reproduces(env, min(steps, STEPS))
            if options.id in OURS:
                yield _picture(env, options)
        closes = True
        yield _closes(env)
    finally:
        if not closes:
            env.close()


def _timed(env: Env) -> Timed | None:
    """Have noted when the steps of an rtgym loop begin that goes by the clock; None elsewhere."""
    own = env.unwrapped
    if not isinstance(own, PacedEnv) or own.lockstep:
        return None
    timed = own.interface = Timed(own.interface)
    return timed


def _spaces(spec: EnvSpec) -> str:
    parts = ", ".join(f"{part.name} {'×'.join(map(str, part.observed_shape)) or '1'}" for part in spec.parts)
    return f"observes {parts}; acts by {spec.action_size} numbers"


# Gymnasium's own checks


def _gymnasium(env: Env, options: EnvironmentOptions) -> Iterator[Finding]:
    """What `check_env` says, and its warnings in plain words."""
    name = "Gymnasium's check_env"
    own = env.unwrapped
    if keeps_real_time(env, options):  # what the clock decides differs from time to time
        own.spec = dataclasses.replace(own.spec or EnvSpecification("Checked-v0"), nondeterministic=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            check_env(own, skip_render_check=True, skip_close_check=True)  # which would make it anew, and open windows
        except TmrldError:
            raise
        except Exception as error:  # as above
            yield Finding(name, "wrong", f"{_plain(error)}: this is the environment's own code to mend")
        else:
            yield Finding(name, "ok", "its spaces, resets and steps are as Gymnasium wants them")
    notes = dict.fromkeys(_in_words(str(warning.message)) for warning in told)
    for note in notes:
        if note:
            yield Finding(name, "note", note)


WORDS = (
    ("space minimum value is -infinity", "a part of the observation has no lower bound: networks here do not need one"),
    ("space maximum value is infinity", "a part of the observation has no upper bound: networks here do not need one"),
    (
        "symmetric and normalized space",
        "the actions are not in [-1, 1]: here policies act in [-1, 1], which is stretched to them",
    ),
    (
        "not within the observation space",
        "an observation lies outside of the observation space: give it wider bounds, or clip it",
    ),
    ("different from the unwrapped version", ""),
    ("Not able to test alternative render modes", ""),
    ("Core environment is written in", ""),
)
"""A part of a warning, and what it means to people; "" for what is of no use to them."""


def _in_words(warning: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", warning).removeprefix("WARN: ").strip()
    return next((words for part, words in WORDS if part in plain), plain)


def _plain(error: Exception) -> str:
    """An error as the beginning of a sentence."""
    text = " ".join(str(error).split()).rstrip(".") or "it failed without a word"
    return text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}"


# Driving


class _Drive:
    """Drives at random, and looks at everything that comes back."""

    def __init__(self, env: Env, spec: EnvSpec, options: EnvironmentOptions, timed: Timed | None) -> None:
        """``timed`` is what notes when steps begin, where they are to begin in time."""
        self._env = env
        self._spec = spec
        self._options = options
        self._ours = options.id in OURS
        self._timed = timed
        self._wrong: dict[str, str] = {}
        self._took_s = 0.0
        self._steps = 0
        self._episodes = 0
        self._late = 0
        self._errors: list[float] = []
        """How far steps began from their time."""
        self.taken_over = False
        """Whether a person took the controls over, which ends it."""

    def go(self, steps: int) -> None:
        """Drive so many steps, through as many episodes as that takes, or until a person takes over."""
        random = np.random.default_rng(0)
        late, before_it = getattr(self._env.unwrapped, "late_steps", 0), len(self._timed.episodes) if self._timed else 0
        ended = True
        while self._steps < steps and not self.taken_over:
            if ended:
                observation, info = self._env.reset(seed=None if self._episodes else 0)
                self._episodes += 1
                self._look("a reset", observation, info)
            before = time.perf_counter()
            outcome = self._env.step(random.uniform(-1, 1, self._spec.action_size).astype(np.float32))
            self._took_s += time.perf_counter() - before
            self._steps += 1
            self._look(f"step {self._steps}", outcome[0], outcome[4])
            self._judge(outcome)
            ended = bool(outcome[2] or outcome[3])
            self.taken_over = isinstance(outcome[4], dict) and bool(outcome[4].get("user_drives"))
        self._late = getattr(self._env.unwrapped, "late_steps", 0) - late
        self._errors = self._timed.errors(self._options, before_it) if self._timed else []

    @property
    def count(self) -> str:
        """How far it came."""
        return f"{self._steps:,} step{'s' * (self._steps != 1)}, {self._episodes:,} episode{'s' * (self._episodes != 1)}"

    def findings(self) -> Iterator[Finding]:
        """What was found, check by check."""
        if self.taken_over:
            hint = "take your hands off the controls, leave the game in front, and check again"
            yield Finding("driving", "note", f"{self.count}, then a person took over: {hint}")
            yield from (Finding(check, "wrong", text) for check, text in self._wrong.items())
            return
        good = {
            "observations": "all lie in the observation space, with its shapes and types",
            "rewards": "each is a number, and the sum of its terms" if self._ours else "each is a number",
            "ends": "terminated and truncated are told as true or false",
            "info": "tells all that is read here",
        }
        yield Finding("driving", "ok", f"{self.count} at random")
        for check, text in good.items():
            if check in self._wrong:
                yield Finding(check, "wrong", self._wrong[check])
            else:
                yield Finding(check, "ok", text)
        yield self._pace()

    def _pace(self) -> Finding:
        """As `tmrld env bench` judges it."""
        if self._timed is None:
            return Finding("pace", "ok", f"{self._steps / max(self._took_s, 1e-9):,.0f} steps per second, which nothing limits")
        error = Distribution.of(self._errors)
        if error is None:
            return Finding("pace", "note", "too few steps to tell whether this machine keeps time")
        keeps, words = verdict(self._options.time_step_s, self._steps, self._late, error)
        return Finding("pace", "ok" if keeps else "note", words)

    def _look(self, when: str, observation: Any, info: Any) -> None:
        """An observation and its info."""
        if "observations" not in self._wrong and (problem := self._misfit(observation)):
            self._wrong["observations"] = f"{when} returned {problem}"
        if "info" not in self._wrong and (problem := self._gap(info)):
            self._wrong["info"] = f"{when} returned {problem}"

    def _judge(self, outcome: Step) -> None:
        """A step's reward and ends."""
        reward, terminated, truncated, info = outcome[1:]
        when = f"step {self._steps}"
        if "rewards" not in self._wrong and (problem := self._bad_reward(reward, info)):
            self._wrong["rewards"] = f"{when} returned {problem}"
        for name, end in (("terminated", terminated), ("truncated", truncated)):
            if "ends" not in self._wrong and not isinstance(end, bool | np.bool_):
                self._wrong["ends"] = f"{when} returned {name} = {end!r}: return true or false"

    def _misfit(self, observation: Any) -> str:
        """Why an observation does not fit; "" if it does."""
        problem = misfit(self._env.observation_space, observation, "the observation")
        if problem:
            return problem
        for name, frame in newest_frames(self._spec, observation).items():
            if not np.isfinite(frame).all():
                return f"{name} with values that are no numbers: a policy would diverge, leave them out or clip them"
        return ""

    def _gap(self, info: Any) -> str:
        """What is wrong with an info; "" for nothing."""
        if not isinstance(info, dict):
            return f"an info that is a {type(info).__name__}: return a dict, empty if there is nothing to tell"
        if self._ours:
            for key, types in INFO.items():
                if key not in info:
                    return f"an info without {key!r}: a fault of tmrld's own, please tell its authors"
                if not isinstance(info[key], types):
                    return f"an info with {key!r} = {info[key]!r}, which has the wrong type: please tell the authors of tmrld"
        for key in NUMBERS:
            value = info.get(key)
            if value is not None and not isinstance(value, int | float | np.number):
                return f"an info with {key!r} = {value!r}, which is read as a number here: make it one, or rename it"
        return ""

    def _bad_reward(self, reward: Any, info: Any) -> str:
        if not isinstance(reward, int | float | np.number) or not math.isfinite(float(reward)):
            return f"the reward {reward!r}: return a number that is finite"
        if self._ours and not math.isclose(sum(info["reward_terms"].values()), float(reward), rel_tol=1e-6, abs_tol=1e-6):
            return f"the reward {reward!r}, which is not the sum of {info['reward_terms']}: please tell the authors of tmrld"
        return ""


def misfit(space: gymnasium.Space[Any], value: Any, name: str) -> str:
    """What keeps a value from lying in a space, part by part; "" for nothing."""
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or set(value) != set(space.spaces):
            given = sorted(value) if isinstance(value, dict) else f"a {type(value).__name__}"
            return f"{name} with {given}: return a dict with {sorted(space.spaces)}"
        return next(filter(None, (misfit(part, value[key], f"{name}[{key!r}]") for key, part in space.spaces.items())), "")
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple) or len(value) != len(space.spaces):
            given = f"{len(value)} parts" if isinstance(value, tuple) else f"a {type(value).__name__}"
            return f"{name} as {given}: return a tuple of {len(space.spaces)}"
        parts = enumerate(zip(space.spaces, value, strict=True))
        return next(filter(None, (misfit(part, each, f"{name}[{number}]") for number, (part, each) in parts)), "")
    assert isinstance(space, spaces.Box)  # `make` lets nothing else through
    if not isinstance(value, np.ndarray):
        return f"{name} as a {type(value).__name__}: return a NumPy array"
    if value.shape != space.shape:
        return f"{name} of shape {value.shape}: its space says {space.shape}"
    if not np.can_cast(value.dtype, space.dtype):
        return f"{name} of type {value.dtype}: its space says {space.dtype}"
    if not ((value >= space.low) & (value <= space.high)).all():
        low, high = float(space.low.min()), float(space.high.max())
        return f"{name} with values from {value.min():g} to {value.max():g}: its space says {low:g} to {high:g}, give it wider bounds"
    return ""


# The end


def _reproduces(env: Env, steps: int) -> Finding:
    """The same seed and the same actions, twice."""
    first, again = (_episode(env, steps) for _ in range(2))
    for number, (one, other) in enumerate(itertools.zip_longest(first, again)):
        if one is None or other is None or not _same(one, other):
            when = "the reset" if number == 0 else f"step {number}"
            return Finding(
                "seeds",
                "wrong",
                f"{when} differs when the same seed and actions are given again: draw all chance from self.np_random, or, where the "
                "clock decides, set run.environment.clock = 'realtime'",
            )
    return Finding("seeds", "ok", f"the same seed and actions give the same {len(first) - 1} steps")


def _episode(env: Env, steps: int) -> list[tuple[Any, ...]]:
    """What an episode returns, copied: arrays may be used again."""
    random = np.random.default_rng(1)
    observation, _ = env.reset(seed=1)
    rows: list[tuple[Any, ...]] = [(_copied(observation),)]
    ended = False
    while not ended and len(rows) <= steps:
        size = env.action_space.shape or (1,)
        observation, reward, terminated, truncated, _ = env.step(random.uniform(-1, 1, size).astype(np.float32))
        rows.append((_copied(observation), float(reward), bool(terminated), bool(truncated)))
        ended = bool(terminated or truncated)
    return rows


def _copied(observation: Any) -> list[Array]:
    """The arrays of an observation, in order."""
    if isinstance(observation, dict):
        observation = tuple(observation[key] for key in sorted(observation))
    return [np.array(part) for part in (observation if isinstance(observation, tuple) else (observation,))]


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    arrays = all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    return arrays and one[1:] == other[1:]


def _picture(env: Env, options: EnvironmentOptions) -> Finding:
    """The picture of the newest step."""
    picture, (width, height) = env.render(), options.window
    if not isinstance(picture, np.ndarray) or picture.shape != (height, width, 3) or picture.dtype != np.uint8:
        what = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else repr(picture)
        return Finding(
            "picture", "wrong", f"render returns {what} for a window of {width}×{height}: please tell the authors of tmrld"
        )
    return Finding("picture", "ok", f"{width}×{height} pixels in RGB")


def _closes(env: Env) -> Finding:
    for time_ in ("once", "twice"):
        try:
            env.close()
        except TmrldError:
            raise
        except Exception as error:  # as above
            return Finding("closing", "wrong", f"closing it {time_} fails: {_plain(error)}: closing again should do nothing")
    return Finding("closing", "ok", "it can be closed, and closed again")
