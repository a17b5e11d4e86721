"""`tmrld sim` as another program meets it: its window, keys and gamepad on a real X11 display, and its ports."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.standin import PATIENCE_S, Pad, StandIn, drive_along, is_at_start, standing_in, until
from tests.support.x11 import Person
from tmrld.cli import main
from tmrld.envs.sim.camera import PLAIN, camera
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.sensors import LidarSensor
from tmrld.envs.sim.tracks import DEFAULT, SHORT
from tmrld.envs.trackmania.lidar import distances

pytestmark = pytest.mark.usefixtures("display")

FOREVER = ("--countdown", "1000")
"""So that the car stays where it is."""
AT_ONCE = ("--countdown", "0.2", "--track", "short")
IMPROVE = (0.55, 0.60)
"""Where TMRL clicks."""


def has_pop_up(game: StandIn) -> bool:
    """Whether the picture has a green button."""
    picture = game.picture()
    height, width = picture.shape[:2]
    _, green, red = picture[round(0.56 * height), round(0.45 * width), :3].tolist()
    return bool(green > 150 and red < 60)


@pytest.fixture(scope="module")
def still(display: str) -> Iterator[StandIn]:
    """One whose car is held, for tests that only look."""
    with standing_in(*FOREVER) as game:
        yield game


@pytest.fixture
def pad(tmp_path: Path) -> Iterator[Pad]:
    pad = Pad(tmp_path / "pad")
    yield pad
    pad.unplug()


@pytest.fixture
def person() -> Iterator[Person]:
    with Person() as person:
        yield person


# Window


def test_its_window_has_the_games_title_and_size(still: StandIn) -> None:
    assert still.window.get_wm_name() == "Trackmania"
    size = still.window.get_geometry()
    assert (size.width, size.height) == (958, 488)
    assert still.ready["title"] == "Trackmania"
    assert still.ready["size"] == [958, 488]
    assert still.ready["display"] == os.environ["DISPLAY"]
    assert still.ready["pid"] == still.process.pid
    assert (still.ready["track"], still.ready["length_m"]) == ("default", DEFAULT.length)


def test_the_lidar_measures_in_its_picture_what_it_measures_in_the_simulator(still: StandIn) -> None:
    expected = LidarSensor(958, 488).see(ground_of(DEFAULT), 0.0, 0.0, 0.0, PLAIN)
    until(lambda: np.array_equal(distances(still.picture()[..., :3]), expected), "the picture is that of the start")


@pytest.mark.parametrize(("width", "height"), [(256, 128), (640, 333), (958, 488)])
def test_whatever_size_another_program_gives_its_window_the_picture_fills_it(still: StandIn, width: int, height: int) -> None:
    still.resize(width, height)
    expected = camera(width, height).render(ground_of(DEFAULT), 0.0, 0.0, 0.0)
    first = camera(width, height).first_row

    def is_shown() -> bool:
        picture = still.picture()[..., 2::-1]
        return picture.shape == expected.shape and bool((picture[first:] == expected[first:]).all())

    until(is_shown, f"the window shows {width} by {height} pixels")


def test_the_menu_lies_over_the_picture_and_stops_telemetry(person: Person) -> None:
    with standing_in("--menu", "--title", "Another", *AT_ONCE) as game:
        assert game.window.get_wm_name() == "Another"
        game.focus()
        until(lambda: game.picture()[244, 479, :3].max() < 100, "the menu is shown")
        with game.hear() as hearing:
            hearing.line.settimeout(0.3)
            with pytest.raises(TimeoutError):
                hearing.line.recv(1)
            hearing.line.settimeout(PATIENCE_S)
            person.press("Escape")
            assert is_at_start(hearing.next())
            person.release("Escape")


# Driving


def test_keys_drive_and_backspace_goes_back_to_the_start(person: Person) -> None:
    with standing_in(*AT_ONCE, "--speed", "2") as game, game.hear() as hearing:
        game.focus()
        assert is_at_start(hearing.next())
        person.press("Up")
        started = hearing.until(lambda record: record.speed > 2.0, "the car drives away")
        assert (started.gas, started.braking) == (1.0, 0.0)
        later = hearing.until(lambda record: record.speed > 8.0, "it goes faster")
        assert later.z > started.z > 0.0
        assert later.distance > started.distance > 0.0
        person.press("a")
        turned = hearing.until(lambda record: record.steer == -1.0, "it steers to the left")
        hearing.until(lambda record: record.x < turned.x - 0.5, "it turns to the left")
        person.release("a")
        person.release("Up")
        person.press("s")
        hearing.until(lambda record: (record.gas, record.braking, record.steer) == (0.0, 1.0, 0.0), "it brakes")
        person.release("s")
        for key in ("BackSpace", "Delete"):
            person.press(key)
            hearing.until(is_at_start, f"{key} resets")
            person.release(key)
            person.press("Up")
            hearing.until(lambda record: record.speed > 1.0, "it drives again")
            person.release("Up")


def test_a_gamepad_drives_and_one_that_is_gone_lets_go(pad: Pad) -> None:
    flags = ("--track", "short", "--countdown", "1", "--gamepad", str(pad.path))
    with standing_in(*flags) as game, game.hear() as hearing:
        pad.plug_in()
        pad.hold(gas=0.6, steer=0.25)
        record = hearing.until(lambda record: record.speed > 1.0, "the car drives away")
        assert record.gas == pytest.approx(0.6, abs=0.01)
        assert record.steer == pytest.approx(0.25, abs=0.01)
        pad.tap("B")
        hearing.until(is_at_start, "B resets")
        hearing.until(lambda record: record.speed > 1.0, "the car drives away")
        pad.unplug()
        hearing.until(lambda record: (record.gas, record.steer) == (0.0, 0.0), "nothing is held")


@pytest.mark.parametrize(
    "way", ["Return", pytest.param("A", marks=pytest.mark.slow), pytest.param("click", marks=pytest.mark.slow)]
)
def test_a_finish_is_left_by_its_pop_up_alone(way: str, pad: Pad, person: Person) -> None:
    with standing_in(*AT_ONCE, "--speed", "5", "--gamepad", str(pad.path)) as game, game.hear() as hearing:
        pad.plug_in()
        finish = drive_along(SHORT, hearing, pad)
        assert math.dist((finish.x, finish.z), SHORT.line[-1, [0, 2]]) < 20.0
        game.focus()
        until(lambda: has_pop_up(game), "the pop-up is shown")
        hearing.until(lambda record: record.gas == 0.0, "the car does not obey any more")
        person.press("BackSpace")
        pad.tap("B")
        game.click(0.1, 0.1)
        person.release("BackSpace")
        for _ in range(60):
            assert hearing.next().finished
        pad.hold()
        if way == "A":
            pad.tap("A")
        elif way == "click":
            game.click(*IMPROVE)
        else:
            person.press(way)
            person.release(way)
        hearing.until(is_at_start, f"{way} restarts")
        until(lambda: not has_pop_up(game), "the pop-up is gone")


# Ports


def test_a_second_client_is_served_when_the_first_has_gone(still: StandIn) -> None:
    with still.hear() as first:
        first.next()
        with still.hear() as second:
            for _ in range(20):
                first.next()
            second.line.setblocking(False)
            with pytest.raises(BlockingIOError):
                second.line.recv(1)
            first.line.close()
            second.line.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionResetError):
                assert second.line.recv(1) == b""  # hung up on, and has to call again

    def is_served() -> bool:
        try:
            with still.hear() as third:
                return is_at_start(third.next())
        except OSError:
            return False

    until(is_served, "the second client is served")


def test_a_replay_is_saved_for_each_call(tmp_path: Path, pad: Pad) -> None:
    folder = tmp_path / "replays"
    with standing_in(*AT_ONCE, "--replays", str(folder), "--gamepad", str(pad.path)) as game, game.hear() as hearing:
        pad.plug_in()
        pad.hold(gas=1.0)
        hearing.until(lambda record: record.distance > 5.0, "the car drives")
        for count in (1, 2):
            game.call_for_replay()
            told = game.told()
            assert told["replays"] == count
            replay = json.loads(Path(told["file"]).read_text("utf-8"))
            assert replay["track"] == "short"
            assert replay["rows"][-1][replay["columns"].index("z")] > 4.0
        assert len(list(folder.iterdir())) == 2


def test_a_full_disk_is_told_and_does_not_stop_it(tmp_path: Path, pad: Pad) -> None:
    (tmp_path / "replays").write_bytes(b"")  # no folder can be made here
    flags = ("--replays", str(tmp_path / "replays"), "--gamepad", str(pad.path))
    with standing_in(*AT_ONCE, *flags) as game, game.hear() as hearing:
        game.call_for_replay()
        pad.plug_in()
        pad.hold(gas=1.0)
        assert game.told()["replays"] == 0
        record = hearing.until(lambda record: record.distance > 5.0, "the car drives")
        game.call_for_replay()
        assert "the replay cannot be written into" in game.told()["error"]
        hearing.until(lambda later: later.distance > record.distance, "it still does")


# Its end


@pytest.mark.parametrize(
    "end",
    [
        lambda game: game.process.send_signal(signal.SIGTERM),
        lambda game: game.process.send_signal(signal.SIGINT),
        lambda game: game.ask_to_close(),
    ],
    ids=["SIGTERM", "Ctrl-C", "the window's cross"],
)
def test_it_ends_when_it_is_asked_to(end: Callable[[StandIn], None]) -> None:
    with standing_in(*FOREVER) as game, game.hear() as hearing:
        hearing.next()
        end(game)
        assert game.process.wait(PATIENCE_S) == 0
        assert game.process.stderr is not None
        assert game.process.stderr.read() == ""


@pytest.mark.parametrize(("flag", "key"), [("--telemetry-port", "telemetry_port"), ("--replay-port", "replay_port")])
def test_two_stand_ins_do_not_share_a_port(still: StandIn, flag: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "--telemetry-port", "0", "--replay-port", "0", flag, str(still.ready[key])]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert f"tmrld: the port {still.ready[key]}" in told.err
    assert "is taken: another game or stand-in is running?" in told.err


@pytest.mark.slow
def test_it_costs_little_beside_a_trainer() -> None:
    """At most a core for 30 frames per second, however slow the computer; a twentieth of one where this was written."""
    with standing_in(*FOREVER, "--fps", "30") as game, game.hear() as hearing:
        process = psutil.Process(game.process.pid)
        hearing.next()
        before = sum(process.cpu_times()[:2])
        for _ in range(90):
            hearing.next()
        assert sum(process.cpu_times()[:2]) - before < 90 / 30
