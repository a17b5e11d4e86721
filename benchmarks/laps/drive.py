"""From a plan to the pedals: the simulator's own steps, held controls and all, and what comes of them.

`on_the_grid` solves the problem again on the simulator's time grid: a control is held for a time step, the car moves in the very
substeps of `Car.step` (semi-implicit Euler), and the gear and the pauses between gears are those that a drive found.  So its
controls drive the exact simulator almost open loop; `drive` closes what is left (rounding, a shift that comes one substep
sooner) with a linear feedback (a time-varying LQR) and records the actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from laps.model import TRACE_OF_GAS, braking, engine, lock, tyres
from laps.plan import Plan
from laps.road import Floats
from tmrld.envs.sim import car
from tmrld.envs.sim.car import Car, substeps
from tmrld.envs.sim.track import BORDER_M, Track

Actions = NDArray[np.float32]

STEP_S = 0.05
CAPTURE_S = 0.04
"""The environment's defaults: `EnvironmentOptions.time_step_s` and `start_obs_capture_s`; a test compares them."""

PIECES = [(*substeps(CAPTURE_S),), (*substeps(STEP_S - CAPTURE_S),)]
DTS = [dt for count, dt in PIECES for _ in range(count)]
"""Substeps of a time step: the world drives to the moment of capture, then to the end of the step."""


SURELY = 0.01
"""By how much a speed keeps away from the gearbox's thresholds, m/s."""


@dataclass(frozen=True)
class Lap:
    """What a drive of the exact car was: ``n`` time steps on tarmac."""

    actions: Actions
    """(n, 3): gas, brake, steer, as the environment takes them."""
    states: Floats
    """(n + 1, 7): x, z, heading, vx, vz, spin, steer angle at the start of each step, and at the end."""
    modes: Floats
    """(n, 2 · substeps): the gear, and whether it pulls (1) or shifts (0), for each substep in turn."""
    lap_time_s: float | None
    """None: the finish line was not reached through all gates."""


def run(track: Track, choose: Callable[[int, Floats], Floats], most: int) -> Lap:
    """Drive the exact car for at most ``most`` steps, or to the finish; ``choose(step, state)`` gives gas, brake and steer.

    It takes all ground for road: whether it was, the replay in the environment tells.  The clock starts a step early, because the
    environment obeys an action one step after it was given.
    """
    machine = Car()
    actions, states, modes = [], [state_of(machine)], []
    reached, lap, time = 0, None, STEP_S
    for step in range(most):
        action = np.clip(np.asarray(choose(step, states[-1])), (0.0, 0.0, -1.0), 1.0).astype(np.float32)
        mode = []
        for count, dt in PIECES:
            x, z = machine.x, machine.z
            for _ in range(count):
                machine.step(dt, *action.tolist())
                mode += [machine.gear, float(machine._shifting <= 0.0)]
            share = track.gates[reached].crossed(x, z, machine.x, machine.z) if lap is None else None
            if share is not None:
                reached += 1
                if reached == len(track.gates):
                    lap = time + share * count * dt
            time += count * dt
        actions.append(action)
        states.append(state_of(machine))
        modes.append(mode)
        if lap is not None:
            break
    return Lap(np.array(actions), np.array(states), np.array(modes), lap)


def state_of(machine: Car) -> Floats:
    """x, z, heading, vx, vz, spin, steer."""
    return np.array([machine.x, machine.z, machine.heading, machine.vx, machine.vz, machine.spin, machine.steer])


def modes_along(plan: Plan) -> tuple[Floats, Floats]:
    """The gear on each piece of the plan's road when it is driven at the plan's speed, and the share of time that it pulls."""
    machine = Car()
    gears, share = [], []
    ends = plan.time
    for k in range(len(ends) - 1):
        count = max(1, round((ends[k + 1] - ends[k]) / 0.002))
        pulls = 0.0
        for i in range(count):
            along = plan.states[k, 2] + (plan.states[k + 1, 2] - plan.states[k, 2]) * i / count
            machine._pedals((ends[k + 1] - ends[k]) / count, 1.0, 0.0, float(along))
            pulls += machine._shifting <= 0.0
        gears.append(float(machine.gear))
        share.append(pulls / count)
    return np.array(gears), np.array(share)


