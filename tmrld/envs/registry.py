"""From options to an environment: ours, any of Gymnasium's, or one that is named as ``module:attribute``.

What is not ours is made to fit: actions become one vector in [-1, 1], observations are described part by part (`describe`).
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import re
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import ValidationError
from rtgym import RealTimeGymInterface

from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID, OURS, EnvironmentOptions
from tmrld.envs.pacing import RENDER_MODES, PacedEnv
from tmrld.envs.trackmania.spec import flavour_spec
from tmrld.errors import WorldError
from tmrld.payloads import Array, EnvSpec, PartSpec

if TYPE_CHECKING:
    from tmrld.envs.sim.view import View
    from tmrld.envs.trackmania.view import CapturedView

Env = gymnasium.Env[Any, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """The reward line of a track, (n, 3) in metres, and the width of its road; None where that is unknown."""

    name: str
    points: NDArray[np.float64]
    width_m: float | None


_OURS = {
    FULL_ID: "TrackMania or its simulator: speed, gear, rpm, images (4 frames), the last 2 actions",
    LIDAR_ID: "TrackMania or its simulator: speed, 19 LIDAR beams (4 frames), the last 2 actions",
    LIDAR_PROGRESS_ID: "the same, and the share of the track that lies behind",
}


def known() -> list[tuple[str, str]]:
    """Our environments: each id with a line that describes it.  Gymnasium's own ids work as well."""
    return list(_OURS.items())


def make(options: EnvironmentOptions, render_mode: str | None = None) -> Env:
    """The environment that ``options`` names, without Gymnasium's checking wrappers, its actions in Box(-1, 1, (n,)).

    Raises WorldError when it does not exist, cannot be made, or has actions or observations that no policy of ours handles.
    """
    extra = {} if render_mode is None else {"render_mode": render_mode}
    if options.id in OURS:
        return _gymnasium_env(options.id, {**_settings(options), **extra})
    if ":" in options.id and not re.search(r"-v\d+$", options.id):
        env = _named_env(options, extra)
    else:
        env = _gymnasium_env(options.id, {**options.kwargs, **extra})
    _parts(env.observation_space, options.id)
    return _with_unit_actions(env, options.id)


def describe(env: Env, options: EnvironmentOptions) -> EnvSpec:
    """The spaces of ``env`` as data.  Raises WorldError on observations other than Box, Tuple or Dict of Box.

    An environment of your own that stacks frames, or shows its past actions, says so in an attribute ``tmrld_spec``, an `EnvSpec`
    for actions in [-1, 1]: then single frames are stored, and histories are rebuilt from them.  A wrapper around one of ours that
    leaves observations as they are needs none.
    """
    if options.id in OURS:
        return flavour_spec(options)
    own = env.get_wrapper_attr("tmrld_spec") if env.has_wrapper_attr("tmrld_spec") else None
    if isinstance(own, EnvSpec):
        return dataclasses.replace(own, id=options.id)
    size = _action_box(env, options.id).shape[0]
    paced = env.unwrapped
    if isinstance(paced, PacedEnv) and env.observation_space is paced.observation_space:
        if (ours := ours_within(env)) is not None:
            return dataclasses.replace(flavour_spec(ours), id=options.id)
        observed = spaces.Tuple(env.observation_space.spaces[: -paced.act_buf_len])
        return EnvSpec(
            id=options.id,
            parts=_parts(observed, options.id),
            action_size=size,
            action_buffer=paced.act_buf_len,
            default_action=tuple(_to_unit(paced.default_action, paced.action_space).tolist()),
            step_s=options.time_step_s,
        )
    return EnvSpec(
        id=options.id,
        parts=_parts(env.observation_space, options.id),
        action_size=size,
        default_action=(0.0,) * size,
        step_s=options.time_step_s,
    )


def ours_within(environment: Env) -> EnvironmentOptions | None:
    """The options of the environment of ours that others are wrapped around; None where there is none."""
    made = environment.unwrapped.spec
    if made is None or made.id not in OURS:
        return None
    settings = {key: value for key, value in made.kwargs.items() if key in EnvironmentOptions.model_fields}
    return EnvironmentOptions.model_validate({**settings, "id": made.id})


