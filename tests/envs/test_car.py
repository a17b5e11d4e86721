"""The car's physics, against everyday expectations and orders of magnitude worked out apart."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.sim.car import GRAVITY, GRIP, IDLE, MAX_SUBSTEP_S, REDLINE, TOP_SPEEDS, Car, substeps

DT = MAX_SUBSTEP_S


def drive(car: Car, seconds: float, gas: float = 0.0, brake: float = 0.0, steer: float = 0.0, road: bool = True) -> Car:
    for _ in range(round(seconds / DT)):
        car.step(DT, gas, brake, steer, road, road)
    return car


def rolling(speed: float, grip: float = 1.0) -> Car:
    car = Car(grip=grip)
    car.vz = speed
    return drive(car, 1.0, gas=0.2)


def slip_angle(car: Car) -> float:
    """Degrees between where the car points and where it goes."""
    return abs((math.degrees(car.heading - math.atan2(car.vx, car.vz)) + 180) % 360 - 180)


def test_it_pulls_away_in_first_and_goes_up_through_the_gears() -> None:
    car = Car()
    gears = [car.gear]
    for _ in range(round(40 / DT)):
        car.step(DT, 1.0, 0.0, 0.0)
        if car.gear != gears[-1]:
            gears.append(car.gear)

        assert IDLE <= car.rpm <= 1.02 * REDLINE

    assert gears == [1, 2, 3, 4, 5, 6]
    assert (car.x, car.heading) == (0.0, 0.0)


def test_top_speed_is_where_the_air_stops_the_engine() -> None:
    fast = drive(Car(), 60, gas=1.0).speed

    assert 55 < fast < TOP_SPEEDS[-1]
    assert drive(Car(), 90, gas=1.0).speed == pytest.approx(fast, rel=0.01)


def test_a_hundred_km_h_take_a_few_seconds() -> None:
    assert drive(Car(), 2.0, gas=1.0).speed < 100 / 3.6 < drive(Car(), 5.0, gas=1.0).speed


def test_braking_distance_is_that_of_its_deceleration() -> None:
    car = rolling(30.0)
    speed, start = car.speed, car.z
    while car.speed > 0.01:
        drive(car, DT, brake=1.0)

    deceleration = speed**2 / (2 * (car.z - start))
    assert 10 < deceleration < GRIP * GRAVITY


def test_a_braked_car_stands_still_and_then_reverses() -> None:
    car = rolling(5.0)
    drive(car, 1.0, brake=1.0)
    assert abs(car.speed) < 1.0
    drive(car, 4.0, brake=1.0)
    backwards = -car.vz

    assert car.gear == 0
    assert 3 < backwards < 10
    drive(car, 4.0, gas=1.0)
    assert car.gear > 0
    assert car.vz > 0


def test_steering_right_turns_right() -> None:
    car = drive(rolling(15.0), 1.0, gas=0.2, steer=0.3)

    assert car.heading > 0.1
    assert car.x > 0.1


def test_left_and_right_are_mirror_images() -> None:
    right, left = drive(rolling(20.0), 3.0, gas=0.6, steer=0.7), drive(rolling(20.0), 3.0, gas=0.6, steer=-0.7)

    assert (left.x, left.z, left.heading) == pytest.approx((-right.x, right.z, -right.heading))


def test_a_car_at_rest_does_not_move_when_steered() -> None:
    car = drive(Car(), 1.0, steer=1.0)

    assert (car.x, car.z, car.heading) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


@pytest.mark.parametrize("speed", [10.0, 20.0, 30.0, 45.0])
def test_cornering_is_limited_by_grip(speed: float) -> None:
    car = drive(rolling(speed), 1.5, gas=0.3, steer=1.0)

    assert car.speed * abs(car.spin) < 1.2 * GRIP * GRAVITY


def test_turned_in_too_fast_it_slides_wide() -> None:
    gentle = drive(rolling(12.0), 1.0, gas=0.2, steer=0.5)
    fast = drive(rolling(40.0), 1.0, gas=0.2, steer=1.0)

    assert slip_angle(gentle) < 6 < slip_angle(fast)
    assert fast.speed / fast.spin > 3 * gentle.speed / gentle.spin  # a much wider bend, at full lock


def test_too_much_gas_in_a_slow_bend_spins_it() -> None:
    car = rolling(5.0)
    worst = 0.0
    for _ in range(round(3 / DT)):
        car.step(DT, 1.0, 0.0, 1.0)
        worst = max(worst, slip_angle(car))

    assert worst > 60


def test_steering_locks_less_at_speed() -> None:
    slow, fast = rolling(4.0), rolling(50.0)

    assert drive(slow, 0.5, steer=1.0).steer > 2.5 * drive(fast, 0.5, steer=1.0).steer


def test_grass_is_slow_and_slippery() -> None:
    assert drive(Car(), 30, gas=1.0, road=False).speed < 0.2 * drive(Car(), 30, gas=1.0).speed
    assert drive(rolling(25.0), 2.0, road=False).speed < 0.7 * drive(rolling(25.0), 2.0).speed
    turned = [drive(rolling(12.0), 0.5, gas=0.5, steer=1.0, road=road).heading for road in (True, False)]
    assert turned[1] < 0.7 * turned[0]


def test_less_grip_brakes_longer() -> None:
    braked = [drive(rolling(30.0, grip), 1.0, brake=1.0).speed for grip in (1.0, 0.5)]

    assert braked[1] > braked[0] + 2.0


controls = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1), st.booleans(), st.booleans())


@given(st.lists(controls, min_size=1, max_size=12), st.floats(0.5, 1.5))
@settings(max_examples=60, deadline=None)
def test_whatever_is_done_to_it_it_stays_a_car(held: list[tuple[float, float, float, bool, bool]], grip: float) -> None:
    car = Car(grip=grip)
    for gas, brake, steer, front, rear in held:
        for _ in range(25):
            before = car.speed
            car.step(DT, gas, brake, steer, front, rear)

            assert abs(car.speed - before) < 30 * DT  # no force beyond grip and air
            assert car.speed < TOP_SPEEDS[-1] + 1
            assert abs(car.spin) < 12


@given(controls, st.floats(0, 40))
@settings(max_examples=40, deadline=None)
def test_halving_the_step_changes_little(held: tuple[float, float, float, bool, bool], speed: float) -> None:
    """Over half a second of the same controls; longer, a spinning car amplifies any difference."""
    gas, brake, steer, _, _ = held
    coarse, fine = Car(), Car()
    for car, parts in ((coarse, 1), (fine, 4)):
        car.vz = speed
        for _ in range(25 * parts):
            car.step(DT / parts, gas, brake, steer)

    assert math.dist((coarse.x, coarse.z), (fine.x, fine.z)) < 0.5


def test_the_same_controls_give_the_same_drive() -> None:
    cars = [drive(drive(rolling(20.0), 1.0, gas=0.7, steer=0.3), 1.0, brake=0.5, steer=-1.0) for _ in range(2)]

    assert (cars[0].x, cars[0].z, cars[0].heading, cars[0].rpm) == (cars[1].x, cars[1].z, cars[1].heading, cars[1].rpm)


def test_durations_are_cut_into_stable_steps() -> None:
    assert substeps(0.04) == (2, 0.02)
    assert substeps(0.01) == (1, 0.01)
    assert substeps(0.05)[0] == 3
