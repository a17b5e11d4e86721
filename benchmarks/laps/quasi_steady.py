"""The second estimate of the fastest lap, which knows nothing of the first: a quasi-steady-state lap on a line of its own.

In each place the car is taken to be in steady cornering (Brayshaw and Harrison, "A quasi steady state approach to race car lap
simulation in order to understand the effects of racing line and centre of gravity location", Proc. IMechE D 219, 2005): both
axles push equally to the side, nothing turns about.  What then remains for the pedals is the g-g diagram of that speed.  A pass
backwards over the line finds how fast one may come along to brake in time, a pass forwards how fast the engine gets there.

The line is that of a particle with a rounder g-g diagram, found on the road by itself (`racing_line`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import casadi as ca
import numpy as np

from laps.road import Floats, Road
from tmrld.envs.sim import car
from tmrld.envs.sim.car import Car

SPEEDS = np.linspace(10.0, 66.0, 57)
"""m/s.  Slower is only the start, which is straight: there the first diagram holds well enough."""
SHARES = np.linspace(0.0, 1.0, 61)
"""Of the largest sideways acceleration at a speed."""
PUSHES = np.linspace(0.0, 18.0, 37)
"""What the engine asks of the tyres, m/s²."""

PULSE_S = 0.01
"""Time step of the pass forwards: a shift takes ten of them."""

AXLES_M = 0.2
"""Room for the axles beside the middle of a car that drifts a little, metres."""


@dataclass(frozen=True)
class Diagram:
    """The g-g diagrams of all speeds."""

    sideways: Floats
    """The largest sideways acceleration at each of `SPEEDS`, m/s²."""
    ahead: Floats
    """(speeds, shares, pushes): the best acceleration when the engine gives up to that."""
    back: Floats
    """(speeds, shares): the strongest braking, as a negative acceleration."""

    def corner_speed(self, curvature: float) -> float:
        """The fastest steady speed through that bend, m/s."""
        bend = abs(curvature)
        if SPEEDS[-1] ** 2 * bend <= self.sideways[-1]:
            return float(SPEEDS[-1])
        low, high = 0.0, float(SPEEDS[-1])
        for _ in range(40):
            middle = (low + high) / 2
            if middle**2 * bend <= np.interp(middle, SPEEDS, self.sideways):
                low = middle
            else:
                high = middle
        return low

    def _cell(self, speed: float, curvature: float) -> tuple[int, float, int, float]:
        place = min(max((speed - SPEEDS[0]) / (SPEEDS[1] - SPEEDS[0]), 0.0), len(SPEEDS) - 1.000001)
        row = int(place)
        limit = self.sideways[row] + (self.sideways[row + 1] - self.sideways[row]) * (place - row)
        share = min(speed * speed * abs(curvature) / limit, 0.999999) * (len(SHARES) - 1)
        return row, place - row, int(share), share - int(share)

    def braking(self, speed: float, curvature: float) -> float:
        """The strongest braking there, as a negative acceleration."""
        row, up, column, right = self._cell(speed, curvature)
        table = self.back
        low = table[row, column] * (1 - right) + table[row, column + 1] * right
        high = table[row + 1, column] * (1 - right) + table[row + 1, column + 1] * right
        return float(low * (1 - up) + high * up)

    def pulling(self, speed: float, curvature: float, engine: float) -> float:
        """The best acceleration there when the engine gives up to ``engine``."""
        row, up, column, right = self._cell(speed, curvature)
        place = min(engine / (PUSHES[1] - PUSHES[0]), len(PUSHES) - 1.000001)
        push, more = int(place), place - int(place)
        table = self.ahead[row : row + 2, column : column + 2, push : push + 2]
        plane = table[:, :, 0] * (1 - more) + table[:, :, 1] * more
        return float((plane[0] @ (1 - right, right)) * (1 - up) + (plane[1] @ (1 - right, right)) * up)


@lru_cache(maxsize=1)
def diagram() -> Diagram:
    """The car's, from its own forces."""
    limits = np.linspace(8.0, 16.5, 341)
    feasible = ~np.isnan(steady(SPEEDS[:, None], limits[None, :], np.zeros((1, 1)), np.zeros((1, 1))))
    sideways = limits[feasible.shape[1] - 1 - np.argmax(feasible[:, ::-1], axis=1)]
    normal = (0.998 * sideways[:, None] * SHARES)[:, :, None]  # at the very limit not even coasting is steady
    speeds = SPEEDS[:, None, None]
    pulling = steady(speeds, normal, PUSHES[None, None, :], np.zeros((1, 1, 1)))
    ahead = np.maximum.accumulate(np.where(np.isnan(pulling), -np.inf, pulling), axis=2)
    brakes = np.linspace(0.0, car.BRAKE, 49)
    slowing = steady(speeds, normal, np.zeros((1, 1, 1)), brakes[None, None, :])
    back = np.where(np.isnan(slowing), np.inf, slowing).min(axis=2)
    return Diagram(sideways, ahead, back)


