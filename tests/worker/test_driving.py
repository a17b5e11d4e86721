"""Driving without a relay: who drives, who looks on, and what a person at the wheel does to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from tests.support import robot
from tmrld.envs.options import FULL_ID, LIDAR_ID, EnvironmentOptions, TrackmaniaOptions
from tmrld.envs.registry import Env, make
from tmrld.envs.sim.tracks import named
from tmrld.envs.trackmania.spec import flavour_spec
from tmrld.errors import BadInput, GameError
from tmrld.worker import driving
from tmrld.worker.driving import Driver, Nobody, driven, driver_named, drives, drives_the_game, for_a_person, usual_policy
from tmrld.worker.episode import Choice, Episode

SHORT = EnvironmentOptions(max_steps=6)
GAS = np.array((1.0, 0.0, 0.0), np.float32)


@pytest.fixture
def env() -> Any:
    env = make(SHORT)
    yield env
    env.close()


def full_gas(_observation: Any, _info: Mapping[str, Any]) -> Choice:
    return Choice(GAS, "scripted")


def test_episodes_have_consecutive_seeds_and_end_as_the_environment_says() -> None:
    found = list(drives(SHORT, "random", 3, 5, perturbed=False))
    assert [drive.seed for drive in found] == [5, 6, 7]
    assert all(drive.summary.steps == 6 and not drive.taken_over for drive in found)


def test_the_pace_is_that_of_the_steps(env: Env) -> None:
    """A reset may take long, as it does in the game."""
    reset_ended = 0.0

    class Timed(gymnasium.Wrapper[Any, Any, Any, Any]):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
            nonlocal reset_ended
            result = self.env.reset(seed=seed, options=options)
            reset_ended = time.perf_counter()
            return result

    (drive,) = driven(Timed(env), SHORT, Driver(full_gas), (0,))
    assert 0.0 < drive.seconds <= time.perf_counter() - reset_ended
    assert drive.steps_per_s == drive.summary.steps / drive.seconds


def test_a_person_who_takes_over_ends_the_episode_and_is_waited_for(env: Any) -> None:
    world = env.unwrapped.interface._world
    said: list[str] = []
    calls = 0

    def choose(observation: Any, info: Mapping[str, Any]) -> Choice:
        nonlocal calls
        calls += 1
        if calls == 3:
            world.user_drives = True
        return full_gas(observation, info)

    def hand_back(sentence: str) -> None:
        said.append(sentence)
        world.user_drives = False

    first, second = driven(env, SHORT, Driver(choose), (0, 1), say=hand_back)
    assert (first.taken_over, first.summary.steps) == (True, 4)  # the look that follows the third action
    assert (second.taken_over, second.summary.steps, second.seed) == (False, 6, 1)
    assert said == [
        "a person drives, or has left the game's window: the next episode begins when no key was touched for 5 s and the game is in "
        "front"
    ]


class Audience(Nobody):
    """Gives episodes up after so many steps, one number for each, and has enough when there are no more numbers."""

    def __init__(self, *steps: int) -> None:
        self._steps = list(steps)
        self.seeds: list[int] = []
        self.seen: list[tuple[int, Choice | None]] = []

    def ready(self, seed: int, reset: Callable[[], tuple[Any, dict[str, Any]]]) -> bool:
        self.seeds.append(seed)
        return len(self.seeds) <= len(self._steps)

    def see(self, episode: Episode, choice: Choice | None) -> bool:
        self.seen.append((episode.steps, choice))
        return episode.steps < self._steps[len(self.seeds) - 1]


def test_an_episode_that_is_given_up_is_driven_again(env: Env) -> None:
    audience = Audience(2, 99, 99)
    found = list(driven(env, SHORT, Driver(full_gas), (3, 4), audience=audience))
    assert [(drive.seed, drive.summary.steps) for drive in found] == [(3, 6), (4, 6)]
    assert audience.seeds == [3, 3, 4]


def test_whoever_looks_on_sees_the_reset_and_each_step(env: Env) -> None:
    audience = Audience(99)
    list(driven(env, SHORT, Driver(full_gas), (0,), audience=audience))
    assert [steps for steps, _ in audience.seen] == list(range(7))
    assert [choice is None for _, choice in audience.seen] == [True, *[False] * 6]


def test_whoever_looks_on_can_end_it(env: Env) -> None:
    assert [drive.seed for drive in driven(env, SHORT, Driver(full_gas), range(100), audience=Audience(99, 99))] == [0, 1]


def test_an_interface_of_ones_own_goes_by_the_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its chunks are cut by it, too, though the options say lockstep."""
    clocks = []

    class Noted(Episode):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            clocks.append(arguments[-1])

    monkeypatch.setattr(driving, "Episode", Noted)
    kwargs = {"diary": str(tmp_path / "diary")}
    mine = EnvironmentOptions(id=robot.ID, kwargs=kwargs, max_steps=2, time_step_s=0.01, start_obs_capture_s=0.005)
    list(drives(mine, "random", 1, 0, perturbed=False))
    list(drives(SHORT, "random", 1, 0, perturbed=False))
    assert clocks == [time.monotonic, None]


