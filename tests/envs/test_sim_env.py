"""The simulator as an environment: time, delays, starts, laps."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import tmrld.envs
from tmrld.envs.options import EnvironmentOptions, RewardOptions
from tmrld.envs.registry import make
from tmrld.envs.sim.car import Car
from tmrld.envs.sim.scripted import scripted
from tmrld.envs.sim.sensors import LidarSensor
from tmrld.envs.sim.timing import Lockstep, Timing, WallClock
from tmrld.envs.sim.tracks import BUNDLED, DEFAULT
from tmrld.envs.sim.world import SimWorld
from tmrld.errors import WorldError

GAS = np.array((1.0, 0.0, 0.0), np.float32)
NOTHING = np.zeros(3, np.float32)
PERTURBED = {"perturb": {"offset_m": 3.0, "heading_deg": 15.0, "grip": 0.1}}


@pytest.fixture
def env() -> Iterator[Any]:
    env = make(EnvironmentOptions())
    yield env
    env.close()


def test_gymnasium_makes_it() -> None:
    env = gymnasium.make("tmrld/TM20Lidar-v0", game="sim", clock="lockstep")
    observation, info = env.reset(seed=1)

    assert observation in env.observation_space
    assert info["progress"] == 0.0
    assert tmrld.envs.__doc__
    env.close()


# TMRL's LIDAR space is unbounded, which Gymnasium frowns on.
@pytest.mark.filterwarnings("ignore:.*maximum value is infinity")
def test_gymnasiums_checker_is_content() -> None:
    env = gymnasium.make("tmrld/TM20Lidar-v0", game="sim", clock="lockstep")
    check_env(env.unwrapped)
    env.close()


def test_spaces_are_those_of_tmrls_lidar_flavour(env: Any) -> None:
    speed, lidar, *actions = env.observation_space.spaces

    assert (speed.shape, speed.low.min(), speed.high.max()) == ((1,), 0, 1000)
    assert (lidar.shape, lidar.low.min(), lidar.high.max()) == ((4, 19), 0, math.inf)
    assert [space.shape for space in actions] == [(3,), (3,)]
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    for observation in (env.reset(seed=0)[0], env.step(GAS)[0]):
        assert [part.shape for part in observation] == [(1,), (4, 19), (3,), (3,)]
        assert all(part.dtype == np.float32 for part in observation)


def test_a_reset_repeats_the_first_frame_and_clears_the_actions(env: Any) -> None:
    env.reset(seed=0)
    for _ in range(5):
        env.step(GAS)
    observation, info = env.reset(seed=0)

    assert observation[0] == 0
    assert (observation[1] == observation[1][0]).all()
    assert not observation[2].any()
    assert not observation[3].any()
    assert (info["x"], info["z"], info["heading"], info["finished"], info["lap_time_s"]) == (0, 0, 0, False, None)
    assert info["reward_terms"] == {"progress": 0.0, "finish": 0.0, "penalty": 0.0}


def test_the_action_buffer_holds_the_newest_action_last(env: Any) -> None:
    env.reset(seed=0)
    given = [np.array((0.1 * k, -1.0, 0.05 * k), np.float32) for k in range(4)]
    seen = [env.step(action)[0][2:] for action in given]

    assert np.array_equal(seen[0], [NOTHING, given[0]])
    assert np.array_equal(seen[3], [given[2], given[3]])


def test_an_action_works_one_step_later_and_for_as_long_as_in_real_time(env: Any) -> None:
    """Captures lie 0.04 s into each step of 0.05 s: the first shows nothing of the action, the next 0.04 s of it."""
    env.reset(seed=0)
    car = Car()
    speeds = [float(env.step(GAS)[0][0][0]) for _ in range(3)]
    expected = [0.0]
    for dt in (0.02, 0.02, 0.01, 0.02, 0.02):
        car.step(dt, 1.0, 0.0, 0.0)
        expected.append(car.speed * 3.6)

    assert speeds == pytest.approx([0.0, expected[2], expected[5]])


def test_history_slides_oldest_first(env: Any) -> None:
    env.reset(seed=0)
    before = env.step(GAS)[0][1]
    for _ in range(20):
        after = env.step(GAS)[0][1]
        assert np.array_equal(after[:-1], before[1:])
        before = after
    assert not np.array_equal(before[0], before[-1])


def test_an_idle_car_ends_at_step_81(env: Any) -> None:
    env.reset(seed=0)
    ended = [env.step(NOTHING)[2] for _ in range(81)]

    assert ended == [False] * 80 + [True]
    with pytest.raises(WorldError, match="reset"):
        env.step(NOTHING)


def test_episodes_are_truncated() -> None:
    env = make(EnvironmentOptions(max_steps=5))
    env.reset(seed=0)
    ends = [env.step(GAS)[2:4] for _ in range(5)]
    env.close()

    assert ends == [(False, False)] * 4 + [(False, True)]


def test_the_reward_is_the_sum_of_its_terms() -> None:
    env = make(EnvironmentOptions(reward=RewardOptions(constant_penalty=-0.01)))
    env.reset(seed=0)
    for _ in range(60):
        _, reward, _, _, info = env.step(GAS)
        assert reward == pytest.approx(sum(info["reward_terms"].values()))
    assert info["reward_terms"]["penalty"] == -0.01
    assert info["progress"] * DEFAULT.length == pytest.approx(info["z"], abs=0.2)
    env.close()


def drive(env: Any, seed: int | None, options: dict[str, Any] | None, steps: int = 60) -> list[Any]:
    rng = np.random.default_rng(5)
    observation, info = env.reset(seed=seed, options=options)
    rows = [[*observation, info["x"], info["heading"]]]
    for _ in range(steps):
        observation, reward, *_, info = env.step(rng.uniform(-1, 1, 3))
        rows.append([*observation, info["x"], info["heading"], reward])
    return rows


def same(a: list[Any], b: list[Any]) -> bool:
    return all(np.array_equal(x, y) for row, other in zip(a, b, strict=True) for x, y in zip(row, other, strict=True))


def test_the_same_seed_and_actions_give_the_same_episode(env: Any) -> None:
    other = make(EnvironmentOptions())

    assert same(drive(env, 3, PERTURBED), drive(other, 3, PERTURBED))
    assert same(drive(env, 3, None), drive(env, 4, None))  # unperturbed, the seed changes nothing
    other.close()


def test_perturbed_starts_are_spread_by_the_seed(env: Any) -> None:
    starts = [env.reset(seed=seed, options=PERTURBED)[1] for seed in range(40)]
    xs = [info["x"] for info in starts]
    turns = [math.degrees(info["heading"]) for info in starts]

    assert len(set(xs)) == len(set(turns)) == 40
    assert -3 < min(xs) < -2
    assert 2 < max(xs) < 3
    assert -15 < min(turns) < -10
    assert 10 < max(turns) < 15
    assert all(info["z"] == 0 for info in starts)


def test_resets_without_a_seed_go_on_from_the_last_one(env: Any) -> None:
    def two_starts() -> list[float]:
        env.reset(seed=7, options=PERTURBED)
        return [env.reset(options=PERTURBED)[1]["x"] for _ in range(2)]

    first, second = two_starts(), two_starts()
    assert first == second
    assert first[0] != first[1]


def test_grip_changes_the_drive(env: Any) -> None:
    only_grip = {"perturb": {"grip": 0.3}}

    assert env.reset(seed=1, options=only_grip)[1]["x"] == 0
    assert not same(drive(env, 1, only_grip), drive(env, 1, None))


@pytest.mark.parametrize("perturb", [{"wind": 1.0}, {"grip": -0.1}, {"offset_m": "far"}, [1.0]])
def test_a_perturbation_that_cannot_be_is_refused_and_the_next_reset_works(env: Any, perturb: Any) -> None:
    with pytest.raises(WorldError, match="perturb"):
        env.reset(seed=0, options={"perturb": perturb})
    env.reset(seed=0)

    assert env.step(NOTHING)[1] == 0.0


@pytest.mark.parametrize("name", BUNDLED)
def test_the_scripted_driver_finishes_from_perturbed_starts(name: str) -> None:
    env: Any = make(EnvironmentOptions(track=name, max_steps=3000))
    for seed in range(3):
        observation, _ = env.reset(seed=seed, options=PERTURBED)
        steps, ended, total = 0, False, 0.0
        while not ended:
            observation, reward, terminated, truncated, info = env.step(scripted(observation))
            steps, total, ended = steps + 1, total + reward, terminated or truncated

        assert info["finished"]
        assert info["progress"] == 1.0
        assert info["reward_terms"]["finish"] == 10.0
        assert total == pytest.approx(10 + BUNDLED[name].length / 10, abs=0.5)
        assert 0 < (steps - 1) * 0.05 + 0.04 - info["lap_time_s"] < 0.06  # crossed between the last two captures
    env.close()


def tmrl_readme_policy(observation: Any) -> Any:
    """The sample policy of TMRL's README: full gas, steering by the mean of the beams."""
    deviation = observation[1].mean(0)
    deviation /= deviation.sum() + 0.001
    steer = -np.tanh(sum((i - 9) * deviation[i] for i in range(19)) * 4)
    return np.array([1.0, 0.0, min(max(steer, -1.0), 1.0)])


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("policy", [tmrl_readme_policy, lambda _: GAS], ids=["readme", "full throttle"])
def test_full_throttle_does_not_finish(name: str, policy: Any) -> None:
    env = make(EnvironmentOptions(track=name, max_steps=3000))
    observation, _ = env.reset(seed=0)
    ended = False
    while not ended:
        observation, _, terminated, truncated, info = env.step(policy(observation))
        ended = terminated or truncated
    env.close()

    assert not info["finished"]
    assert info["progress"] < 0.6


