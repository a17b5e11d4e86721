"""``compat="tmrl"``: what TMRL 0.7.1 observes and pays, to the last bit, its faults included.

`golden/tmrl.npz` holds what TMRL itself answered; `golden/make.py` asked it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.envs.golden.make import FILE, OPTIONS
from tmrld.envs.options import FULL_ID, LIDAR_PROGRESS_ID, EnvironmentOptions, RewardOptions
from tmrld.envs.registry import make
from tmrld.envs.sim.car import Car
from tmrld.envs.sim.tracks import DEFAULT
from tmrld.envs.trackmania import game
from tmrld.envs.trackmania.compat import TmrlProgress
from tmrld.envs.trackmania.game import GameInterface, Parts, course_of, game_interface
from tmrld.envs.trackmania.lidar import distances
from tmrld.envs.trackmania.telemetry import Record, parse
from tmrld.envs.trackmania.windows import Area
from tmrld.errors import WorldError

GAS = np.array((1.0, 0.0, 0.0), np.float32)
STRAIGHT = np.column_stack([np.zeros(5001), np.zeros(5001), np.arange(5001) * 0.1])  # 500 m along z

with np.load(FILE, allow_pickle=False) as _arrays:
    GOLDEN: dict[str, NDArray[Any]] = dict(_arrays)
DRIVES = [name.split("/")[1] for name in GOLDEN if name.startswith("reward/") and name.endswith("/places")]
INTERFACES = [name.split("/")[1] for name in GOLDEN if name.startswith("interface/") and name.endswith("/records")]


def golden(group: str, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one name."""
    start = f"{group}/{name}/"
    return {key.removeprefix(start): value for key, value in GOLDEN.items() if key.startswith(start)}


def reward_options(values: NDArray[np.float64]) -> RewardOptions:
    """Those that TMRL was asked with."""
    return RewardOptions(**dict(zip(OPTIONS, values.tolist(), strict=True)))


# The reward


@pytest.mark.parametrize("drive", DRIVES)
def test_every_step_is_judged_as_tmrl_judges_it(drive: str) -> None:
    asked = golden("reward", drive)
    line = GOLDEN[f"line/{asked['line']}"]
    progress = TmrlProgress(line, reward_options(asked["options"]))
    for place, reward, ended, index in zip(
        asked["places"].tolist(), asked["rewards"].tolist(), asked["ended"].tolist(), asked["indices"].tolist(), strict=True
    ):
        if index < 0:
            progress.reset()
            continue
        outcome = progress.step(*place)

        assert (outcome.progress, outcome.terminated, progress.place) == (reward, ended, index / len(line))
        assert outcome.reward == np.float32(reward)


class Oracle:
    """TMRL's rules, one point after the other."""

    def __init__(self, line: NDArray[np.float64], options: RewardOptions) -> None:
        self.line = line
        self.options = options
        self.place = self.steps = self.stuck = 0

    def step(self, car: NDArray[np.float64], finished: bool) -> tuple[float, bool]:
        """The reward, and whether the episode is over."""
        options = self.options
        self.steps += 1
        there, away = self.nearest(car, range(self.place, len(self.line)), options.check_forward)
        if there is None or away > options.max_stray:
            there = self.place
        paid = (there - self.place) / 100.0
        if paid:
            self.stuck = 0
        else:
            behind = range(self.place, 0, -1) if self.place else range(1)
            there, _ = self.nearest(car, behind, options.check_backward)
            self.stuck += self.steps > options.min_steps
        self.place = self.place if there is None else there
        reward = np.float32(paid + (options.end_of_track if finished else 0) + options.constant_penalty)
        return float(reward), finished or (not paid and self.stuck > options.failure_countdown)

    def nearest(self, car: NDArray[np.float64], indices: range, patience: int) -> tuple[int | None, float]:
        """The last of the nearest, until ``patience`` runs out."""
        best, least, left = None, math.inf, patience
        for index in indices:
            away = float(np.linalg.norm(car - self.line[index]))
            if away <= least:
                best, least, left = index, away, patience
            left -= 1
            if left <= 0:
                break
        return best, least