# A person


def test_a_person_who_drives_in_the_game_is_recorded_as_what_the_car_obeys() -> None:
    driver = driver_named("human", flavour_spec(EnvironmentOptions()), 0)
    choice = driver.choose((), {"held": (0.5, 0.0, -1.0)})
    assert choice.action.tolist() == [0.5, 0.0, -1.0]
    assert (str(choice.action.dtype), choice.actor) == ("float32", "human")


def test_a_person_is_not_hurried_and_nothing_is_sent_to_the_game() -> None:
    options = for_a_person(EnvironmentOptions(game="trackmania", clock="realtime", track="line.npy"))
    assert drives_the_game(options)
    assert not drives_the_game(EnvironmentOptions(game="trackmania", clock="realtime", track="line.npy"))
    assert (options.max_steps, options.reward.failure_countdown) == (12_000, 200)
    assert for_a_person(EnvironmentOptions()).clock == "realtime"
    assert for_a_person(EnvironmentOptions(max_steps=10**6)).max_steps == 10**6


def test_what_is_not_ours_cannot_be_driven_by_hand() -> None:
    with pytest.raises(BadInput, match="Pendulum-v1 cannot be driven by hand: only tmrld/TM20"):
        for_a_person(EnvironmentOptions(id="Pendulum-v1"))


@pytest.mark.parametrize(("id", "policy"), [(LIDAR_ID, "scripted"), (FULL_ID, "random"), ("Pendulum-v1", "random")])
def test_the_scripted_driver_drives_where_it_sees_enough(id: str, policy: str) -> None:
    assert usual_policy(EnvironmentOptions(id=id)) == policy


class OnTheWay(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A game whose person has finished, walks through its menus and is then at the start, one reset after the other.

    Any other word is what an error says.
    """

    def __init__(self, env: Env, *states: str) -> None:
        super().__init__(env)
        self._states = list(states)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        match self._states.pop(0) if self._states else "start":
            case "finish":
                info["finished"] = True
            case "elsewhere":
                info["x"] += 500.0
            case "menu":
                raise GameError("the plugin tells nothing: a race has to be shown")
            case "start":
                pass
            case words:
                raise GameError(words)
        return observation, info


@pytest.fixture
def by_hand(tmp_path: Path) -> EnvironmentOptions:
    """A game that a person drives, on the line of the simulator's track."""
    np.save(tmp_path / "line.npy", named("default").line)
    track = str(tmp_path / "line.npy")
    trackmania = TrackmaniaOptions(controls="none")
    return EnvironmentOptions(game="trackmania", clock="realtime", track=track, max_steps=6, trackmania=trackmania)


def test_an_episode_begins_when_the_person_is_at_the_start(env: Env, by_hand: EnvironmentOptions) -> None:
    said: list[str] = []
    game = OnTheWay(env, "finish", "menu", "elsewhere", "start")
    found = list(driven(game, by_hand, driver_named("human", flavour_spec(by_hand), 0), (0,), say=said.append))
    assert [(drive.summary.steps, drive.summary.actor) for drive in found] == [(6, "human")]
    assert said == [
        "begin the race in the game (Delete or BackSpace): the episode begins when the car stands at the start",
        "the plugin tells nothing: a race has to be shown",
        "drive: the episode has begun",
    ]
    assert game._states == []


def test_a_person_who_is_at_the_start_already_is_told_to_drive(env: Env, by_hand: EnvironmentOptions) -> None:
    said: list[str] = []
    list(driven(OnTheWay(env), by_hand, Driver(full_gas), (0, 1), say=said.append))
    assert said == ["drive: the episode has begun"] * 2


def test_whoever_waits_for_a_race_is_told_each_hindrance_once(env: Env, by_hand: EnvironmentOptions) -> None:
    said: list[str] = []
    game = OnTheWay(env, "elsewhere", "silent for 1.0 s", "silent for 11.5 s", "gone", "elsewhere", "gone", "silent for 0.9 s")
    list(driven(game, by_hand, Driver(full_gas), (0,), say=said.append))
    assert said[1:-1] == ["silent for 1.0 s", "gone"]


def test_a_game_that_cannot_be_reached_at_first_is_an_error(env: Env, by_hand: EnvironmentOptions) -> None:
    with pytest.raises(GameError, match="tells nothing"):
        list(driven(OnTheWay(env, "menu"), by_hand, Driver(full_gas), (0,)))


def test_whoever_has_enough_waits_for_no_race(env: Env, by_hand: EnvironmentOptions) -> None:
    class Leaves(Nobody):
        has_enough = False

        def ready(self, seed: int, reset: Callable[[], tuple[Any, dict[str, Any]]]) -> bool:
            return not self.has_enough

    audience = Leaves()

    def leave(_sentence: str) -> None:
        audience.has_enough = True

    game = OnTheWay(env, *["elsewhere"] * 1000)
    assert list(driven(game, by_hand, Driver(full_gas), (0,), audience=audience, say=leave)) == []