@dataclass(frozen=True)
class Grid:
    """A lap on the simulator's time grid: states (n + 1, 7) as in `Lap`, actions (n, 3), and a linear feedback for each step."""

    states: Floats
    actions: Floats
    gains: Floats
    """(n, 3, 7): change of the action per difference of the state."""


def on_the_grid(
    track: Track, edge_m: float, states: Floats, actions: Floats, modes: Floats, say: Callable[[str], None]
) -> Grid:
    """The drive that gets furthest in n steps and stays ``edge_m`` away from the grass.

    ``states`` (n + 1, 7) and ``actions`` (n, 3) are a guess, ``modes`` (n, 2 · substeps) the gears.  Around each state of the guess
    the road is taken for a bend of constant curvature and width.
    """
    count = len(actions)
    places = places_of(track, states)
    step = time_step()
    x, u = ca.MX.sym("x", 7, count + 1), ca.MX.sym("u", 3, count)
    local = np.stack([*track.centre(places), track.curvature(places)])
    reach = track.half_width(places) + BORDER_M - edge_m
    finish = track.pose(track.length)
    ahead = (x[0, -1] - finish.x) * np.sin(finish.heading) + (x[1, -1] - finish.z) * np.cos(finish.heading)
    smooth = 1e-2 * ca.sumsqr(u[:, 1:] - u[:, :-1])
    problem = {
        "x": ca.veccat(x, u),
        "f": -ahead + smooth,
        "g": ca.veccat(x[:, 1:] - step.map(count)(x[:, :-1], u, modes.T), _places().map(count + 1)(x, local)),
    }
    solver = ca.nlpsol(
        "grid",
        "ipopt",
        problem,
        {
            "ipopt": {"max_iter": 150, "tol": 1e-6, "acceptable_tol": 1e-5, "print_level": 0, "sb": "yes", "mu_init": 1e-2},
            "print_time": False,
        },
    )
    free = np.full((7, count + 1), np.inf)
    free[:, 0] = 0.0
    free[6, 1:] = car.STEER_LOCK
    low = np.array([TRACE_OF_GAS, 0.0, -1.0])[:, None].repeat(count, 1)
    squared = actions * np.where(np.arange(3) == 1, actions, 1.0)
    slowest, fastest = _speeds_of(modes)
    found = solver(
        x0=_flat(states.T, squared.T),
        lbx=_flat(-free, low),
        ubx=_flat(free, np.ones((3, count))),
        lbg=_flat(np.zeros((7, count)), np.stack([-reach, -reach, slowest])),
        ubg=_flat(np.zeros((7, count)), np.stack([reach, reach, fastest])),
    )
    stats = solver.stats()
    values = np.asarray(found["x"]).ravel()
    new_states = values[: 7 * (count + 1)].reshape(-1, 7)
    new_actions = values[7 * (count + 1) :].reshape(-1, 3)
    say(f"grid: {-float(found['f']):+.2f} m at step {count} after {stats['iter_count']} iterations ({stats['return_status']})")
    gains = _feedback(step, new_states, new_actions, modes)
    return Grid(new_states, new_actions, gains)


def follow(track: Track, grid: Grid) -> Lap:
    """Drive the exact car along a grid's states and on until the finish, with its feedback.

    What counts is the difference from the nearest point of the grid's way, not from where the grid is at that time: a car that
    lags behind must not cut the corner to catch up.
    """
    last = len(grid.actions) - 1
    near = 0.0

    def choose(step: int, state: Floats) -> Floats:
        nonlocal near
        first = max(int(near) - 2, 0)
        near = min(first + _nearest(grid.states[first : first + 7, :2], state[:2]), float(last))
        k = int(near)
        share = near - k
        reference = grid.states[k] * (1.0 - share) + grid.states[k + 1] * share
        after = min(k + 1, last)
        action = grid.actions[k] * (1.0 - share) + grid.actions[after] * share
        gains = grid.gains[k] * (1.0 - share) + grid.gains[after] * share
        gas, brake_squared, steer = action + (gains @ (state - reference) if step <= last else 0.0)
        return np.array([max(gas, TRACE_OF_GAS), np.sqrt(max(brake_squared, 0.0)), steer])

    return run(track, choose, len(grid.actions) + 20)


