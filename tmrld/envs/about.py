"""An environment as people read about it: what is seen and done, how long a step takes, what is paid, how an episode ends.

Plain values throughout, so that `dataclasses.asdict` gives what JSON can hold; a number without a bound is None.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import gymnasium
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tmrld.applies import UNIT
from tmrld.envs.options import OURS, EnvironmentOptions
from tmrld.envs.pacing import PacedEnv
from tmrld.envs.registry import Env, describe, known, make
from tmrld.envs.trackmania.reward import MISSED_M, POINTS_PER_REWARD
from tmrld.envs.trackmania.spec import ACTIONS, MEANINGS, Meaning, flavour_spec
from tmrld.envs.trackmania.tracks import SPACING_M
from tmrld.payloads import EnvSpec, PartSpec

NEEDS = {
    "sim": 'pip install "tmrld[worker]"',
    "trackmania": 'pip install "tmrld[game]", TrackMania 2020 with OpenPlanet, tmrld trackmania install, the line of the track',
}
"""What ours need in the simulator, and in the game."""

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One part of an observation, or one number of an action."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float | None
    high: float | None
    unit: str
    text: str


@dataclass(frozen=True)
class Option:
    """One setting: its key below ``run.environment``, what it is now, and what it is unless it is set."""

    key: str
    value: Json
    default: Json
    unit: str
    choices: tuple[Json, ...]
    text: str


@dataclass(frozen=True)
class About:
    """All that `tmrld env show` tells.  ``step_s`` and the like are None where only the environment itself knows.

    ``delay_s`` is how much time lies between the capture of what is seen and the moment from which the action that answers it is
    held.  ``rewards`` says for each term of the reward what it pays; without terms it is empty.
    """

    id: str
    text: str
    observation: tuple[Part, ...]
    action: tuple[Part, ...]
    step_s: float | None
    capture_s: float | None
    delay_s: float | None
    rewards: dict[str, str]
    terminated: tuple[str, ...]
    truncated: tuple[str, ...]
    options: tuple[Option, ...]


def about(options: EnvironmentOptions) -> About:
    """The environment that ``options`` name.  One that is not ours is made for it.  Raises WorldError where it cannot be."""
    return _ours(options) if options.id in OURS else _foreign(options)


def _ours(options: EnvironmentOptions) -> About:
    spec = flavour_spec(options)
    return About(
        id=options.id,
        text=dict(known())[options.id],
        observation=_observation(spec, MEANINGS if options.compat == "none" else _as_in_tmrl(options)),
        action=tuple(Part(name, (), "float32", -1.0, 1.0, each.unit, each.text) for name, each in ACTIONS.items()),
        **_pace(options),
        rewards=_rewards(options),
        terminated=tuple(_terminated(options)),
        truncated=tuple(_truncated(options)),
        options=tuple(each for each in settings_of(options) if each.key not in ("id", "kwargs")),
    )


def _foreign(options: EnvironmentOptions) -> About:
    env = make(options)
    try:
        spec = describe(env, options)
        paced = isinstance(env.unwrapped, PacedEnv)
        limit = options.max_steps if paced else None if env.spec is None else env.spec.max_episode_steps
        return About(
            id=options.id,
            text=_first_line(env),
            observation=_observation(spec, {}),
            action=tuple(_foreign_actions(env, spec)),
            **(_pace(options.model_copy(update={"clock": "realtime"})) if paced else dict.fromkeys(PACE)),
            rewards={},
            terminated=("when the environment says so",),
            truncated=(f"after {limit:,} steps",) if limit else (),
            options=tuple(_keywords(env, options)),
        )
    finally:
        env.close()


PACE = ("step_s", "capture_s", "delay_s")


def _pace(options: EnvironmentOptions) -> dict[str, Any]:
    """An action is chosen while a time step lasts, and held from the next one on."""
    capture_s = options.start_obs_capture_s
    return {
        "step_s": options.time_step_s,
        "capture_s": capture_s,
        "delay_s": round(max(0.0, options.time_step_s - capture_s) + options.time_step_s, 9),
    }


def _observation(spec: EnvSpec, meanings: Mapping[str, Meaning]) -> tuple[Part, ...]:
    parts = [_part(each, meanings.get(each.name, Meaning("", ""))) for each in spec.parts]
    if spec.action_buffer:
        count = f"{spec.action_buffer} newest actions, newest last" if spec.action_buffer > 1 else "newest action"
        parts.append(Part("actions", (spec.action_buffer, spec.action_size), "float32", -1.0, 1.0, "", f"the {count}"))
    return tuple(parts)


def _part(part: PartSpec, meaning: Meaning) -> Part:
    return Part(part.name, part.observed_shape, part.dtype, _bound(part.low), _bound(part.high), meaning.unit, meaning.text)


def _bound(value: float) -> float | None:
    return value if math.isfinite(value) else None


# Ours


def _as_in_tmrl(options: EnvironmentOptions) -> dict[str, Meaning]:
    """What differs with ``compat``."""
    return {**MEANINGS, "speed": Meaning(options.trackmania.speed_unit, "how fast the car drives, as the plugin tells it")}


def _rewards(options: EnvironmentOptions) -> dict[str, str]:
    """What each term of the reward pays, in the order of `tmrld.envs.trackmania.reward.REWARD_TERMS`."""
    reward = options.reward
    ground = "that were not reached before" if options.compat == "none" else "ahead, even if they were driven before"
    return {
        "progress": f"1 for every {POINTS_PER_REWARD * SPACING_M:g} m of the line {ground}",
        "finish": f"{reward.end_of_track:g}, once, for crossing the finish line",
        "penalty": f"{reward.constant_penalty:g}, added to each step",
    }


def _terminated(options: EnvironmentOptions) -> Iterator[str]:
    reward = options.reward
    ours = options.compat == "none"
    yield "the car crosses the finish line"
    yield (
        f"more than {reward.failure_countdown:,} steps in a row {'reach no new ground' if ours else 'go no further'}; the first "
        f"{reward.min_steps:,} of an episode are not counted"
    )
    if ours:
        yield f"the car is {reward.max_stray:g} m away from the line"
        if options.game == "sim":
            yield f"a checkpoint lies {MISSED_M:g} m behind, and was missed"


def _truncated(options: EnvironmentOptions) -> Iterator[str]:
    yield f"after {options.max_steps:,} steps, {options.max_steps * options.time_step_s:g} s"
    if options.game == "trackmania":
        yield "a person takes the controls over"


# Settings


def settings_of(model: BaseModel, prefix: str = "") -> Iterator[Option]:
    """Every setting of a group, and of the groups in it, as they are set in ``model``."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from settings_of(value, f"{prefix}{name}.")
        else:
            yield _option(f"{prefix}{name}", value, field)


