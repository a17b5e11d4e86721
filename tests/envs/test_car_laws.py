"""Laws of motion that the car obeys, whatever it is doing."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tmrld.envs.sim.car import GRIP, INERTIA, MAX_SUBSTEP_S, POWER, REAR_BONUS, STEER_LOCK, Car

DT = MAX_SUBSTEP_S
GRASS_AT_MOST = 25.0
"""m/s²: what grass, air and rolling take at 60 m/s."""

Held = tuple[float, float, float, bool, bool]


@st.composite
def cars(draw: st.DrawFn) -> Car:
    """Somewhere, moving and turning in any way; forwards, backwards or sideways."""
    car = Car(draw(st.floats(-100, 100)), draw(st.floats(-100, 100)), draw(st.floats(-7, 7)), draw(st.floats(0.5, 1.6)))
    speed, course = draw(st.floats(0, 60)), draw(st.floats(-4, 4))
    car.vx, car.vz = speed * math.sin(course), speed * math.cos(course)
    car.spin = draw(st.floats(-8, 8))
    car.steer = draw(st.floats(-0.5, 0.5))
    car.gear = draw(st.integers(0, 6))
    return car


durations = st.floats(0.0005, DT)
roads = st.booleans()
pedals = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)
steering = st.sampled_from([-1.0, 0.0, 1.0]) | st.floats(-1, 1)
drives: st.SearchStrategy[list[Held]] = st.lists(st.tuples(pedals, pedals, steering, roads, roads), min_size=1, max_size=10)


def energy(car: Car) -> float:
    """Of motion and spin, over the mass."""
    return (car.vx**2 + car.vz**2 + INERTIA * car.spin**2) / 2


def copy(car: Car) -> Car:
    twin = Car()
    for name in Car.__slots__:
        setattr(twin, name, getattr(car, name))
    return twin


def drive(car: Car, held: list[Held], dt: float = DT, seconds: float = 0.2) -> Car:
    for gas, brake, steer, front, rear in held:
        for _ in range(round(seconds / dt)):
            car.step(dt, gas, brake, steer, front, rear)
    return car


@given(cars(), pedals, steering, durations, roads, roads)
def test_without_gas_it_only_loses_energy(car: Car, brake: float, steer: float, dt: float, front: bool, rear: bool) -> None:
    """Standing on the brake in reverse is gas, too: there, hands are off."""
    for _ in range(20):
        before = energy(car)
        car.step(dt, 0.0, brake if car.gear else 0.0, steer, front, rear)
        if car.gear or not brake:
            assert energy(car) <= before * (1 + 1e-12) + 1e-12


@given(cars(), pedals, pedals, steering, durations, roads, roads)
def test_it_gains_no_more_than_its_engine_gives(
    car: Car, gas: float, brake: float, steer: float, dt: float, front: bool, rear: bool
) -> None:
    """An acceleration ``a`` that is held for a step adds ``(a·dt)² / 2`` to the power: the price of steps."""
    for _ in range(20):
        before, vx, vz = energy(car), car.vx, car.vz
        car.step(dt, gas, brake, steer, front, rear)
        change = math.hypot(car.vx - vx, car.vz - vz)
        assert energy(car) - before <= POWER * dt + change**2 / 2 + 1e-9


@given(cars(), pedals, pedals, steering, durations, roads, roads)
def test_its_tyres_hold_no_more_than_their_grip(
    car: Car, gas: float, brake: float, steer: float, dt: float, front: bool, rear: bool
) -> None:
    """Steered wheels are turned by the small-angle formula, which makes their force up to 12 % longer at full lock."""
    most = car._axle_grip * GRIP * (math.hypot(1.0, STEER_LOCK) + REAR_BONUS)
    vx, vz, spin = car.vx, car.vz, car.spin
    car.step(dt, gas, brake, steer, front, rear)

    assert math.hypot(car.vx - vx, car.vz - vz) <= (most + GRASS_AT_MOST) * dt
    assert abs(car.spin - spin) <= 1.3 * car._axle_grip * GRIP * (1.0 + REAR_BONUS) / INERTIA * dt * (1 + 1e-9)


@given(cars(), drives)
def test_left_is_the_mirror_image_of_right(car: Car, held: list[Held]) -> None:
    mirrored = copy(car)
    mirrored.x, mirrored.vx, mirrored.spin, mirrored.steer = -car.x, -car.vx, -car.spin, -car.steer
    mirrored.heading = -car.heading
    drive(car, held)
    drive(mirrored, [(gas, brake, -steer, front, rear) for gas, brake, steer, front, rear in held])

    assert (mirrored.x, mirrored.z, mirrored.heading) == (-car.x, car.z, -car.heading)
    assert (mirrored.vx, mirrored.vz, mirrored.spin, mirrored.gear) == (-car.vx, car.vz, -car.spin, car.gear)


@settings(derandomize=True)  # a speed may happen to lie within a rounding error of a change of gear
@given(cars(), drives, st.floats(-4, 4), st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_it_drives_alike_wherever_it_is_and_wherever_it_points(
    car: Car, held: list[Held], turn: float, x: float, z: float
) -> None:
    """For a moment: rounding errors grow in a spin."""
    moved = copy(car)
    sine, cosine = math.sin(turn), math.cos(turn)
    moved.x, moved.z = x, z
    moved.vx, moved.vz = car.vx * cosine + car.vz * sine, car.vz * cosine - car.vx * sine
    moved.heading = car.heading + turn
    start_x, start_z = car.x, car.z
    drive(car, held[:2])
    drive(moved, held[:2])

    way_x, way_z = car.x - start_x, car.z - start_z
    assert moved.x - x == pytest.approx(way_x * cosine + way_z * sine, abs=1e-5)
    assert moved.z - z == pytest.approx(way_z * cosine - way_x * sine, abs=1e-5)
    assert moved.heading - car.heading == pytest.approx(turn, abs=1e-5)


@given(st.floats(0, 50), pedals, pedals, steering)
@example(speed=20.0, gas=1.0, brake=0.0, steer=1.0)
def test_the_shorter_the_steps_the_less_they_matter(speed: float, gas: float, brake: float, steer: float) -> None:
    """The error of a drive of a second falls with the step, as that of Euler's method does."""
    places = []
    for parts in (1, 4, 32):
        car = Car()
        car.vz = speed
        car.gear = next((gear for gear, top in enumerate((11.0, 18.0, 27.0, 38.0, 50.0), 1) if speed < 0.9 * top), 6)
        drive(car, [(gas, brake, steer, True, True)], DT / parts, 1.0)
        places.append((car.x, car.z))
    coarse, fine = (math.dist(place, places[2]) for place in places[:2])

    assert fine <= 0.4 * coarse + 0.1