def keeps_real_time(environment: Env, options: EnvironmentOptions) -> bool:
    """Whether it goes by the wall clock, as rtgym interfaces of one's own do whatever the options say."""
    paced = environment.unwrapped
    return not paced.lockstep if isinstance(paced, PacedEnv) else options.clock == "realtime"


def newest_frames(spec: EnvSpec, observation: Any) -> dict[str, Array]:
    """The newest frame of each part, by name, in the part's dtype.  They may share memory with ``observation``."""
    if isinstance(observation, dict):
        values = [observation[part.name] for part in spec.parts]
    elif isinstance(observation, tuple):
        values = list(observation[: len(spec.parts)])
    else:
        values = [observation]
    return {
        part.name: np.asarray(value[-1] if part.history else value, part.dtype)
        for part, value in zip(spec.parts, values, strict=True)
    }


def track_of(options: EnvironmentOptions) -> Line | None:
    """The track that these options drive on, for maps; None where none is known, or each episode has another.  Raises WorldError."""
    if options.id not in OURS:
        return None
    if options.game == "trackmania":
        from tmrld.envs.trackmania.game import course_of

        course = course_of(options.track)
        return Line(course.name, course.line, None)
    from tmrld.envs.sim.tracks import changes, named

    if changes(options.track):
        return None
    track = named(options.track)
    return Line(track.name, track.line, track.width)


def view_of(options: EnvironmentOptions, environment: Env | None = None) -> View | CapturedView | None:
    """What draws pictures of this world for people; None where nothing does.  Raises WorldError.

    Those of the game are the pictures that ``environment`` takes; without one there are none.
    """
    if options.id not in OURS:
        return None
    if options.game == "trackmania":
        from tmrld.envs.trackmania.view import CapturedView

        paced = None if environment is None else environment.unwrapped
        return CapturedView(options.window, paced.interface.picture) if isinstance(paced, PacedEnv) else None
    from tmrld.envs.sim.view import View

    return View(options)


def tm20(id: str, render_mode: str | None = None, **settings: Any) -> Env:
    """Makes one of ours; the settings are those of `EnvironmentOptions`.  Called by ``gymnasium.make``."""
    options = _options(id, settings)
    if render_mode not in (None, *RENDER_MODES):
        raise WorldError(f"render_mode {render_mode!r} is not one of {', '.join(RENDER_MODES)}")
    if options.game == "trackmania":
        from tmrld.envs.trackmania.game import game_interface

        return PacedEnv(lambda: game_interface(options), options, render_mode)
    from tmrld.envs.sim.env import sim_interface

    return PacedEnv(lambda: sim_interface(options), options, render_mode)


def _options(name: str, settings: dict[str, Any]) -> EnvironmentOptions:
    try:
        return EnvironmentOptions(id=name, **settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        near = difflib.get_close_matches(key, EnvironmentOptions.model_fields, 1)
        hint = f": did you mean {near[0]}?" if first["type"] == "extra_forbidden" and near else ""
        raise WorldError(f"{name} cannot be made: {key}: {first['msg'].removeprefix('Value error, ')}{hint}") from error


def _settings(options: EnvironmentOptions) -> dict[str, Any]:
    """The options as plain keyword arguments, as ``gymnasium.make`` keeps them in its spec."""
    return options.model_dump(exclude={"id", "kwargs"})


def _gymnasium_env(name: str, kwargs: dict[str, Any]) -> Env:
    try:
        spec = gymnasium.spec(name)
        lean = dataclasses.replace(spec, order_enforce=False, disable_env_checker=True)
        return gymnasium.make(lean, **kwargs)
    except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound, gymnasium.error.VersionNotFound) as error:
        raise WorldError(f"no environment is called {name!r}{_nearest(name)}") from error
    except (gymnasium.error.Error, TypeError, ImportError) as error:
        raise WorldError(f"the environment {name!r} cannot be made: {error}") from error


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, [*_OURS, *gymnasium.registry], 1)
    return f": did you mean {near[0]!r}?" if near else f": ours are {', '.join(_OURS)}, an own one is given as module:attribute"