@given(
    st.integers(0, 10**9),
    st.booleans(),
    st.builds(
        RewardOptions,
        check_forward=st.integers(1, 40),
        check_backward=st.integers(0, 15),
        failure_countdown=st.integers(0, 6),
        min_steps=st.integers(0, 20),
        max_stray=st.sampled_from((0.3, 2.0, 100.0)),
        end_of_track=st.sampled_from((100.0, 0.1)),
        constant_penalty=st.sampled_from((0.0, -0.03)),
    ),
)
@settings(max_examples=150)
def test_any_drive_on_any_line_is_judged_point_by_point(seed: int, exact: bool, options: RewardOptions) -> None:
    chance = np.random.default_rng(seed)
    count = int(chance.integers(3, 200))
    if exact:  # all sums and squares are, so that many points are equally near
        line = np.cumsum(chance.integers(-1, 2, (count, 3)), axis=0).astype(np.float64) * 0.125
    else:
        line = np.cumsum(chance.normal(0.0, 0.08, (count, 3)), axis=0).astype(np.float64) + chance.normal(0.0, 1000.0, 3)
    progress, oracle = TmrlProgress(line, options), Oracle(line, options)
    at = 0
    for _ in range(40):
        at = int(np.clip(at + chance.normal(1.0, 6.0), 0, count - 1) if chance.random() < 0.9 else chance.integers(0, count))
        car = line[at] + (chance.integers(-3, 4, 3) * 0.0625 if exact else chance.normal(0.0, 0.2, 3))
        finished = bool(chance.random() < 0.05)
        x, y, z = car.tolist()
        outcome = progress.step(x, y, z, finished)

        assert (outcome.reward, outcome.terminated) == oracle.step(car, finished)
        assert progress.place == oracle.place / count


@given(st.integers(0, 10**9))
@settings(max_examples=30)
def test_the_last_bit_of_a_distance_decides_as_at_tmrl(seed: int) -> None:
    """All points are equally far from the car, but for how the sum of their squares is rounded."""
    chance = np.random.default_rng(seed)
    line = chance.permuted(np.tile(chance.normal(0.0, 1.0, 3), (60, 1)), axis=1) * chance.choice((-1.0, 1.0), (60, 3))
    options = RewardOptions(check_forward=20, check_backward=10)
    progress, oracle = TmrlProgress(line, options), Oracle(line, options)
    for _ in range(5):
        outcome = progress.step(0.0, 0.0, 0.0)

        assert (outcome.reward, outcome.terminated) == oracle.step(np.zeros(3), False)
        assert progress.place == oracle.place / 60


def test_going_back_and_forth_pays_each_time_and_never_ends_as_at_tmrl() -> None:
    progress = TmrlProgress(STRAIGHT, RewardOptions())
    outcomes = [progress.step(0.0, 0.0, z) for z in (10.0, *[8.0, 10.0] * 500)]

    assert sum(outcome.reward for outcome in outcomes) == pytest.approx(101.0, abs=0.001)
    assert not any(outcome.terminated for outcome in outcomes)


def test_a_cut_has_no_limit_as_at_tmrl() -> None:
    assert TmrlProgress(STRAIGHT, RewardOptions(max_stray=1000)).step(0.0, 0.0, 299.0).reward == np.float32(29.9)


def test_straying_ends_nothing_as_at_tmrl() -> None:
    outcome = TmrlProgress(STRAIGHT, RewardOptions(max_stray=100.0)).step(5000.0, 0.0, 5.0)

    assert (outcome.reward, outcome.terminated) == (0.0, False)


def test_the_reward_is_a_number_of_32_bits() -> None:
    outcome = TmrlProgress(STRAIGHT, RewardOptions(constant_penalty=-0.05)).step(0.0, 0.0, 10.1, finished=True)

    assert outcome.terms() == {"progress": 1.01, "finish": 10.0, "penalty": -0.05}
    assert outcome.reward == float(np.float32(10.96)) != 10.96


