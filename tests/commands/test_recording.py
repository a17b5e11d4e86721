"""What `tmrld track record` says, keeps and refuses; the plugin is scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.envs.test_recording import CORNERED, a_run, driving, later, standing
from tmrld.cli import main
from tmrld.commands.track import listening
from tmrld.envs.options import TrackmaniaOptions
from tmrld.envs.trackmania import telemetry
from tmrld.envs.trackmania.telemetry import Record
from tmrld.envs.trackmania.tracks import parse, resampled
from tmrld.errors import GameError
from tmrld.local import shelf_of
from tmrld.settings import load
from tmrld.storage.shelf import Shelf

Script = Callable[[Iterable[Record | BaseException]], None]


class ScriptedReceiver:
    """Tells what the script says; an exception in it is raised."""

    def __init__(self, script: Iterator[Record | BaseException]) -> None:
        self._script = script
        self.is_closed = False

    def fresh(self) -> Record:
        assert not self.is_closed
        told = next(self._script)
        if isinstance(told, BaseException):
            raise told
        return told

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_DATA", str(tmp_path / "data"))
    return shelf_of(load())


@pytest.fixture
def told(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Sets what the plugin tells; nothing is said of it more often than it changes."""

    def script(records: Iterable[Record | BaseException]) -> None:
        receiver = ScriptedReceiver(iter(records))
        monkeypatch.setattr(listening, "Receiver", lambda *_: receiver)

    return script


def test_a_lap_goes_on_the_shelf(told: Script, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    told(a_run())

    assert main(["track", "record", "curve"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the car is at the start: drive to the finish, the recording begins when it moves"
    assert lines[1] == "recording"
    assert lines[-2].startswith("curve is on the shelf: 80 m, 801 points, lap about 3.9")
    assert "set run.environment.track = 'curve'" in lines[-1]
    assert np.allclose(parse(shelf.read("tracks", "curve"), "it", as_it_is=True), resampled(CORNERED))
    about = shelf.get("tracks", "curve").about
    assert (about["source"], about["points"]) == ("recorded", 801)
    assert about["lap_time_s"] == pytest.approx(len(driving()) / 60, abs=0.2)


def test_scripts_get_json_and_people_beside_it_what_is_going_on(told: Script, capsys: pytest.CaptureFixture[str]) -> None:
    told(a_run())

    assert main(["track", "record", "curve", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["name"], found["source"], found["points"]) == ("curve", "recorded", 801)
    assert "the car is at the start" in err


def test_how_far_it_has_come_is_told_now_and_then(
    told: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SAID_S", 0.0)
    told(a_run())

    assert main(["track", "record", "curve"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("km/h")]
    assert len(lines) > 100
    assert lines[-1].endswith(" s, 72 km/h")


def test_whoever_has_to_restart_is_told(told: Script, capsys: pytest.CaptureFixture[str]) -> None:
    told(
        [
            *standing(at=CORNERED[-1], finished=True),
            *later(driving()[60:80], 5.0),
            *standing(since=10.0),
            *later(driving()[:60], 11.0),
            *standing(since=20.0),
            *later(driving()[:60], 21.0),
            *standing((50.0, 8.0, 50.0), since=22.02),
            *later(a_run(), 40.0),
        ]
    )

    assert main(["track", "record", "curve"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[:-2]] == [
        "the race is over",
        "the car is on its way already",
        "the car is at the start",
        "recording",
        "the race was restarted",
        "the car is at the start",
        "recording",
        "this run is no line of a track",
        "the car is at the start",
        "recording",
    ]
    assert "as a respawn makes it.  Restart the race" in said[7]


def test_ctrl_c_keeps_nothing_and_says_so(told: Script, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    told([*standing(), *driving()[:100], KeyboardInterrupt()])

    assert main(["track", "record", "curve"]) == 130
    assert capsys.readouterr().out.splitlines()[-1] == "nothing was kept: the finish was not reached"
    assert shelf.items("tracks") == []


def test_a_silent_plugin_is_told_with_the_cause(told: Script, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    told([*standing(), *driving()[:100], GameError("the plugin has hung up")])

    assert main(["track", "record", "curve"]) == 1
    assert "tmrld: the plugin has hung up" in capsys.readouterr().err
    assert shelf.items("tracks") == []


def test_a_plugin_that_is_not_there_is_told_with_the_cause(
    shelf: Shelf, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "FRESH_S", 0.5)
    flags = [f"run.environment.trackmania.{field}" for field in ("telemetry_port=1", "telemetry_stall_s=0.5")]

    assert main(["track", "record", "curve", "--set", flags[0], "--set", flags[1]]) == 1
    assert "nothing listens at 127.0.0.1:1, where the plugin should" in capsys.readouterr().err


def test_a_name_that_is_taken_is_replaced_on_demand(told: Script, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    told(a_run())
    assert main(["track", "record", "curve"]) == 0
    before = shelf.get("tracks", "curve").sha256
    told(a_run(speed=10.0))
    assert main(["track", "record", "curve"]) == 1
    assert "there is a track 'curve' already" in capsys.readouterr().err
    assert main(["track", "record", "curve", "--force"]) == 0
    assert shelf.get("tracks", "curve").about["lap_time_s"] > 7.0
    assert shelf.get("tracks", "curve").sha256 != before


def test_the_plugins_unit_of_speed_is_a_setting() -> None:
    receiver = ScriptedReceiver(iter([*standing(), *a_run(speed=20.0)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listening, "Receiver", lambda *_: receiver)
        recorder = listening.recorded(TrackmaniaOptions(speed_unit="km/h"), aside=True)
    assert recorder.scale == pytest.approx(1 / 3.6)
    assert receiver.is_closed