def _option(key: str, value: Any, field: FieldInfo) -> Option:
    extra = field.json_schema_extra
    unit = str(extra.get(UNIT, "")) if isinstance(extra, dict) else ""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return Option(key, value, field.get_default(call_default_factory=True), unit, choices, field.description or "")


# Others'


def _first_line(env: Env) -> str:
    """What its author says of it, in a line; "" for nothing."""
    own = type(env.unwrapped)
    if isinstance(env.unwrapped, PacedEnv):
        own = type(env.unwrapped.interface)
    text = own.__doc__ or ""
    lines = [line.strip(" #") for line in text.strip().splitlines()]
    return next((line for line in lines if line and line.lower() != "description"), "")


def _foreign_actions(env: Env, spec: EnvSpec) -> Iterator[Part]:
    """Policies act in [-1, 1] everywhere; what that stands for is the environment's own range."""
    box = env.unwrapped.action_space
    for number in range(spec.action_size):
        text = ""
        if isinstance(box, gymnasium.spaces.Box):
            low, high = float(box.low.flat[number]), float(box.high.flat[number])
            text = f"stands for {low:g} to {high:g}" if (low, high) != (-1.0, 1.0) else ""
        yield Part(f"action {number}", (), "float32", -1.0, 1.0, "", text)


def _keywords(env: Env, options: EnvironmentOptions) -> Iterator[Option]:
    """What may stand in ``run.environment.kwargs``: the keyword arguments that it was made with, or could be."""
    own = env.unwrapped
    maker = own.interface if isinstance(own, PacedEnv) else own
    for name, parameter in inspect.signature(type(maker)).parameters.items():
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD) or name == "render_mode":
            continue
        default = None if parameter.default is inspect.Parameter.empty else _plain(parameter.default)
        yield Option(f"kwargs.{name}", _plain(options.kwargs.get(name, default)), default, "", (), "")


def _plain(value: Any) -> Json:
    """The value if JSON has it, otherwise how Python writes it."""
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else repr(value)