def _nearest(way: Floats, point: Floats) -> float:
    """Where along a way of straight pieces the nearest point to another lies: 1.5 is in the middle of the second piece."""
    pieces = np.diff(way, axis=0)
    share = ((point - way[:-1]) * pieces).sum(axis=1) / np.maximum((pieces**2).sum(axis=1), 1e-12)
    share = np.clip(share, 0.0, 1.0)
    distance = ((way[:-1] + share[:, None] * pieces - point) ** 2).sum(axis=1)
    best = int(np.argmin(distance))
    return best + float(share[best])


def time_step() -> ca.Function:
    """One time step of the simulator: state (7), gas, brake², steer (3), modes → state."""
    x, u, modes = ca.SX.sym("x", 7), ca.SX.sym("u", 3), ca.SX.sym("modes", 2 * len(DTS))
    px, pz, heading, vx, vz, spin, angle = ca.vertsplit(x)
    gas, brake_squared, steer = ca.vertsplit(u)
    for k, dt in enumerate(DTS):
        sine, cosine = ca.sin(heading), ca.cos(heading)
        along, side = vx * sine + vz * cosine, vx * cosine - vz * sine
        speed_squared = vx * vx + vz * vz
        turn = steer * lock(speed_squared) - angle
        limit = car.STEER_RATE * dt
        angle = angle + turn / (1.0 + (turn / limit) ** 8) ** 0.125  # the clamp to ±limit, with its corners rounded
        drive = gas * modes[2 * k + 1] * engine(modes[2 * k], along)
        body = tyres(along, side, spin, angle, drive, braking(brake_squared, gas))
        vx, vz = vx + (body.along * sine + body.side * cosine) * dt, vz + (body.along * cosine - body.side * sine) * dt
        keep = 1.0 - (car.AIR * speed_squared + car.ROLLING) * dt / ca.sqrt(vx * vx + vz * vz + 1e-12)
        vx, vz = vx * keep, vz * keep
        spin = spin + body.spin * dt
        heading = heading + spin * dt
        px, pz = px + vx * dt, pz + vz * dt
    return ca.Function("step", [x, u, modes], [ca.vertcat(px, pz, heading, vx, vz, spin, angle)])


def _places() -> ca.Function:
    """Offsets of both axles from a road through (x, z, heading) with a constant curvature, and the speed ahead."""
    x, local = ca.SX.sym("x", 7), ca.SX.sym("local", 4)
    offsets = []
    for distance in (car.FRONT_M, -car.REAR_M):
        east, north = x[0] + distance * ca.sin(x[2]) - local[0], x[1] + distance * ca.cos(x[2]) - local[1]
        ahead = east * ca.sin(local[2]) + north * ca.cos(local[2])
        right = east * ca.cos(local[2]) - north * ca.sin(local[2])
        bend = local[3]
        # (1 - sqrt((1 - bend right)² + (bend ahead)²)) / bend, in a form that holds for a straight road
        root = ca.sqrt((1.0 - bend * right) ** 2 + (bend * ahead) ** 2)
        offsets.append((2.0 * right - bend * (right**2 + ahead**2)) / (1.0 + root))
    along = x[3] * ca.sin(x[2]) + x[4] * ca.cos(x[2])
    return ca.Function("places", [x, local], [ca.vertcat(*offsets, along)])


def _speeds_of(modes: Floats) -> tuple[Floats, Floats]:
    """Between which speeds the start of each step, and the end, must lie for the gearbox to do as ``modes`` say.

    Where it holds a gear, between its two thresholds; where it shifts down, below the one and where it shifts up, above the other.
    """
    count = len(modes)
    slowest, fastest = np.full(count + 1, -np.inf), np.full(count + 1, np.inf)
    gears, pulls = modes[:, ::2].astype(int), modes[:, 1::2] == 1.0
    down = np.array([-np.inf, *(car.SHIFT_DOWN * top for top in car.TOP_SPEEDS[:-1])])
    up = np.array([*(car.SHIFT_UP * top for top in car.TOP_SPEEDS[:-1]), np.inf])
    for k in range(1, count):
        before, gear = gears[k - 1, -1], gears[k, 0]
        if gear < before:
            fastest[k] = down[before - 1] - SURELY
        elif gear > before:
            slowest[k] = up[before - 1] + SURELY
        elif pulls[k - 1].all() and pulls[k].all():
            slowest[k], fastest[k] = down[gear - 1] + SURELY, up[gear - 1] - SURELY
        if gears[k - 1, 0] > before:
            fastest[k] = down[gears[k - 1, 0] - 1] - SURELY
    return slowest, fastest


