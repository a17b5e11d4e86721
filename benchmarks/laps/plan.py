"""The fastest lap of the smooth car, by direct collocation over the road's arc length.

Curvilinear coordinates (Limebeer and Perantoni, "Optimal control of a Formula One car on a three-dimensional track, part 2", J. Dyn.
Sys. Meas. Control 137, 2015, without the third dimension): ``n`` metres to the right of the centre line, ``m`` radians clockwise of
its heading, and with curvature k

    s' = (along cos m - side sin m) / (1 - k n),    n' = along sin m + side cos m,    m' = spin - k s'

The nodes lie at fixed places s.  The time between two of them is a variable, and time, not s, is what the trapezoidal rule steps
over: so a standing start is nothing special.  The gear in each place and the pauses between gears are given; `drive.modes_along`
finds them by driving the plan, and the plan is made again for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np

from laps.model import TARMAC, TRACE_OF_GAS, Grass, braking, engine, tyres_and_air
from laps.road import Floats, Road
from tmrld.envs.sim import car

STATES = ("n", "m", "along", "side", "spin", "angle")
CONTROLS = ("gas", "brake_squared", "steer_rate")
EDGE_WIDTH_M = 0.2
"""Over about this much to either side, a plan that may use grass goes from tarmac to grass."""


@dataclass(frozen=True)
class Plan:
    """A lap at the nodes of a road."""

    road: Road
    time: Floats
    states: Floats
    """(nodes, 6): `STATES`."""
    controls: Floats
    """(nodes, 3): `CONTROLS`."""
    share: Floats
    """Share of the engine's power on each piece: below 1 where a shift interrupts it."""
    gears: Floats
    solved: bool
    """Whether the solver came to an end; else this is where it stood when its iterations were used up."""

    @property
    def lap_time_s(self) -> float:
        """From a standing start to the finish line."""
        return float(self.time[-1])


def make_plan(
    road: Road,
    gears: Floats,
    share: Floats,
    guess: tuple[Floats, Floats, Floats],
    say: Callable[[str], None],
    grass_m: float = 0.0,
) -> Plan:
    """The fastest lap in those gears.  ``guess``: time (nodes,), states (nodes, 6), controls (nodes, 3).

    The axles may be up to ``grass_m`` metres beside the road, where they have the grip and the drag of grass.
    """
    pieces = len(road.curvature)
    x, u, h = ca.MX.sym("x", 6, pieces + 1), ca.MX.sym("u", 3, pieces + 1), ca.MX.sym("h", 1, pieces)
    rates = _rates(grass_m > 0.0).map(pieces)
    bends, lengths = road.curvature[None, :], np.diff(road.s)[None, :]
    given = bends, gears[None, :], share[None, :]
    before = rates(x[:, :-1], u[:, :-1], *given, road.reach[None, :-1])
    after = rates(x[:, 1:], u[:, 1:], *given, road.reach[None, 1:])
    half = ca.repmat(h / 2, 6, 1)
    steps = x[:, 1:] - x[:, :-1] - half * (before[1:, :] + after[1:, :])
    travel = lengths - h / 2 * (before[0, :] + after[0, :])
    at_nodes = np.append(road.curvature, road.curvature[-1])[None, :]
    places = _places().map(pieces + 1)(x, at_nodes)  # front, rear, steering room
    reach = road.reach + grass_m
    room = np.stack([reach, reach, *np.full((2, pieces + 1), np.inf)])
    floor = np.stack([-reach, -reach, *np.zeros((2, pieces + 1))])
    smooth = 1e-4 * ca.sumsqr(u[2, :]) + 1e-3 * ca.sumsqr(u[:2, 1:] - u[:2, :-1])
    problem = {
        "x": ca.veccat(x, u, h),
        "f": ca.sum2(h) + smooth,
        "g": ca.veccat(ca.vertcat(travel, steps), places),
    }
    solver = ca.nlpsol(
        "plan",
        "ipopt",
        problem,
        {
            "ipopt": {"max_iter": 600, "tol": 1e-5, "acceptable_tol": 1e-4, "print_level": 0, "sb": "yes"},
            "print_time": False,
        },
    )
    low = np.array([-30.0, -1.2, 0.0, -20.0, -5.0, -car.STEER_LOCK])[:, None].repeat(pieces + 1, 1)
    high = np.array([30.0, 1.2, 70.0, 20.0, 5.0, car.STEER_LOCK])[:, None].repeat(pieces + 1, 1)
    low[:, 0] = high[:, 0] = 0.0  # the standing start
    u_low = np.array([TRACE_OF_GAS, 0.0, -car.STEER_RATE])[:, None].repeat(pieces + 1, 1)
    u_high = np.array([1.0, 1.0, car.STEER_RATE])[:, None].repeat(pieces + 1, 1)
    time, states, controls = guess
    found = solver(
        x0=_flat(states.T, controls.T, np.diff(time)),
        lbx=_flat(low, u_low, np.full(pieces, 1e-4)),
        ubx=_flat(high, u_high, np.full(pieces, 5.0)),
        lbg=_flat(np.zeros((7, pieces)), floor),
        ubg=_flat(np.zeros((7, pieces)), room),
    )
    stats = solver.stats()
    values = np.asarray(found["x"]).ravel()
    cut = 6 * (pieces + 1), 9 * (pieces + 1)
    plan = Plan(
        road,
        np.append(0.0, np.cumsum(values[cut[1] :])),
        values[: cut[0]].reshape(-1, 6),
        values[cut[0] : cut[1]].reshape(-1, 3),
        share,
        gears,
        bool(stats["success"]),
    )
    say(f"plan: {plan.lap_time_s:.3f} s after {stats['iter_count']} iterations ({stats['return_status']})")
    return plan


