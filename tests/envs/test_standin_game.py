"""The stand-in without its window: what car, plugin and replays make of a driver's inputs, and which picture belongs to it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from tmrld.envs.sim.camera import PLAIN, camera
from tmrld.envs.sim.car import Car
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.track import Pose
from tmrld.envs.sim.tracks import SHORT, named
from tmrld.envs.standin.game import Game
from tmrld.envs.standin.inputs import NOTHING_HELD, Held, Press
from tmrld.envs.standin.program import LONGEST_FRAME_S, frames
from tmrld.envs.standin.race import Phase, Race
from tmrld.envs.standin.replay import LONGEST_S, Recording
from tmrld.envs.standin.scene import Painter, Viewpoint
from tmrld.envs.trackmania.interface import Moment
from tmrld.envs.trackmania.lidar import distances
from tmrld.envs.trackmania.telemetry import Record
from tmrld.errors import NotFound, StorageError

FRAME_S = 1 / 60
GAS = Held(gas=1.0)


def game(countdown_s: float = 0.0, **options: bool) -> Game:
    return Game(SHORT, Race(countdown_s, **options))


def told(game: Game) -> Record:
    record = game.record
    assert record is not None
    return record


def drive(game: Game, seconds: float, held: Held) -> Record:
    for _ in range(round(seconds / FRAME_S)):
        game.pass_time(FRAME_S, held)
    return told(game)


def along_the_line(game: Game, speed: float) -> Held:
    """What a driver holds who looks some metres ahead along the track's line and keeps that speed, in m/s."""
    record = told(game)
    line = SHORT.line[:, [0, 2]]
    nearest = int(np.linalg.norm(line - (record.x, record.z), axis=1).argmin())
    x, z = line[min(nearest + 90, len(line) - 1)]
    _, _, _, heading = game.viewpoint.place
    turn = (math.atan2(x - record.x, z - record.z) - heading + math.pi) % math.tau - math.pi
    return Held(gas=float(record.speed < speed), steer=min(max(2.5 * turn, -1.0), 1.0))


def finished() -> Game:
    done = game()
    for _ in range(60 * 60):
        done.pass_time(FRAME_S, along_the_line(done, 16.0))
        if told(done).finished:
            return done
    raise AssertionError("it does not get there within a minute")


# Telemetry


def test_gas_drives_away_from_the_start() -> None:
    started = drive(driven := game(), 0.5, GAS)
    record = drive(driven, 2.0, GAS)
    assert record.speed > started.speed > 1.0
    assert record.z > started.z > 0.1
    assert record.x == pytest.approx(0.0, abs=1e-6)
    assert record.distance == pytest.approx(record.z)
    assert (record.gas, record.braking, record.steer, record.finished) == (1.0, 0.0, 0.0, False)
    assert record.gear >= 2
    assert record.rpm > 1_000


def test_the_brake_is_told_as_on_or_off_and_distance_grows_backwards_too() -> None:
    record = drive(game(), 2.0, Held(brake=0.4, steer=-0.25))
    assert (record.gas, record.braking, record.steer) == (0.0, 1.0, -0.25)
    assert record.z < -0.1
    assert record.distance >= -record.z
    assert record.speed > 0.0
    assert record.gear == 0


def test_the_countdown_holds_the_car_and_tells_what_is_pressed() -> None:
    held = drive(driven := game(1.0), 0.9, GAS)
    assert (held.speed, held.distance, held.x, held.z, held.gas) == (0.0, 0.0, 0.0, 0.0, 1.0)
    assert drive(driven, 0.5, GAS).speed > 0.0


def test_the_menu_tells_nothing_and_stops_the_world() -> None:
    driven = game()
    before = drive(driven, 1.0, GAS)
    driven.press(Press.MENU)
    driven.pass_time(5.0, GAS)
    assert driven.record is None
    driven.press(Press.MENU)
    driven.pass_time(0.0, GAS)
    assert driven.record == before