def test_random_driving_gets_somewhere(env: Any) -> None:
    rng = np.random.default_rng(0)
    reached = []
    for seed in range(10):
        env.reset(seed=seed)
        ended = False
        while not ended:
            _, _, terminated, truncated, info = env.step(rng.uniform(-1, 1, 3))
            ended = terminated or truncated
        reached.append(info["progress"] * DEFAULT.length)

    assert np.mean(reached) > 20


def world_on(timing: Timing) -> SimWorld:
    return SimWorld(lambda seed: DEFAULT, LidarSensor(256, 128), timing)


def test_a_lap_needs_all_gates_in_order() -> None:
    world = world_on(Lockstep(0.05, 0.04, 0.05))
    world.reset(None, {})
    finish = DEFAULT.pose(DEFAULT.length - 1.0)
    world._car = Car(finish.x, finish.z, finish.heading)  # carried to the finish
    world.control(1.0, 0.0, 0.0)
    for _ in range(40):
        moment = world.look()
        world.control(1.0, 0.0, 0.0)

    assert math.dist((moment.x, moment.z), (finish.x, finish.z)) > 2
    assert not moment.finished


def test_driving_past_a_checkpoint_ends_the_episode() -> None:
    env: Any = make(EnvironmentOptions(reward=RewardOptions(check_forward=2000)))
    env.reset(seed=0)
    world = env.unwrapped.interface._world
    first = world._gates[0]
    past = DEFAULT.pose(first.metres + 5.0)
    world._car = Car(past.x, past.z, past.heading)  # carried past it
    ended, furthest = False, 0.0
    while not ended:
        _, _, ended, _, info = env.step(GAS)
        furthest = max(furthest, info["progress"] * DEFAULT.length)

    env.close()
    assert not info["finished"]
    assert first.metres < furthest < first.metres + 15.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_on_the_wall_clock_the_car_moves_with_time() -> None:
    clock = Clock()
    world = world_on(WallClock(clock, 0.05))
    world.reset(None, {})
    clock.now += 0.01
    world.control(1.0, 0.0, 0.0)
    clock.now += 0.04
    first = world.look()
    clock.now += 0.30
    second = world.look()
    again = world.look()

    car = Car()
    for _ in range(2):
        car.step(0.02, 1.0, 0.0, 0.0)
    assert first.z == pytest.approx(car.z)
    assert second.z > first.z + 0.2
    assert (again.z, again.speed) == (second.z, second.speed)


def test_a_computer_that_slept_does_not_race_on() -> None:
    clock = Clock()
    world = world_on(WallClock(clock, 0.05))
    world.reset(None, {})
    world.control(1.0, 0.0, 0.0)
    clock.now += 8 * 3600

    assert world.look().z < 10


def test_frames_are_rendered_for_people() -> None:
    env: Any = make(EnvironmentOptions(window_width=256, window_height=128), render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    for _ in range(40):
        env.step(GAS)
    frame = env.render()
    env.close()

    assert frame.shape == (128, 256, 3)
    assert frame.dtype == np.uint8
    assert not np.array_equal(first, frame)


def test_a_process_that_forgets_to_close_still_ends() -> None:
    code = (
        "import gymnasium, tmrld.envs, numpy as np\n"
        "env = gymnasium.make('tmrld/TM20Lidar-v0', clock='realtime')\n"
        "env.reset(seed=0)\n"
        "for _ in range(3): env.step(np.zeros(3, np.float32))\n"
        "print('driven')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "driven\n"
    assert done.stderr == ""