def _rates(grass: bool) -> ca.Function:
    """(s, state)' on a piece of the road; ``grass`` begins, within some decimetres, at the reach."""
    x, u = ca.SX.sym("x", 6), ca.SX.sym("u", 3)
    bend, gear, share, reach = (ca.SX.sym(name) for name in ("bend", "gear", "share", "reach"))
    n, m, along, side, spin, angle = ca.vertsplit(x)
    gas, brake_squared, steer_rate = ca.vertsplit(u)
    drive = gas * share * engine(gear, along)
    axles = (ca.fabs(offset) - reach for offset in _offsets(n, m, bend))
    ground = Grass(*((1.0 + ca.tanh(beyond / EDGE_WIDTH_M)) / 2 for beyond in axles)) if grass else TARMAC
    body = tyres_and_air(along, side, spin, angle, drive, braking(brake_squared, gas), ground)
    s_rate = (along * ca.cos(m) - side * ca.sin(m)) / (1.0 - bend * n)
    rates = ca.vertcat(
        s_rate,
        along * ca.sin(m) + side * ca.cos(m),
        spin - bend * s_rate,
        body.along + spin * side,
        body.side - spin * along,
        body.spin,
        steer_rate,
    )
    return ca.Function("rates", [x, u, bend, gear, share, reach], [rates])


def _places() -> ca.Function:
    """Offsets of the front and rear axle, to second order in the car's length, and the room left for steering (times speed²)."""
    x, bend = ca.SX.sym("x", 6), ca.SX.sym("bend")
    n, m, along, side, _, angle = ca.vertsplit(x)
    speed_squared = along**2 + side**2
    room = car.STEER_SLIP + car.LOCK_OVER_SPEED / (speed_squared + 1.0)
    return ca.Function("places", [x, bend], [ca.vertcat(*_offsets(n, m, bend), room - angle, room + angle)])


def _offsets(n: ca.SX, m: ca.SX, bend: ca.SX) -> list[ca.SX]:
    """Of the front and rear axle from the centre line, to second order in the car's length."""
    offsets = []
    for ahead in (car.FRONT_M, -car.REAR_M):
        right = n + ahead * ca.sin(m)
        offsets.append(right - bend * (ahead * ca.cos(m)) ** 2 / 2 / (1.0 - bend * right))
    return offsets


def first_guess(road: Road) -> tuple[Floats, Floats, Floats]:
    """Along the centre line, slowly: 60 % of the grip, and gently."""
    grip = 0.6 * car.GRIP * car.GRAVITY
    bends = np.maximum(np.abs(np.append(road.curvature, 0.0)), np.abs(np.append(0.0, road.curvature)))
    speed = np.minimum(35.0, np.sqrt(grip / np.maximum(bends, 1e-3)))
    speed[0] = 0.0
    lengths = np.diff(road.s)
    for k, length in enumerate(lengths):
        speed[k + 1] = min(speed[k + 1], np.sqrt(speed[k] ** 2 + 2 * 5.0 * length))
    for k in range(len(lengths) - 1, 0, -1):
        speed[k] = min(speed[k], np.sqrt(speed[k + 1] ** 2 + 2 * 6.0 * lengths[k]))
    time = np.append(0.0, np.cumsum(2 * lengths / (speed[1:] + speed[:-1])))
    bend = np.append(road.curvature, 0.0)
    states = np.zeros((len(speed), 6))
    states[:, 2], states[:, 4], states[:, 5] = speed, bend * speed, 2.6 * bend
    controls = np.zeros((len(speed), 3))
    controls[:, 0], controls[:, 1] = 0.3, 0.05
    return time, states, controls


def _flat(*arrays: Floats) -> Floats:
    """CasADi's order: column by column."""
    return np.concatenate([np.asarray(array).ravel(order="F") for array in arrays])