def test_tmrls_line_of_two_points_is_refused() -> None:
    with pytest.raises(WorldError, match="at least 3 points"):
        TmrlProgress([(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)], RewardOptions())


# What is seen


@pytest.mark.parametrize("window", ["large", "small", "odd"])
def test_distances_are_tmrls(window: str) -> None:
    frames, measured = GOLDEN[f"frames/{window}"], GOLDEN[f"lidar/{window}"]

    assert min(len(set(beam)) for beam in measured.T.tolist()) > 3  # no beam sees the same everywhere
    for frame, expected in zip(frames, measured, strict=True):
        screen = np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])  # as it is captured
        for picture in (frame, screen):
            assert distances(picture).tolist() == expected.tolist()


class ScriptedGame:
    """All parts of the game at once: shows and tells what it is told to."""

    def __init__(self) -> None:
        self.image = np.zeros((1, 1, 3), np.uint8)
        self.record = np.zeros(11, np.float32)
        self.user_drives = False

    def grab(self) -> NDArray[np.uint8]:
        return np.dstack([self.image, np.full(self.image.shape[:2], 255, np.uint8)])

    def newest(self) -> Record:
        return parse(self.record.astype("<f4").tobytes(), received=0.0)

    fresh = newest

    def nothing(self, *_: Any) -> None: ...

    resize = focus = hold = neutral = reset_race = close_pop_up = close = nothing

    def area(self) -> Area:
        return Area(0, 0, *self.image.shape[1::-1])

    screen = area

    def is_focused(self) -> bool:
        return True

    def parts(self, *_: Any) -> Parts:
        return Parts(self, self, self, self, self.nothing)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedGame:
    """The game that `game_interface` enters."""
    script = ScriptedGame()
    monkeypatch.setattr(game, "_enter", script.parts)
    return script


def entered(path: Path, asked: dict[str, NDArray[Any]], unit: str) -> GameInterface:
    """Our interface with what TMRL's was asked with."""
    seen = asked[f"part{sum(name.startswith('part') for name in asked) - 1}"]  # the last part
    id = str(asked["id"])
    images = {"image_width": seen.shape[3], "image_height": seen.shape[2], "grayscale": seen.ndim == 4} if id == FULL_ID else {}
    np.save(path, GOLDEN[f"line/{asked['line']}"])
    return game_interface(
        EnvironmentOptions(
            id=id,
            game="trackmania",
            clock="realtime",
            compat="tmrl",
            track=str(path),
            history=seen.shape[1],
            reward=reward_options(asked["options"]),
            trackmania={"sleep_at_reset_s": 0.0, "speed_unit": unit},
            **images,
        )
    )


def told(scripted: ScriptedGame, asked: dict[str, NDArray[Any]]) -> Iterator[tuple[int, bool]]:
    """Lets the game show and tell one thing after the other: its number, and whether a reset comes now."""
    frames = GOLDEN[f"frames/{asked['frames']}"]
    for number, (shown, record, reset) in enumerate(zip(asked["shown"], asked["records"], asked["reset"], strict=True)):
        scripted.image, scripted.record = frames[shown], record
        yield number, bool(reset)


@pytest.mark.parametrize("unit", ["m/s", "km/h"])
@pytest.mark.parametrize("name", INTERFACES)
def test_a_whole_interface_answers_as_tmrls_does(tmp_path: Path, scripted: ScriptedGame, name: str, unit: str) -> None:
    asked = golden("interface", name)
    interface = entered(tmp_path / "line.npy", asked, unit)
    parts = [asked[f"part{number}"] for number in range(len(interface.get_observation_space().spaces))]
    for number, reset in told(scripted, asked):
        if reset:
            observation, _ = interface.reset()
            reward, ended = 0.0, False
        else:
            observation, reward, ended, _ = interface.get_obs_rew_terminated_info()

        assert [part.dtype for part in observation] == [part.dtype for part in parts]
        assert all(np.array_equal(ours, theirs[number]) for ours, theirs in zip(observation, parts, strict=True))
        assert (reward, ended) == (asked["rewards"][number], asked["ended"][number])


