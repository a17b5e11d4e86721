"""The game as a world: in which order its parts are used, what is made of what they say.  The parts are scripted here."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID, OURS, EnvironmentOptions
from tmrld.envs.registry import make, track_of, view_of
from tmrld.envs.trackmania import game
from tmrld.envs.trackmania.game import GameWorld, Parts, course_of
from tmrld.envs.trackmania.telemetry import Record
from tmrld.envs.trackmania.windows import Area
from tmrld.errors import GameError, WorldError
from tmrld.worker.engine import track_line

LINE = [(0.0, 10.0, 0.1 * point) for point in range(500)]


class FakeGame:
    """All parts at once; ``log`` says what was done, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.records: Iterator[Record] = iter(())
        self.user_drives = False
        self.finished_until: str | None = None
        self.size = (0, 0)
        self.refuses_size = self.refuses_focus = self.is_lost = False
        self.saves_replays = True
        self._record = record()

    # Window
    def resize(self, width: int, height: int) -> None:
        if self.refuses_size:
            raise GameError("the window keeps its size")
        self.size = width, height
        self.log.append(f"resize {width} {height}")

    def focus(self) -> None:
        if self.refuses_focus:
            raise GameError("the window stays behind")
        self.log.append("focus")

    def area(self) -> Area:
        return Area(0, 0, *self.size)

    def screen(self) -> Area:
        return Area(0, 0, 1920, 1080)

    def is_focused(self) -> bool:
        return True

    # Screen
    def grab(self) -> Any:
        self.log.append("grab")
        width, height = self.size
        image = np.full((height, width, 4), 120, np.uint8)
        image[:, : width // 4] = 0
        return image

    # Telemetry
    def newest(self) -> Record:
        if self.is_lost:
            raise GameError("the plugin is silent")
        self._record = next(self.records, self._record)
        self.log.append("newest")
        return self._record

    def fresh(self) -> Record:
        if self.is_lost:
            raise GameError("the plugin is silent")
        self.log.append("fresh")
        over = self.finished_until is None or self.finished_until in self.log
        return record(finished=not over)

    # Controls
    def hold(self, gas: float, brake: float, steer: float) -> None:
        self.log.append(f"hold {gas:g} {brake:g} {steer:g}")

    def neutral(self) -> None:
        self.log.append("neutral")

    def reset_race(self) -> None:
        self.log.append("reset_race")

    def close_pop_up(self) -> None:
        self.log.append("close_pop_up")

    def close(self) -> None:
        self.log.append("close")

    def parts(self) -> Parts:
        return Parts(self, self, self, self, self.save_replay)

    def save_replay(self) -> None:
        if not self.saves_replays:
            raise GameError("nobody listens there")
        self.log.append("save_replay")

    def taken(self) -> list[str]:
        """What was done since this was last asked."""
        log, self.log = self.log, []
        return log


def record(**changes: Any) -> Record:
    values = {"speed": 0.0, "distance": 0.0, "x": 0.0, "y": 10.0, "z": 0.0, "steer": 0.0, "gas": 0.0, "braking": 0.0}
    return Record(**{**values, "finished": False, "gear": 1.0, "rpm": 1200.0, "received": 0.0, **changes})


@pytest.fixture
def line(tmp_path: Path) -> Path:
    path = tmp_path / "oval.npy"
    np.save(path, np.array(LINE))
    return path


def options(line: Path, id: str = LIDAR_ID, **settings: Any) -> EnvironmentOptions:
    trackmania = {"sleep_at_reset_s": 0.0, **settings.pop("trackmania", {})}
    return EnvironmentOptions(
        id=id, game="trackmania", clock="realtime", track=str(line), trackmania=trackmania, max_steps=5, **settings
    )


def world(line: Path, fake: FakeGame, **settings: Any) -> GameWorld:
    chosen = options(line, **settings)
    return GameWorld(course_of(chosen.track), lambda image: image, chosen, fake.parts)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game, "REPLAY_S", 0.0)
    monkeypatch.setattr(game, "POP_UP_S", 0.0)


# Order


def test_the_game_is_reached_for_at_the_first_reset_and_its_window_gets_its_size(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake)
    assert fake.log == []
    entered.reset(None, {})
    assert fake.taken() == ["resize 958 488", "focus", "neutral", "reset_race", "fresh", "grab"]
    entered.reset(7, {})
    assert fake.taken() == ["neutral", "reset_race", "fresh", "grab"]


def test_keys_need_the_window_in_front_at_each_reset(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake, trackmania={"controls": "keyboard"})
    for _ in range(2):
        entered.reset(None, {})
    assert fake.taken()[1:] == ["neutral", "focus", "reset_race", "fresh", "grab"] * 2