def _named_env(options: EnvironmentOptions, extra: dict[str, Any]) -> Env:
    """An environment, or an rtgym interface, from ``module:attribute``."""
    module_name, _, attribute = options.id.partition(":")
    try:
        target = importlib.import_module(module_name)
    except ImportError as error:
        raise WorldError(
            f"{options.id}: the module {module_name!r} cannot be imported ({error}): install it on this machine"
        ) from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            near = difflib.get_close_matches(part, dir(target), 1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise WorldError(f"{options.id}: {module_name} has no {attribute!r}{hint}")
        target = getattr(target, part)
    if not callable(target):
        raise WorldError(f"{options.id} is not a class or function that makes an environment")
    try:
        if isinstance(target, type) and issubclass(target, RealTimeGymInterface):
            return PacedEnv(lambda: target(**options.kwargs), options.model_copy(update={"clock": "realtime"}), **extra)
        env = target(**options.kwargs, **extra)
    except TypeError as error:
        raise WorldError(f"{options.id} cannot be made with kwargs {options.kwargs}: {error}") from error
    if not isinstance(env, gymnasium.Env):
        raise WorldError(f"{options.id} made a {type(env).__name__}, not a Gymnasium environment or rtgym interface")
    return env


class _UnitActions(gymnasium.ActionWrapper[Any, NDArray[np.float32], NDArray[Any]]):
    """Actions as one vector in [-1, 1], stretched to the bounds and shape of the environment's own."""

    def __init__(self, env: Env, box: spaces.Box) -> None:
        super().__init__(env)
        self._box = box
        self.action_space = spaces.Box(-1.0, 1.0, (int(np.prod(box.shape)),), np.float32)

    def action(self, action: NDArray[np.float32]) -> NDArray[Any]:
        """The environment's own action."""
        share = (np.clip(np.asarray(action, np.float64), -1.0, 1.0).reshape(self._box.shape) + 1.0) / 2.0
        return (self._box.low + share * (self._box.high - self._box.low)).astype(self._box.dtype)


def _to_unit(action: NDArray[Any], box: spaces.Box) -> NDArray[np.float64]:
    """The inverse of `_UnitActions.action`: flat, in [-1, 1]."""
    return (2.0 * (np.asarray(action, np.float64) - box.low) / (box.high - box.low) - 1.0).ravel()


def _action_box(env: Env, name: str) -> spaces.Box:
    box = env.action_space
    if not isinstance(box, spaces.Box) or not np.issubdtype(box.dtype, np.floating):
        raise WorldError(f"{name} has the action space {box}: only Box spaces of continuous actions can be learned here")
    return box


def _with_unit_actions(env: Env, name: str) -> Env:
    box = _action_box(env, name)
    if not (np.isfinite(box.low).all() and np.isfinite(box.high).all()):
        raise WorldError(f"{name} has unbounded actions ({box}): they cannot be scaled to [-1, 1], wrap it with bounds")
    if len(box.shape) == 1 and box.dtype == np.float32 and (box.low == -1).all() and (box.high == 1).all():
        return env
    return _UnitActions(env, box)


def _parts(space: gymnasium.Space[Any], name: str) -> tuple[PartSpec, ...]:
    """One part per Box: ``observation`` for a single one, the keys of a Dict, or ``part0`` … of a Tuple."""
    if isinstance(space, spaces.Dict):
        return tuple(_part(key, value, name) for key, value in space.spaces.items())
    if isinstance(space, spaces.Tuple):
        return tuple(_part(f"part{i}", value, name) for i, value in enumerate(space.spaces))
    return (_part("observation", space, name),)


def _part(key: str, space: gymnasium.Space[Any], name: str) -> PartSpec:
    if not isinstance(space, spaces.Box):
        raise WorldError(f"{name} observes {key!r} as {space}: only Box spaces, and Tuple or Dict of them, can be learned from")
    dtype = "uint8" if space.dtype == np.uint8 else "float32"
    return PartSpec(key, tuple(space.shape), dtype, float(space.low.min()), float(space.high.max()))
