"""The simulator's world on tracks that cross themselves, and on another track for each episode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import make
from tmrld.envs.sim.camera import PLAIN
from tmrld.envs.sim.car import Car
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.place import Place
from tmrld.envs.sim.sensors import LidarSensor
from tmrld.envs.sim.timing import Lockstep
from tmrld.envs.sim.track import Track
from tmrld.envs.sim.tracks import HELD_OUT, named
from tmrld.envs.sim.world import SimWorld

WITH_BRIDGES = ["medium-650-3"]
GAS = np.array((1.0, 0.0, 0.0), np.float32)


def world_on(track: Track) -> SimWorld:
    return SimWorld(lambda seed: track, LidarSensor(256, 128), Lockstep(0.05, 0.04, 0.05))


def carried(world: SimWorld, metres: float) -> Any:
    """What is seen by a car that is put down there and looked at after a moment."""
    pose = world.track.pose(metres)
    world._car = Car(pose.x, pose.z, pose.heading)
    world.control(0.0, 0.0, 0.0)
    moment = world.look()
    assert (moment.x, moment.z) == (pose.x, pose.z)
    return moment


@pytest.mark.parametrize("name", WITH_BRIDGES)
def test_a_car_sees_the_road_that_it_is_on_and_stands_on_its_height(name: str) -> None:
    track = named(name)
    world, sensor = world_on(track), LidarSensor(256, 128)
    world.reset(0, {})
    heights = []
    for metres in np.arange(0.0, track.length, 3.0).tolist():
        moment = carried(world, metres)
        ground = ground_of(track, track.deck(metres))
        assert np.array_equal(moment.seen, sensor.see(ground, moment.x, moment.z, moment.heading, PLAIN))
        assert moment.y == pytest.approx(track.height(metres), abs=0.3)  # told apart by the metre
        heights.append(moment.y)

    assert track.decks == 2
    assert min(heights) == 0
    assert max(heights) > 3


@pytest.mark.parametrize("name", WITH_BRIDGES)
@given(st.lists(st.floats(-9, 9), min_size=20, max_size=20))
def test_the_place_is_followed_across_the_road(name: str, aside: list[float]) -> None:
    track = named(name)
    place = Place(track)
    for metres in np.arange(0.0, track.length, 3.0).tolist():
        pose = track.pose(metres).right(aside[int(metres // 3) % 20] / 2)
        place.follow(pose.x, pose.z)
        assert place.metres == pytest.approx(metres, abs=6.0)


def test_a_car_that_cut_across_the_grass_is_found_again() -> None:
    track = named("default")
    place = Place(track)
    for share in np.linspace(0, 1, 400).tolist():
        start, end = track.pose(0.0), track.pose(500.0)
        place.follow(start.x + share * (end.x - start.x), start.z + share * (end.z - start.z))

    assert place.metres == pytest.approx(500, abs=1)


@pytest.mark.parametrize("name", WITH_BRIDGES)
def test_all_gates_of_a_track_with_a_bridge_are_passed_in_order(name: str) -> None:
    track = named(name)
    world = world_on(track)
    world.reset(0, {})
    passed = []
    for metres in np.arange(0.0, track.length + 2.0, 1.0).tolist():
        pose = track.pose(metres)
        world._car.x, world._car.z, world._car.heading = pose.x, pose.z, pose.heading
        world._car.vx, world._car.vz = 30 * np.sin(pose.heading), 30 * np.cos(pose.heading)  # drives the metre by itself
        world.control(0.0, 0.0, 0.0)
        passed.append(world.look().next_gate_m)

    assert world.look().finished
    for gate, then in zip(track.gates, track.gates[1:], strict=False):
        first = passed.index(then.metres)
        assert first == pytest.approx(gate.metres, abs=3)


def test_each_episode_of_an_open_name_is_driven_on_its_own_track() -> None:
    env: Any = make(EnvironmentOptions(track="easy-650-any", window_width=256, window_height=128))
    names, lengths = [], []
    for seed in (3, 4, 3):
        observation, info = env.reset(seed=seed)
        for _ in range(30):
            observation, _, _, _, info = env.step(GAS)
        names.append(info["track"])
        lengths.append((observation[1].copy(), info["progress"]))

    env.close()
    assert names == [f"easy-650-{HELD_OUT + seed}" for seed in (3, 4, 3)]
    assert np.array_equal(lengths[0][0], lengths[2][0])
    assert lengths[0][1] == lengths[2][1] > 0