def steady(speed: Floats, normal: Floats, drive: Floats, brakes: Floats) -> Floats:
    """Acceleration along the path in steady cornering; nan where the tyres, or the steering's lock, do not allow it.

    ``normal`` is the acceleration across the path, ``drive`` and ``brakes`` what the pedals ask of the tyres, all in m/s².
    With slip angle b of the whole body, side force F of each axle, push P and steer angle d:
    normal = 2 F cos b - (P - F d) sin b, and along the path (P - F d) cos b + 2 F sin b less the air's resistance.
    """
    front_grip = car.AXLE_LOAD * car.GRIP
    rear_grip = front_grip * car.REAR_BONUS
    front = np.clip(drive * car.FRONT_DRIVE - brakes * car.FRONT_BRAKE, -car.TRACTION * front_grip, car.TRACTION * front_grip)
    rear_share, brake_share = 1.0 - car.FRONT_DRIVE, 1.0 - car.FRONT_BRAKE
    rear = np.clip(drive * rear_share - brakes * brake_share, -car.TRACTION * rear_grip, car.TRACTION * rear_grip)
    push = front + rear
    front_left, rear_left = np.sqrt(front_grip**2 - front**2), np.sqrt(rear_grip**2 - rear**2)
    spin = normal / speed
    force = normal / 2 + 0.0 * push
    drift = np.zeros_like(force)
    angle = np.zeros_like(force)
    for _ in range(30):
        along = np.maximum(speed * np.cos(drift), car.SLIP_FLOOR)
        rear_slip, front_slip = _slip(force / rear_left), _slip(force / front_left)
        drift = np.arctan(car.REAR_M * spin / along - rear_slip)
        angle = (car.FRONT_M + car.REAR_M) * spin / along - rear_slip + front_slip
        wanted = (normal + (push - force * angle) * np.sin(drift)) / (2.0 * np.cos(drift))
        force = 0.5 * force + 0.5 * wanted
    lock = np.minimum(car.STEER_LOCK, car.STEER_SLIP + car.LOCK_OVER_SPEED / np.maximum(speed**2, 25.0))
    possible = (wanted <= np.minimum(front_left, rear_left)) & (angle <= lock)
    resistance = car.AIR * speed**2 + car.ROLLING
    path = (push - force * angle) * np.cos(drift) + 2.0 * force * np.sin(drift) - resistance
    return np.asarray(np.where(possible, path, np.nan))


def _slip(share: Floats) -> Floats:
    """The slip at which a tyre gives that share of its grip: the magic formula turned round."""
    return np.asarray(np.tan(np.arcsin(np.clip(share, 0.0, 1.0)) / car.TYRE_SHAPE) / car.TYRE_STIFFNESS)


@dataclass(frozen=True)
class Line:
    """A line to drive along: places by its own arc length, metres, and its curvature at each of them, 1/m."""

    s: Floats
    curvature: Floats


