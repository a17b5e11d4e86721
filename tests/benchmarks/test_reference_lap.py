"""The yardstick: the recorded laps are driven, the symbolic car is the car, and a wrong yardstick is noticed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import casadi as ca
import numpy as np
import pytest
import reference_lap
from hypothesis import given
from hypothesis import strategies as st
from laps.drive import CAPTURE_S, STEP_S, run, time_step
from laps.model import braking, engine, tyres_and_air
from laps.quasi_steady import Line, diagram, steady_lap
from laps.reference import replay
from reference_lap import Row, complaints, read_table, recorded_actions

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim import car
from tmrld.envs.sim.car import Car
from tmrld.envs.sim.tracks import BUNDLED, named

SCRIPT = Path(reference_lap.__file__)
ROW = Row("somewhere", 650.0, lap_s=20.0, plan_s=19.9, quasi_steady_s=20.1, steps=400, seconds=60.0)


def test_every_bundled_track_has_a_reference_lap() -> None:
    assert list(read_table())[: len(BUNDLED)] == list(BUNDLED)  # behind them, generated ones


@pytest.mark.parametrize("track", read_table())
def test_the_recorded_actions_drive_the_recorded_lap(track: str) -> None:
    actions = recorded_actions(track)
    assert len(actions) == read_table()[track].steps
    assert replay(track, actions) == pytest.approx(read_table()[track].lap_s, abs=0.001)


@pytest.mark.parametrize("track", read_table())
def test_the_recorded_lap_keeps_to_tarmac_and_paint(track: str) -> None:
    # `run` takes all ground for road: on grass, the environment's car would have been slower.
    actions = recorded_actions(track)
    driven = run(named(track), lambda step, _: actions[step], len(actions))
    assert driven.lap_time_s == pytest.approx(read_table()[track].lap_s, abs=0.001)


@pytest.mark.parametrize("track", read_table())
def test_both_methods_agree(track: str) -> None:
    row = read_table()[track]
    assert complaints(row, None) == []
    assert row.lap_s < 1.01 * row.plan_s


def test_the_laps_are_driven_at_the_environments_own_pace() -> None:
    options = EnvironmentOptions()
    assert (options.time_step_s, options.start_obs_capture_s) == (STEP_S, CAPTURE_S)


@given(
    st.floats(6.0, 60.0),
    st.floats(-6.0, 6.0),
    st.floats(-2.0, 2.0),
    st.floats(-0.12, 0.12),
    st.floats(0.001, 1.0),
    st.floats(0.0, 1.0),
)
def test_the_symbolic_car_accelerates_like_the_car(
    along: float, side: float, spin: float, angle: float, gas: float, brake: float
) -> None:
    machine = Car(heading=0.7)
    machine.gear = 1 + sum(along > 0.9 * top for top in car.TOP_SPEEDS[:-1])
    machine.spin, machine.steer = spin, angle
    sine, cosine = math.sin(0.7), math.cos(0.7)
    machine.vx, machine.vz = along * sine + side * cosine, along * cosine - side * sine
    lock = min(car.STEER_LOCK, car.STEER_SLIP + car.LOCK_OVER_SPEED / max(along**2 + side**2, 25.0))
    before, gear, dt = (machine.vx, machine.vz), machine.gear, 1e-6
    machine.step(dt, gas, brake, angle / lock)
    if machine.gear != gear:
        return  # it shifts, and pulls with no gear
    x, z = ((after - then) / dt for after, then in zip((machine.vx, machine.vz), before, strict=True))
    drive = gas * engine(gear, along)
    symbolic = tyres_and_air(along, side, spin, angle, drive, braking(brake**2, gas))
    expected = (x * sine + z * cosine, x * cosine - z * sine, (machine.spin - spin) / dt)
    assert [float(value) for value in symbolic] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_a_time_step_in_symbols_is_a_time_step_of_the_car() -> None:
    actions = recorded_actions("short")
    lap = run(named("short"), lambda step, _: actions[step], len(actions))
    squared = actions.astype(np.float64) * np.where(np.arange(3) == 1, actions, 1.0)
    predicted = np.asarray(time_step().map(len(actions))(lap.states[:-1].T, squared.T, lap.modes.T)).T
    apart = np.abs(predicted - lap.states[1:])
    assert apart[:, :2].max() < 0.01
    assert apart[:, 6].max() < 0.02  # where the wheels turn as fast as they can, the symbols round the corner
    assert np.median(apart) < 1e-6


def test_a_quasi_steady_straight_is_driven_at_full_gas() -> None:
    s = np.arange(0.0, 401.0, 2.0)
    line = Line(s, np.zeros(len(s)))
    machine, time = Car(), 0.0
    while machine.z < s[-1]:
        machine.step(0.001, 1.0, 0.0, 0.0)
        time += 0.001
    assert steady_lap(line).lap_time_s == pytest.approx(time, rel=0.005)


@pytest.mark.parametrize("radius", [16.0, 40.0, 90.0])
def test_a_quasi_steady_circle_is_driven_at_the_front_tyres_limit(radius: float) -> None:
    speed = diagram().corner_speed(1.0 / radius)
    # Both axles push alike, so the front, which grips less, sets the limit: two of it, less a few per cent for its direction.
    assert speed**2 / radius == pytest.approx(2.0 * car.AXLE_LOAD * car.GRIP, rel=0.03)
    laps = 40.0
    s = np.linspace(0.0, laps * 2.0 * math.pi * radius, 4000)
    lap = steady_lap(Line(s, np.full(len(s), 1.0 / radius)))
    assert np.all(lap.speed <= speed + 1e-6)
    assert lap.speed[-1] > 0.9 * speed


def test_methods_that_disagree_are_complained_about() -> None:
    (sentence,) = complaints(Row("somewhere", 650.0, 20.0, 19.9, 20.5, 400, 60.0), None)
    assert "differ by +2.5%" in sentence


def test_a_policy_may_be_a_little_faster_but_not_much() -> None:
    assert complaints(ROW, 25.0) == []
    assert complaints(ROW, 19.7) == []
    (sentence,) = complaints(ROW, 19.5)
    assert "the yardstick is wrong" in sentence


def test_the_script_fails_when_a_lap_beats_the_reference() -> None:
    lap_s = read_table()["short"].lap_s
    command = [sys.executable, str(SCRIPT), "short", "--recorded", "--lap-time", str(0.95 * lap_s)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the yardstick is wrong" in done.stderr
    (result,) = json.loads(done.stdout.splitlines()[-1])["results"]
    assert result["value"] == pytest.approx(lap_s, abs=0.001)


def test_casadi_numbers_gears_as_the_car_does() -> None:
    gear = ca.SX.sym("gear")
    pull = ca.Function("pull", [gear], [engine(gear, 20.0)])
    for number in range(1, 7):
        assert float(pull(number)) == pytest.approx(float(engine(number, 20.0)))
