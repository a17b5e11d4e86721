"""Filming an episode: it is driven here, and shown by `tmrld.envs.sim.film`.  Without relay, without a display."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from tmrld.envs.options import OURS, EnvironmentOptions
from tmrld.envs.registry import describe, make, newest_frames
from tmrld.envs.sim.camera import look_of
from tmrld.envs.sim.film import Film, Scene
from tmrld.envs.sim.randomness import conditions
from tmrld.errors import BadInput
from tmrld.payloads import Array, EnvSpec
from tmrld.storage.files import explaining
from tmrld.worker.driving import Driver, driver_named
from tmrld.worker.options import EvaluationOptions


def check_has_picture(options: EnvironmentOptions) -> None:
    """Raise BadInput where there is nothing to film."""
    if options.id not in OURS or options.game != "sim":
        what = options.id if options.id not in OURS else f"game={options.game!r}"
        window = "; in a window the game can be watched" if options.id in OURS else ""
        raise BadInput(f"{what} has no picture to film: the simulator has, in {', '.join(OURS)} with game='sim'{window}")


def filmed(options: EnvironmentOptions, policy: str, seed: int, *, perturbed: bool = False, steps: int | None = None) -> Film:
    """Drive the episode of that seed, for ``steps`` at most, and return its pictures: one for each step.

    ``policy`` is "random", "scripted", or the path of a weights file or of a .csv with an action per line, under a line of names:
    they are driven one after the other, and then the wheel and pedals are let go.  A ``perturbed`` start is that of evaluation
    episodes.  Raises BadInput for a world without a picture and for a policy that cannot drive here.
    """
    check_has_picture(options)
    environment = make(options)
    try:
        spec = describe(environment, options)
        choose = _replay(Path(policy), spec) if policy.endswith(".csv") else _actions_of(driver_named(policy, spec, seed))
        observation, info = environment.reset(seed=seed, options=EvaluationOptions().start if perturbed else None)
        began = time.monotonic()
        scenes: list[Scene] = []
        score, ended = 0.0, False
        while not ended and (steps is None or len(scenes) < steps):
            action = choose(observation)
            observation, reward, terminated, truncated, info = environment.step(action)
            score += float(reward)
            ended = terminated or truncated
            time_s = (len(scenes) + 1) * spec.step_s if options.clock == "lockstep" else time.monotonic() - began
            seen = {name: frame.copy() for name, frame in newest_frames(spec, observation).items()}
            scenes.append(Scene(time_s, dict(info), seen, tuple(action.tolist()), score))
    finally:
        environment.close()
    caption = f"{Path(policy).name} · seed {seed}" + (" · perturbed start" if perturbed else "")
    return Film(options, scenes, caption, look_of(conditions(options.randomisation, seed)))


def _actions_of(driver: Driver) -> Callable[[Any], Array]:
    """Of an episode that begins now."""
    driver.begin()
    return lambda observation: driver.choose(observation, {}).action


def _replay(path: Path, spec: EnvSpec) -> Callable[[Any], Array]:
    """A driver that looks at nothing.  Raises BadInput or StorageError for a file that does not hold actions."""
    with explaining("read", path):
        text = path.read_text("utf-8", "replace").splitlines()
    try:
        rows = np.array([[float(value) for value in line.split(",")] for line in text[1:] if line.strip()], np.float32)
    except ValueError as error:
        raise BadInput(
            f"{path} does not hold actions ({error}): expected a line of names, then numbers between commas"
        ) from error
    if rows.ndim != 2 or rows.shape[1] != spec.action_size or not len(rows):
        raise BadInput(f"{path} holds actions of shape {rows.shape}: {spec.id} takes {spec.action_size} numbers a step")
    actions = chain(rows, repeat(np.array(spec.default_action, np.float32)))
    return lambda _observation: next(actions)