def test_a_gamepad_drives_a_game_that_does_not_come_to_the_front_too(line: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeGame()
    fake.refuses_focus = True
    world(line, fake).reset(None, {})
    assert fake.taken()[-1] == "grab"
    assert "may not heed a gamepad" in caplog.text


def test_a_picture_is_taken_before_the_record_that_goes_with_it(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake)
    entered.reset(None, {})
    fake.taken()
    entered.control(1.0, 0.25, -0.5)
    entered.look()
    assert fake.taken() == ["hold 1 0.25 -0.5", "grab", "newest"]


def test_an_episode_ends_with_hands_off_a_reset_and_nothing_in_the_way(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake)
    entered.reset(None, {})
    fake.taken()
    entered.pause()
    assert fake.taken() == ["neutral", "reset_race", "close_pop_up"]


def test_a_replay_is_saved_before_the_race_begins_anew(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake, trackmania={"save_replays": True})
    entered.reset(None, {})
    fake.taken()
    entered.pause()
    assert fake.taken() == ["neutral", "save_replay", "reset_race", "close_pop_up"]


def test_a_replay_that_cannot_be_saved_costs_nothing_but_a_warning(line: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeGame()
    fake.saves_replays = False
    entered = world(line, fake, trackmania={"save_replays": True})
    entered.reset(None, {})
    fake.taken()
    entered.pause()
    assert fake.taken() == ["neutral", "reset_race", "close_pop_up"]
    assert "a replay is not saved: nobody listens there" in caplog.text


def test_a_game_that_was_lost_is_reached_for_anew(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake)
    entered.reset(None, {})
    fake.is_lost = True
    with pytest.raises(GameError, match="silent"):
        entered.look()
    with pytest.raises(GameError, match="silent"):
        entered.reset(None, {})
    assert fake.taken()[-4:] == ["close"] * 4
    fake.is_lost = False
    entered.reset(None, {})
    assert fake.taken()[:2] == ["resize 958 488", "focus"]


def test_a_reset_waits_while_a_person_drives(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGame()
    entered = world(line, fake)
    entered.reset(None, {})
    fake.taken()
    fake.user_drives = True
    waits: list[float] = []

    def sleep(duration_s: float) -> None:
        waits.append(duration_s)
        fake.user_drives = len(waits) < 3

    monkeypatch.setattr(game, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    entered.reset(None, {})
    assert waits[:3] == [game.LOOK_S] * 3
    assert fake.taken()[0] == "neutral"


def test_the_lap_of_a_person_begins_when_they_do(line: Path) -> None:
    fake = FakeGame()
    steps = [(1.0, 0.0, False), (7.0, 0.0, False), (7.5, 3.0, False), (20.0, 40.0, False), (27.5, 50.0, True)]
    fake.records = iter([record(received=received, z=z, finished=finished) for received, z, finished in steps])
    entered = world(line, fake, trackmania={"controls": "none"})
    entered.reset(None, {})
    assert [entered.look().lap_time_s for _ in steps][-1] == pytest.approx(20.5)


def test_what_the_finish_shows_is_closed_when_a_reset_finds_it(line: Path) -> None:
    fake = FakeGame()
    fake.finished_until = "close_pop_up"
    world(line, fake).reset(None, {})
    assert fake.taken()[3:] == ["reset_race", "fresh", "close_pop_up", "reset_race", "fresh", "grab"]


def test_a_finish_that_stays_is_an_error_that_says_what_to_do(line: Path) -> None:
    fake = FakeGame()
    fake.finished_until = "never"
    with pytest.raises(GameError, match=r"still says that the race is finished.*begin a race by hand"):
        world(line, fake).reset(None, {})


def test_where_a_person_drives_no_control_is_touched(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake, trackmania={"controls": "none"})
    entered.reset(None, {})
    entered.control(1.0, 0.0, 0.0)
    entered.look()
    entered.pause()
    assert not {"reset_race", "close_pop_up"} & set(fake.log)
    assert not any(word.startswith("hold") for word in fake.log)


def test_a_person_who_has_taken_over_is_not_sent_back_to_the_start(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake)
    entered.reset(None, {})
    fake.taken()
    fake.user_drives = True
    entered.pause()
    assert fake.taken() == ["neutral"]
    assert entered.user_drives


def test_a_window_that_keeps_its_size_lets_go_of_everything(line: Path) -> None:
    fake = FakeGame()
    fake.refuses_size = True
    entered = world(line, fake)
    with pytest.raises(GameError, match="keeps its size"):
        entered.reset(None, {})
    assert fake.taken() == ["close"] * 4
    fake.refuses_size = False
    entered.reset(None, {})
    assert fake.taken()[0] == "resize 958 488"


def test_closing_lets_go_of_everything_once_and_the_next_reset_reaches_for_the_game_again(line: Path) -> None:
    fake = FakeGame()
    entered = world(line, fake)
    entered.reset(None, {})
    fake.taken()
    entered.close()
    entered.close()
    entered.release()
    assert fake.taken() == ["close"] * 4
    entered.reset(None, {})
    assert fake.taken()[0] == "resize 958 488"


# What is made of the records


def test_the_car_points_where_it_last_went(line: Path) -> None:
    fake = FakeGame()
    places = [(0.0, 0.0), (1.0, 0.0), (1.0, 0.01), (1.0, -1.0)]
    fake.records = iter([record(x=x, z=z) for x, z in places])
    entered = world(line, fake)
    entered.reset(None, {})
    headings = [entered.look().heading for _ in places]
    assert headings == pytest.approx([0.0, math.pi / 2, math.pi / 2, math.pi], abs=0.02)


@pytest.mark.parametrize(("unit", "told", "metres_per_s"), [("m/s", 30.0, 30.0), ("km/h", 108.0, 30.0)])
def test_the_speed_is_in_metres_per_second_whatever_the_plugin_tells(
    line: Path, unit: str, told: float, metres_per_s: float
) -> None:
    fake = FakeGame()
    fake.records = iter([record(speed=told)])
    entered = world(line, fake, trackmania={"speed_unit": unit})
    entered.reset(None, {})
    assert entered.look().speed == pytest.approx(metres_per_s)


def test_a_lap_lasts_from_the_reset_to_the_record_that_says_finished(line: Path) -> None:
    fake = FakeGame()
    times = [(10.0, False), (35.5, True), (36.0, True)]
    fake.records = iter([record(received=received, finished=finished) for received, finished in times])
    entered = world(line, fake)
    entered.reset(None, {})
    moments = [entered.look() for _ in times]
    assert [moment.lap_time_s for moment in moments] == [None, 35.5, 35.5]
    assert [moment.finished for moment in moments] == [False, True, True]


# Its track


@pytest.mark.parametrize("track", ["default", "tmrl-train", "line.pkl"])
def test_a_track_that_is_no_file_is_refused_with_what_to_do(track: str) -> None:
    advice = r"must be a track on the shelf.*the path of a file with its line.*tmrld track show NAME --line FILE"
    with pytest.raises(WorldError, match=advice):
        course_of(track)


def test_a_track_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot be read"):
        course_of(str(tmp_path / "nowhere.npy"))


# As an environment


@pytest.mark.parametrize("id", OURS)
def test_each_flavour_is_an_environment(id: str, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGame()
    fake.records = iter([record(z=0.5 * step, speed=50.0, gear=3.0, rpm=9000.0) for step in range(1, 50)])
    monkeypatch.setattr(game, "_enter", lambda _options, _step_s: fake.parts())
    env = make(options(line, id, time_step_s=0.02, start_obs_capture_s=0.01))
    observation, info = env.reset(seed=1)
    assert observation in env.observation_space
    total = 0.0
    terminated = truncated = False
    while not (terminated or truncated):
        observation, reward, terminated, truncated, info = env.step(np.array([1.0, -1.0, 0.5], np.float32))
        assert observation in env.observation_space
        total += float(reward)
    env.close()

    assert truncated
    assert total == pytest.approx(info["progress"] * 499 / 100)
    assert info["track"] == "oval"
    assert observation[0][0] == pytest.approx(180.0)
    if id == FULL_ID:
        assert [part[0] for part in observation[1:3]] == [3.0, 9000.0]
        assert observation[3].dtype == np.uint8
    if id == LIDAR_PROGRESS_ID:
        assert observation[1][0] == pytest.approx(info["progress"])
    assert "hold 1 0 0.5" in fake.log
    assert fake.log[-1] == "close"


def test_the_window_shrunk_is_what_the_policy_sees(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGame()
    monkeypatch.setattr(game, "_enter", lambda _options, _step_s: fake.parts())
    env = make(options(line, FULL_ID))
    observation, _ = env.reset()
    env.close()

    assert fake.size == (256, 128)
    assert observation[3].shape == (4, 64, 64)
    assert (observation[3][:, :, :15] == 0).all()
    assert (observation[3][:, :, 17:] == 120).all()


# For people who look on


@pytest.mark.parametrize(("id", "size"), [(LIDAR_ID, (479, 244)), (FULL_ID, (256, 128))])
def test_the_page_shows_the_picture_that_was_taken(
    id: str, size: tuple[int, int], line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeGame()
    monkeypatch.setattr(game, "_enter", lambda _options, _step_s: fake.parts())
    chosen = options(line, id)
    env = make(chosen)
    _, info = env.reset()
    view = view_of(chosen, env)
    assert view is not None
    image = view.image(info)
    env.close()

    assert (view.width, view.height) == size
    assert image.shape == (size[1], size[0], 3)
    assert (image[:, : size[0] // 4] == 0).all()
    assert (image[:, size[0] // 4 + 1 :] == 120).all()
    assert len(view.beams(np.full(19, 50.0, np.float32))) == 19


def test_the_map_shows_the_recorded_line(line: Path) -> None:
    found = track_of(options(line))
    assert found is not None
    assert (found.name, found.width_m, found.points.shape) == ("oval", None, (500, 3))
    assert track_line("demo", found).width_m is None
