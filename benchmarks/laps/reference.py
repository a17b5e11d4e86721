"""The reference lap of a track: a plan, driven on the simulator's grid, recorded, and replayed in the environment itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from laps.drive import STEP_S, Actions, Lap, follow, modes_along, on_the_grid, run, sampled
from laps.plan import Plan, first_guess, make_plan
from laps.quasi_steady import SteadyLap, racing_line, steady_lap
from laps.road import EDGE_M, Floats, Road, road_of
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import make
from tmrld.envs.sim import car
from tmrld.envs.sim.track import Track

SPACING_M = 2.0
PLANS = 3
"""How often the plan is made for the gears of the plan before."""
ROUNDS = 4
"""How often the grid is solved for the gears of the drive before."""
SAME_S = 1e-3
"""A replay in the environment that differs by more has met grass, which `drive.run` does not know."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Reference:
    """A reference lap, and the estimates beside it."""

    track: Track
    lap: Lap
    lap_s: float
    """Replayed in the environment."""
    plan: Plan
    plan_s: float
    """The plan's own time, with the step for which the environment holds the first action back."""
    steady: SteadyLap
    steady_s: float
    """Likewise of the quasi-steady-state lap."""
    seconds: float
    """How long all that took."""


def reference_lap(track: Track, say: Say) -> Reference:
    """Work out the fastest lap.  Raises RuntimeError when no drive reached the finish on tarmac."""
    began = time.monotonic()
    _, steady, steady_s = quasi_steady_lap(track)
    say(f"quasi-steady: {steady_s:.3f} s")
    plan = best_plan(track, say)
    lap, lap_s = best_drive(track, plan, say)
    return Reference(track, lap, lap_s, plan, plan.lap_time_s + STEP_S, steady, steady_s, time.monotonic() - began)


def quasi_steady_lap(track: Track) -> tuple[Road, SteadyLap, float]:
    """The second estimate: the road it was made for, the lap, and its time with the step that the environment waits."""
    road = road_of(track, SPACING_M)
    steady = steady_lap(racing_line(road))
    return road, steady, steady.lap_time_s + STEP_S


def rerun(track: Track, actions: Actions) -> tuple[Lap, float]:
    """Recorded actions driven once more.  Raises RuntimeError when the environment does not drive the same lap with them."""
    lap = run(track, lambda step, _: actions[step], len(actions))
    replayed = replay(track.name, actions)
    if lap.lap_time_s is None or replayed is None or abs(lap.lap_time_s - replayed) > SAME_S:
        raise RuntimeError(
            f"the recorded lap of {track.name} is {_seconds(lap.lap_time_s)} on tarmac and {_seconds(replayed)} in the environment: "
            "car or track have changed since it was recorded, make it again"
        )
    return lap, replayed


def best_plan(track: Track, say: Say) -> Plan:
    """Plans for the gears of the plan before, each from a slow drive along the centre; one that comes to no end is left out."""
    road = road_of(track, SPACING_M)
    guess = first_guess(road)
    middle = (guess[1][1:, 2] + guess[1][:-1, 2]) / 2
    gears = (1 + np.searchsorted(car.SHIFT_UP * np.array(car.TOP_SPEEDS[:-1]), middle)).astype(np.float64)
    plan = make_plan(road, gears, np.ones(len(gears)), guess, say)
    for _ in range(PLANS - 1):
        gears, share = modes_along(plan)
        again = make_plan(road, gears, share, guess, say)
        if plan.solved and not again.solved:
            break
        plan = again
    return plan


def grass_plan(plan: Plan, grass_m: float, say: Say) -> Plan:
    """The plan again, with up to ``grass_m`` metres of grass to use, from a guess that cuts every corner over it."""
    states = plan.states.copy()
    states[:, 0] *= (plan.road.reach + grass_m) / plan.road.reach
    return make_plan(plan.road, plan.gears, plan.share, (plan.time, states, plan.controls), say, grass_m)


def best_drive(track: Track, plan: Plan, say: Say) -> tuple[Lap, float]:
    """The fastest of some drives, each started from the one before, and its lap time in the environment."""
    states, actions, modes = sampled(plan)
    best: tuple[Lap, float] | None = None
    edge_m = EDGE_M
    for _ in range(ROUNDS):
        grid = on_the_grid(track, edge_m, states, actions, modes, say)
        lap = follow(track, grid)
        replayed = replay(track.name, lap.actions)
        say(f"driven: {_seconds(lap.lap_time_s)}, replayed in the environment: {_seconds(replayed)}")
        if lap.lap_time_s is None:
            states, actions = grid.states, _pedals(grid.actions)
            continue
        states, actions, modes = lap.states, lap.actions.astype(np.float64), lap.modes
        if replayed is None or abs(replayed - lap.lap_time_s) > SAME_S:
            edge_m += 0.05
        elif best is None or replayed < best[1]:
            best = lap, replayed
    if best is None:
        raise RuntimeError(f"no drive on {track.name} came to the finish on tarmac: the plan cannot be driven, see above")
    return best


def replay(track: str, actions: Actions) -> float | None:
    """The lap time that these actions give, one after the other, in the environment with its default settings; None: no lap."""
    env = make(EnvironmentOptions(track=track, max_steps=len(actions) + 10))
    try:
        env.reset(seed=0)
        for action in (*actions, *([actions[-1]] * 3)):  # the lap is seen when it is looked at, a step or two later
            _, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                lap: float | None = info["lap_time_s"]
                return lap
    finally:
        env.close()
    return None


def _pedals(actions: Floats) -> Floats:
    """Gas, brake and steer of a grid, which has the brake squared."""
    return np.stack([actions[:, 0], np.sqrt(np.clip(actions[:, 1], 0.0, 1.0)), actions[:, 2]], axis=1)


def _seconds(value: float | None) -> str:
    return "no lap" if value is None else f"{value:.3f} s"