def _feedback(step: ca.Function, states: Floats, actions: Floats, modes: Floats) -> Floats:
    """Gains (n, 3, 7) of the finite-horizon LQR around a drive: Riccati's recursion, backwards."""
    x, u, m = ca.SX.sym("x", 7), ca.SX.sym("u", 3), ca.SX.sym("m", modes.shape[1])
    after = step(x, u, m)
    slopes = ca.Function("slopes", [x, u, m], [ca.jacobian(after, x), ca.jacobian(after, u)])
    state_cost = np.diag([1.0, 1.0, 20.0, 0.1, 0.1, 0.5, 0.0])
    action_cost = np.diag([5.0, 5.0, 5.0])
    ahead = state_cost
    gains = np.zeros((len(actions), 3, 7))
    for k in range(len(actions) - 1, -1, -1):
        a, b = (np.asarray(slope) for slope in slopes(states[k], actions[k], modes[k]))
        gains[k] = -np.linalg.solve(action_cost + b.T @ ahead @ b, b.T @ ahead @ a)
        ahead = state_cost + a.T @ ahead @ (a + b @ gains[k])
        ahead = (ahead + ahead.T) / 2
    return gains


def _flat(*arrays: Floats) -> Floats:
    """CasADi's order: column by column."""
    return np.concatenate([np.asarray(array).ravel(order="F") for array in arrays])


def sampled(plan: Plan) -> tuple[Floats, Floats, Floats]:
    """A plan on the time grid: states (n + 1, 7) as in `Lap`, actions (n, 3), and modes (n, 2 · substeps)."""
    count = int(np.ceil(plan.lap_time_s / STEP_S))
    times = np.arange(count + 1) * STEP_S
    x, z, road_heading = plan.road.track.centre(np.interp(times, plan.time, plan.road.s))
    n, m, along, side, spin, angle = (np.interp(times, plan.time, column) for column in plan.states.T)
    heading = road_heading + m
    sine, cosine = np.sin(heading), np.cos(heading)
    vx, vz = along * sine + side * cosine, along * cosine - side * sine
    x, z = x + n * np.cos(road_heading), z - n * np.sin(road_heading)
    gas, brake_squared = (np.interp(times[:-1] + STEP_S / 2, plan.time, column) for column in plan.controls.T[:2])
    locks = np.minimum(car.STEER_LOCK, car.STEER_SLIP + car.LOCK_OVER_SPEED / np.maximum(along**2 + side**2, 25.0))
    actions = np.stack([gas, np.sqrt(np.clip(brake_squared, 0.0, 1.0)), np.clip((angle / locks)[1:], -1.0, 1.0)], axis=1)
    piece = np.clip(np.searchsorted(plan.time, times[:-1], "right") - 1, 0, len(plan.gears) - 1)
    modes = np.tile(np.stack([plan.gears[piece], plan.share[piece]], axis=1), len(DTS))
    return np.stack([x, z, heading, vx, vz, spin, angle], axis=1), actions, modes


def places_of(track: Track, states: Floats) -> Floats:
    """Where along the road each of the states is, metres, to the nearest of the track's points; (n, 7) → (n,)."""
    s = np.arange(0.0, track.length + track.run_out, 0.25)
    x, z, _ = track.centre(s)
    found, near = np.zeros(len(states)), 0
    for k, state in enumerate(states):
        window = slice(max(0, near - 20), near + 40)  # 5 m back, 10 m ahead: the road may cross itself
        near = window.start + int(np.argmin((x[window] - state[0]) ** 2 + (z[window] - state[1]) ** 2))
        found[k] = s[near]
    return found
