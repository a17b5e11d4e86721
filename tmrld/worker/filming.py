"""Filming an episode: it is driven here, and shown by `tmrld.envs.sim.film`.  Without relay, without a display."""

from __future__ import annotations

import time

from tmrld.envs.options import OURS, EnvironmentOptions
from tmrld.envs.registry import describe, make, newest_frames
from tmrld.envs.sim.camera import look_of
from tmrld.envs.sim.film import Film, Scene
from tmrld.envs.sim.randomness import conditions
from tmrld.errors import BadInput
from tmrld.worker.driving import chooser, perturbed_start


def check_has_picture(options: EnvironmentOptions) -> None:
    """Raise BadInput where there is nothing to film."""
    if options.id not in OURS or options.game != "sim":
        what = options.id if options.id not in OURS else f"game={options.game!r}"
        raise BadInput(f"{what} has no picture to film: the simulator has, in {', '.join(OURS)} with game='sim'")


def filmed(options: EnvironmentOptions, policy: str, seed: int, *, perturbed: bool = False, steps: int | None = None) -> Film:
    """Drive the episode of that seed, for ``steps`` at most, and return its pictures: one for each step.

    ``policy`` is "random", "scripted" or the path of a weights file.  A ``perturbed`` start is that of evaluation episodes.
    Raises BadInput for a world without a picture and for a policy that cannot drive here.
    """
    check_has_picture(options)
    environment = make(options)
    try:
        spec = describe(environment, options)
        choose = chooser(policy, spec, seed)
        observation, info = environment.reset(seed=seed, options=perturbed_start() if perturbed else None)
        began = time.monotonic()
        scenes: list[Scene] = []
        score, ended = 0.0, False
        while not ended and (steps is None or len(scenes) < steps):
            action = choose(observation).action
            observation, reward, terminated, truncated, info = environment.step(action)
            score += float(reward)
            ended = terminated or truncated
            time_s = (len(scenes) + 1) * spec.step_s if options.clock == "lockstep" else time.monotonic() - began
            seen = {name: frame.copy() for name, frame in newest_frames(spec, observation).items()}
            scenes.append(Scene(time_s, dict(info), seen, tuple(action.tolist()), score))
    finally:
        environment.close()
    caption = f"{policy} · seed {seed}" + (" · perturbed start" if perturbed else "")
    return Film(options, scenes, caption, look_of(conditions(options.randomisation, seed)))