def test_what_tmrl_was_asked_reaches_beyond_ordinary_driving() -> None:
    """Otherwise the test above would show little."""
    for name in INTERFACES:
        asked = golden("interface", name)
        assert asked["part0"].max() > 1000  # faster than our speed can be
        assert asked["ended"].sum() >= 3
        assert asked["rewards"].max() > 100
        assert asked["rewards"].min() == np.float32(-0.03)


def test_what_the_info_says_stays_ours(tmp_path: Path, scripted: ScriptedGame) -> None:
    asked = golden("interface", "progress")
    interface = entered(tmp_path / "line.npy", asked, "km/h")
    infos = []
    for number, reset in told(scripted, asked):
        if number and reset:  # the first episode finishes
            break
        infos.append(interface.reset()[1] if reset else interface.get_obs_rew_terminated_info()[3])
    interface.close()

    assert [info["progress"] for info in infos] == sorted(info["progress"] for info in infos)
    assert (infos[0]["progress"], infos[-1]["progress"], infos[-1]["finished"]) == (0.0, 1.0, True)
    assert infos[5]["speed"] == pytest.approx(asked["records"][5][0] / 3.6)
    assert infos[-1]["reward_terms"]["finish"] == 100.5


@pytest.mark.parametrize("name", ["winding", "eight"])
def test_the_points_of_a_line_that_tmrl_recorded_are_kept(tmp_path: Path, name: str) -> None:
    line = GOLDEN[f"line/{name}"]
    np.save(tmp_path / "line.npy", line)
    kept, resampled = (course_of(str(tmp_path / "line.npy"), as_it_is=as_it_is).line for as_it_is in (True, False))

    assert np.array_equal(kept, line)
    assert not np.array_equal(resampled, line)  # its points lie less than 0.1 m apart where it bends
    assert np.linalg.norm(np.diff(resampled, axis=0), axis=1)[:-1] == pytest.approx(0.1, abs=0.01)


# The simulator plays by the same rules


@pytest.mark.parametrize(("unit", "per_metre"), [("m/s", 1.0), ("km/h", 3.6)])
def test_the_simulator_shows_the_speed_in_the_plugins_unit(unit: str, per_metre: float) -> None:
    env = make(EnvironmentOptions(compat="tmrl", trackmania={"speed_unit": unit}))
    env.reset(seed=0)
    for _ in range(30):
        observation, *_, info = env.step(GAS)
    env.close()

    assert info["speed"] > 10
    assert observation[0][0] == np.float32(info["speed"] * per_metre)


def test_the_simulators_progress_is_a_share_of_the_points() -> None:
    env = make(EnvironmentOptions(id=LIDAR_PROGRESS_ID, compat="tmrl"))
    first, _ = env.reset(seed=0)
    for _ in range(40):
        observation, *_, info = env.step(GAS)
    env.close()
    points = len(DEFAULT.line)

    assert first[1][0] == 0.0
    assert observation[1][0] == np.float32(round(info["progress"] * (points - 1)) / points)


def test_a_missed_checkpoint_ends_nothing_as_at_tmrl() -> None:
    ended = {}
    for compat in ("none", "tmrl"):
        env: Any = make(EnvironmentOptions(compat=compat, reward=RewardOptions(check_forward=2000)))
        env.reset(seed=0)
        world = env.unwrapped.interface._world
        past = DEFAULT.pose(world._gates[0].metres + 20.0)
        world._car = Car(past.x, past.z, past.heading)  # carried past it
        steps = (env.step(GAS)[2] for _ in range(10))
        ended[compat] = any(steps)
        env.close()

    assert ended == {"none": True, "tmrl": False}