def racing_line(road: Road) -> Line:
    """The fastest line of a particle: its direction follows its curvature, a rounded g-g diagram limits both accelerations.

    Direct collocation over the road's arc length (trapezoidal): ``n`` to the right of the centre, ``m`` clockwise of its heading,
    ``q`` = speed², and as controls the curvature and the acceleration along the path.
    """
    pieces = len(road.curvature)
    x, u = ca.SX.sym("x", 4), ca.SX.sym("u", 2)
    bend = ca.SX.sym("bend")
    stretch = (1.0 - bend * x[0]) / ca.cos(x[1])
    rates = ca.Function(
        "rates",
        [x, u, bend],
        [ca.vertcat(stretch * ca.sin(x[1]), x[3] * stretch - bend, 2.0 * u[1] * stretch, u[0]), stretch],
    ).map(pieces)
    states, controls = ca.MX.sym("x", 4, pieces + 1), ca.MX.sym("u", 2, pieces + 1)
    bends, lengths = road.curvature[None, :], np.diff(road.s)[None, :]
    before, stretch_before = rates(states[:, :-1], controls[:, :-1], bends)
    after, stretch_after = rates(states[:, 1:], controls[:, 1:], bends)
    steps = states[:, 1:] - states[:, :-1] - ca.repmat(ca.DM(lengths / 2), 4, 1) * (before + after)
    speed = ca.sqrt(states[2, :])
    time = ca.sum2(lengths * (stretch_before + stretch_after) / (speed[:-1] + speed[1:]))
    most = diagram().sideways
    across = states[2, :] * states[3, :] / float(most[len(most) // 2])
    pull = controls[1, :]
    drag = 1.1 * (across**2 + across**8) + car.AIR * states[2, :]  # of the turned front wheels, and of the air
    push = pull + drag
    grip = (across**2 + 1e-6) ** 1.2 + ((push / 14.5) ** 2 + 1e-6) ** 1.2
    limits = ca.vertcat(grip, push * ca.sqrt(states[2, :] + 25.0) / (0.78 * car.POWER), -push / car.BRAKE)
    solver = ca.nlpsol(
        "line",
        "ipopt",
        {
            "x": ca.veccat(states, controls),
            "f": time + 1e-2 * ca.sumsqr(controls[0, :]) + 1e-5 * ca.sumsqr(pull[1:] - pull[:-1]),
            "g": ca.veccat(steps, limits),
        },
        {"ipopt": {"max_iter": 500, "tol": 1e-6, "print_level": 0, "sb": "yes"}, "print_time": False},
    )
    reach = road.reach - AXLES_M
    top = np.stack([reach, np.full(pieces + 1, 1.2), np.full(pieces + 1, 4000.0), np.full(pieces + 1, 0.2)])
    bottom = np.stack([-reach, -top[1], np.full(pieces + 1, 1.0), -top[3]])
    bottom[:, 0] = top[:, 0] = (0.0, 0.0, 1.0, 0.0)
    edge = np.stack([np.full(pieces + 1, 0.03), np.full(pieces + 1, 14.0)])
    guess = np.zeros((4, pieces + 1))
    guess[2], guess[3] = 150.0, np.append(road.curvature, 0.0)
    flat = [array.ravel(order="F") for array in (guess, np.zeros((2, pieces + 1)), bottom, -edge, top, edge)]
    found = solver(
        x0=np.concatenate(flat[:2]),
        lbx=np.concatenate(flat[2:4]),
        ubx=np.concatenate(flat[4:]),
        lbg=np.append(np.zeros(4 * pieces), np.full(3 * (pieces + 1), -np.inf)),
        ubg=np.append(np.zeros(4 * pieces), np.ones(3 * (pieces + 1))),
    )
    n, m, _, curvature = np.asarray(found["x"]).ravel()[: 4 * (pieces + 1)].reshape(-1, 4).T
    ends = np.stack([n[:-1], n[1:]]), np.stack([m[:-1], m[1:]])
    metres = lengths[0] * ((1.0 - road.curvature * ends[0]) / np.cos(ends[1])).mean(axis=0)
    return Line(np.append(0.0, np.cumsum(metres)), curvature)


@dataclass(frozen=True)
class SteadyLap:
    """The time of a line, and the speed at each of its places."""

    lap_time_s: float
    speed: Floats


def steady_lap(line: Line) -> SteadyLap:
    """From a standing start along a line, with the gearbox's own shifts and pauses."""
    limits = diagram()
    lengths = np.diff(line.s)
    bends = np.abs(line.curvature)
    allowed = np.array([limits.corner_speed(float(bend)) for bend in bends])
    for k in range(len(lengths) - 1, -1, -1):
        slow = limits.braking(float(allowed[k + 1]), float(bends[k + 1]))
        allowed[k] = min(allowed[k], math.sqrt(allowed[k + 1] ** 2 - 2.0 * slow * lengths[k]))
    speed, time, box = 0.0, 0.0, Car()
    speeds = [speed]
    for k, length in enumerate(lengths):
        left = float(length)
        while left > 1e-9:
            duration = min(PULSE_S, left / max(speed, 1.0))
            drive, _ = box._pedals(duration, 1.0, 0.0, speed)
            faster = speed + limits.pulling(speed, float(bends[k]), drive) * duration
            most = allowed[k] + (allowed[k + 1] - allowed[k]) * (1.0 - left / length)
            faster = max(min(faster, most), 0.01)
            left -= (speed + faster) / 2 * duration
            time += duration
            speed = faster
        speeds.append(speed)
    return SteadyLap(time, np.array(speeds))