def test_a_race_that_begins_in_the_menu_waits_there() -> None:
    driven = game(in_menu=True)
    driven.pass_time(5.0, GAS)
    assert driven.record is None
    driven.press(Press.MENU)
    assert drive(driven, 1.0, GAS).speed > 1.0


def test_giving_up_puts_the_car_back_to_the_start() -> None:
    driven = game(1.0)
    drive(driven, 3.0, GAS)
    driven.press(Press.GIVE_UP)
    driven.pass_time(FRAME_S, NOTHING_HELD)
    record = told(driven)
    assert (record.x, record.z, record.speed, record.distance) == (0.0, 0.0, 0.0, 0.0)
    assert driven.race.phase is Phase.COUNTDOWN


def test_a_finish_is_told_until_it_is_confirmed_and_the_car_obeys_no_more() -> None:
    driven = finished()
    lap = driven.lap_time_s
    assert lap is not None
    assert lap > 10.0
    record = drive(driven, 1.0, Held(gas=1.0, brake=1.0, steer=1.0))
    assert driven.race.phase is Phase.POP_UP
    assert (record.gas, record.braking, record.steer, record.finished) == (0.0, 0.0, 0.0, True)
    driven.press(Press.GIVE_UP)
    assert drive(driven, 0.5, NOTHING_HELD).finished
    driven.press(Press.CONFIRM)
    driven.pass_time(FRAME_S, NOTHING_HELD)
    record = told(driven)
    assert (record.x, record.z, record.finished, driven.lap_time_s) == (0.0, 0.0, False, None)


def test_the_height_told_is_that_of_the_bridge() -> None:
    track = named("medium-650-3")
    driven = Game(track, Race(0.0))
    bridge = next(passage for passage in track.passages if passage.deck)
    for metres in np.arange(0.0, bridge.middle, 2.0).tolist():  # carried there
        pose = track.pose(metres)
        driven._world._car = Car(pose.x, pose.z, pose.heading)
        driven.pass_time(0.001, NOTHING_HELD)
    assert told(driven).y > 5.0


# Replays


def test_a_replay_holds_the_race_twenty_times_a_second(tmp_path: Path) -> None:
    driven = game(1.0)
    record = drive(driven, 3.0, Held(gas=1.0, steer=0.1))
    path = driven.recording.save(tmp_path / "deep" / "replays")
    assert re.fullmatch(r"short-\d{8}-\d{6}\.json", path.name)
    replay = json.loads(path.read_text("utf-8"))
    assert (replay["track"], replay["lap_time_s"]) == ("short", None)
    rows = np.array(replay["rows"])
    of = {name: rows[:, k] for k, name in enumerate(replay["columns"])}
    assert np.diff(of["time_s"]) == pytest.approx(0.05, abs=1e-3)
    assert (of["time_s"][0], of["time_s"][-1]) == (pytest.approx(0.0, abs=2 * FRAME_S), pytest.approx(2.0, abs=0.06))
    assert (of["gas"] == 1.0).all()
    assert (of["steer"] == 0.1).all()
    assert (np.diff(of["z"]) > 0.0).all()
    assert of["z"][-1] == pytest.approx(record.z, abs=1.0)


def test_a_replay_of_a_finished_race_has_its_time(tmp_path: Path) -> None:
    driven = finished()
    replay = json.loads(driven.recording.save(tmp_path).read_text("utf-8"))
    assert replay["lap_time_s"] == driven.lap_time_s


def test_before_the_car_moves_the_race_before_is_the_one_to_save(tmp_path: Path) -> None:
    driven = game(1.0)
    with pytest.raises(NotFound, match="before anything was driven"):
        driven.recording.save(tmp_path)
    drive(driven, 2.0, GAS)
    for _ in range(2):
        driven.press(Press.GIVE_UP)
        drive(driven, 0.5, GAS)
    assert len(driven.recording) == pytest.approx(20, abs=2)
    drive(driven, 0.6, NOTHING_HELD)
    assert len(driven.recording) < 5


