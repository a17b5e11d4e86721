"""The car of `tmrld.envs.sim.car` as symbols, so that an optimiser can differentiate it.

Every formula is the one of `Car.step`, with its constants imported from there; a test holds the two against each other on random
states.  Left out is what no fast lap uses: reverse, and the engine brake (the reference keeps a trace of gas).

State of the body, in its own axes: ``along`` and ``side`` (m/s, ahead and to the right), ``spin`` (rad/s, clockwise) and ``angle``
(radians at the front wheels).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import casadi as ca

from tmrld.envs.sim import car

Symbol = Any
"""A CasADi expression, or a number where one is expected."""

TRACE_OF_GAS = 1e-3
"""Gas that the reference never goes below: without any, the engine brakes by `car.ENGINE_BRAKE` all at once."""


class Accelerations(NamedTuple):
    """What the tyres and the air do to the body: m/s² ahead and to the right, rad/s² clockwise."""

    along: Symbol
    side: Symbol
    spin: Symbol


class Grass(NamedTuple):
    """How much of each axle is on grass: 0 none, 1 all of it."""

    front: Symbol
    rear: Symbol


TARMAC = Grass(0.0, 0.0)


def engine(gear: Symbol, along: Symbol) -> Symbol:
    """Acceleration at full gas in a gear (1 to 6; a number, or a symbol for one) at that speed, m/s²."""
    top = ca.DM(car.TOP_SPEEDS)[gear - 1] if isinstance(gear, int) else pick(car.TOP_SPEEDS, gear)
    return car.POWER / top * (1.0 - 1.6 * (along / top - 0.65) ** 2)


def pick(values: tuple[float, ...], number: Symbol) -> Symbol:
    """The ``number``-th of ``values``, counted from 1."""
    return ca.conditional(number - 1, [ca.DM(value) for value in values[:-1]], values[-1])


def braking(brake_squared: Symbol, gas: Symbol) -> Symbol:
    """What the brakes ask of the tyres, m/s².  The pedal is progressive, so its square is what counts."""
    return car.BRAKE * brake_squared * (1.0 - 0.5 * gas)


def lock(speed_squared: Symbol) -> Symbol:
    """How far the front wheels may turn at that speed, radians."""
    return ca.fmin(car.STEER_LOCK, car.STEER_SLIP + car.LOCK_OVER_SPEED / ca.fmax(speed_squared, 25.0))


def tyres_and_air(
    along: Symbol, side: Symbol, spin: Symbol, angle: Symbol, drive: Symbol, brakes: Symbol, grass: Grass = TARMAC
) -> Accelerations:
    """The accelerations of a car; ``drive`` and ``brakes`` are what engine and brakes ask of the tyres, m/s²."""
    forces = tyres(along, side, spin, angle, drive, brakes, grass)
    speed_squared = along * along + side * side
    speed = ca.sqrt(speed_squared + 1e-6)
    resistance = (car.AIR * speed_squared + car.ROLLING) / speed
    resistance += (grass.front + grass.rear) / 2 * (car.GRASS_DRAG / speed + car.GRASS_DRAG_PER_SPEED)
    return Accelerations(forces.along - resistance * along, forces.side - resistance * side, forces.spin)


def tyres(
    along: Symbol, side: Symbol, spin: Symbol, angle: Symbol, drive: Symbol, brakes: Symbol, grass: Grass = TARMAC
) -> Accelerations:
    """The same of the tyres alone: side forces by the magic formula, within what the friction circle leaves of the grip."""
    front_grip = car.AXLE_LOAD * (car.GRIP + (car.GRIP_GRASS - car.GRIP) * grass.front)
    rear_grip = car.AXLE_LOAD * car.REAR_BONUS * (car.GRIP + (car.GRIP_GRASS - car.GRIP) * grass.rear)
    front_push = _clamp(drive * car.FRONT_DRIVE - brakes * car.FRONT_BRAKE, car.TRACTION * front_grip)
    rear_push = _clamp(drive * (1.0 - car.FRONT_DRIVE) - brakes * (1.0 - car.FRONT_BRAKE), car.TRACTION * rear_grip)
    pace = ca.fmax(along, car.SLIP_FLOOR)
    front_slip = (side + car.FRONT_M * spin - along * angle) / pace
    rear_slip = (side - car.REAR_M * spin) / pace
    front_side = _side_force(front_slip, front_grip, front_push)
    rear_side = _side_force(rear_slip, rear_grip, rear_push)
    return Accelerations(
        front_push + rear_push - front_side * angle,
        front_side + rear_side,
        (car.FRONT_M * front_side - car.REAR_M * rear_side) / car.INERTIA,
    )


def _side_force(slip: Symbol, grip: Symbol, push: Symbol) -> Symbol:
    left = ca.sqrt(grip * grip - push * push)
    return -ca.sin(car.TYRE_SHAPE * ca.atan(car.TYRE_STIFFNESS * slip)) * left


def _clamp(value: Symbol, limit: Symbol) -> Symbol:
    return ca.fmin(ca.fmax(value, -limit), limit)