def test_each_replay_is_a_file_of_its_own(tmp_path: Path) -> None:
    driven = game()
    drive(driven, 0.2, GAS)
    paths = {driven.recording.save(tmp_path) for _ in range(3)}
    assert len(paths) == 3
    assert set(tmp_path.iterdir()) == paths  # and nothing half-written beside them


def test_a_replay_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    driven = game()
    drive(driven, 0.2, GAS)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"the replay cannot be written into .*file .*: name another folder"):
        driven.recording.save(tmp_path / "file")


def test_of_an_endless_race_the_last_hour_is_remembered() -> None:
    recording, moment = Recording("short"), Moment(0.0, 0.0, 0.0, 0.0, 0.0, 1, 0.0, np.empty(0), False, None)
    for k in range(round(LONGEST_S / 0.05) + 100):
        recording.add(k * 0.05, NOTHING_HELD, moment)
    assert len(recording) == round(LONGEST_S / 0.05)


# Pictures


@pytest.mark.parametrize("size", [(958, 488), (256, 128), (64, 64), (641, 333)])
@pytest.mark.parametrize("metres", [0.0, 90.0, 215.0])
def test_the_picture_is_the_simulators(size: tuple[int, int], metres: float) -> None:
    pose, ground = SHORT.pose(metres), ground_of(SHORT)
    seen = painted(size, pose)
    expected = camera(*size).render(ground, pose.x, pose.z, pose.heading)
    first = camera(*size).first_row
    assert (seen[first:] == expected[first:]).all()
    # Sky and hills turn in steps of a direction: their outline may be off by a pixel.
    off = np.abs(seen[:first].astype(int) - expected[:first]).max(axis=2) > 0
    assert off.mean() < 0.02
    assert (distances(seen) == distances(expected)).all()


@pytest.mark.parametrize("turns", [-3.3, -0.5, 0.0, 0.25, 7.9])
def test_sky_and_hills_go_all_the_way_round(turns: float) -> None:
    pose = Pose(0.0, 0.0, turns * math.tau)
    expected = camera(256, 128).render(ground_of(SHORT), pose.x, pose.z, pose.heading)
    off = np.abs(painted((256, 128), pose).astype(int) - expected).max(axis=2) > 0
    assert off.mean() < 0.02


def painted(size: tuple[int, int], pose: Pose) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The frame from there in RGB, from bytes as a screen has them."""
    viewpoint, painter = Viewpoint(), Painter(*size)
    viewpoint.see(ground_of(SHORT), pose.x, pose.z, pose.heading, PLAIN)
    painter.paint(viewpoint)
    pixels = painter.frame.view(np.uint8).reshape(size[1], size[0], 4)
    assert (pixels[..., 3] == 255).all()
    return pixels[..., 2::-1]


# Frames


class Time:
    """A clock that moves when somebody sleeps, or works."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 0.0

    def sleep(self, duration_s: float) -> None:
        assert duration_s >= 0.0
        self.now += duration_s
        self.slept += duration_s


def test_frames_come_in_time_whatever_each_takes() -> None:
    time = Time()
    told = frames(50, lambda: time.now, time.sleep)
    elapsed = []
    for work in (0.0, 0.015, 0.005, 0.019):
        elapsed.append(next(told))
        time.now += work
    assert elapsed == [pytest.approx(0.02)] * 4


def test_a_late_frame_is_not_made_up_for() -> None:
    time = Time()
    told = frames(50, lambda: time.now, time.sleep)
    next(told)
    time.now += 0.1
    assert next(told) == pytest.approx(0.1)
    assert next(told) == pytest.approx(0.02)


def test_a_computer_that_slept_moves_no_car_far() -> None:
    time = Time()
    told = frames(50, lambda: time.now, time.sleep)
    next(told)
    time.now += 3600.0
    assert next(told) == LONGEST_FRAME_S
