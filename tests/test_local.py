"""Tracks of this machine's shelf for commands and programs that ask no relay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tmrld import shelving
from tmrld.cli import main
from tmrld.envs.options import LIDAR_PROGRESS_ID, EnvironmentOptions
from tmrld.envs.trackmania.game import course_of
from tmrld.errors import NotFound, WorldError
from tmrld.fetching import FetchedFiles
from tmrld.local import bundled_for, placed, shelf_of, weights_file
from tmrld.settings import Settings, load
from tmrld.storage.layout import Layout

LINE = np.array([(0.0, 8.0, 0.0), (0.0, 8.0, 50.0)])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A shelf with the track "oval"."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_DATA", str(tmp_path / "data"))
    settings = load()
    shelf_of(settings).put("tracks", "oval", shelving.track_file(LINE))
    return settings


def game(track: str) -> EnvironmentOptions:
    return EnvironmentOptions(game="trackmania", clock="realtime", track=track)


def test_a_track_of_the_game_is_found_by_its_name(settings: Settings) -> None:
    course = course_of(placed(game("oval"), settings).track)

    assert (course.name, len(course.line)) == ("oval", 501)
    assert placed(game("oval"), settings) == placed(game("oval"), settings)


def test_a_worker_that_tidies_its_files_leaves_those_of_commands(settings: Settings) -> None:
    track = placed(game("oval"), settings).track
    FetchedFiles(Layout(settings.data).worker_files).keep_only([])

    assert len(course_of(track).line) == 501


def test_a_track_that_was_replaced_is_the_new_one(settings: Settings) -> None:
    before = placed(game("oval"), settings)
    shelf_of(settings).put("tracks", "oval", shelving.track_file(LINE * 2), replace=True)

    assert len(course_of(placed(game("oval"), settings).track).line) == 1001
    assert len(course_of(before.track).line) == 501


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (EnvironmentOptions(), "bundled-default"),
        (EnvironmentOptions(track="blue"), "bundled-random-tracks"),
        (game("default"), "bundled-random-tracks"),
        (EnvironmentOptions(id=LIDAR_PROGRESS_ID), "bundled-random-tracks"),
    ],
)
def test_the_weights_that_tmrld_brings_are_for_the_environment(environment: EnvironmentOptions, name: str) -> None:
    assert bundled_for(environment, environment.track) == name


def test_weights_are_found_by_their_name(settings: Settings) -> None:
    path = weights_file("bundled", EnvironmentOptions(), settings)

    assert Path(path).name == "bundled-default.safetensors"
    assert Path(path).read_bytes() == shelf_of(settings).read("weights", "bundled-default")
    assert weights_file("bundled-default", EnvironmentOptions(), settings) == path
    with pytest.raises(NotFound, match="did you mean 'bundled-default'"):
        weights_file("bundled-defalt", EnvironmentOptions(), settings)


@pytest.mark.usefixtures("settings")
def test_the_weights_that_tmrld_brings_drive(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "run", "tmrld/TM20Lidar-v0", "--policy", "bundled", "--episodes", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert (found["finished"], found["policy"]) == (1, "bundled")


@pytest.mark.usefixtures("settings")
def test_a_policy_of_no_name_is_told_which_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "run", "tmrld/TM20Lidar-v0", "--policy", "bundled-defalt"]) == 2
    assert "neither random nor scripted nor a file, and there are no weights 'bundled-defalt'" in capsys.readouterr().err


@pytest.mark.parametrize("track", ["oval.npy", "C:/lines/oval.csv", "oavl"])
def test_a_path_and_a_name_that_is_not_there_stay_as_they_are(track: str, settings: Settings) -> None:
    assert placed(game(track), settings) == game(track)


def test_the_simulators_tracks_are_its_own(settings: Settings) -> None:
    shelf_of(settings).put("tracks", "default", shelving.track_file(LINE))

    assert placed(EnvironmentOptions(), settings).track == "default"


def test_a_name_that_is_not_there_is_told_where_names_are(settings: Settings) -> None:
    with pytest.raises(WorldError, match=r"`tmrld track list`"):
        course_of(placed(game("oavl"), settings).track)


def test_the_command_line_drives_it_by_its_name(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """As far as it gets without a game: to the window that is not there."""
    flags = [flag for text in ("game=trackmania", "clock=realtime") for flag in ("--set", f"run.environment.{text}")]
    window = ("--set", "run.environment.trackmania.window_title=a window that nobody has")

    assert main(["env", "run", "tmrld/TM20Lidar-v0", "--track", "oval", "--episodes", "1", *flags, *window]) == 1
    first = capsys.readouterr().err
    assert "oval" not in first
    assert main(["env", "run", "tmrld/TM20Lidar-v0", "--track", "oavl", "--episodes", "1", *flags, *window]) == 2
    assert "track is 'oavl'" in capsys.readouterr().err


def test_the_simulator_is_not_asked_to_drive_a_map_of_the_game(settings: Settings) -> None:
    simulator = EnvironmentOptions()
    with pytest.raises(WorldError, match=r"line of a map of TrackMania.* --game trackmania"):
        placed(simulator.model_copy(update={"track": "oval"}), settings)
    for track in ("default", "no-such-track"):
        assert placed(simulator.model_copy(update={"track": track}), settings).track == track


def test_a_misspelt_driver_is_named(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "run", "tmrld/TM20Lidar-v0", "--policy", "bundeld"]) == 2
    assert "did you mean 'bundled'?" in capsys.readouterr().err


def test_a_file_that_holds_no_weights_is_named(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.md").write_text("no weights")
    for command in (["env", "run", "tmrld/TM20Lidar-v0", "--policy", "notes.md"], ["eval", "notes.md"]):
        assert main(command) == 2
        assert "notes.md cannot be used: this is not a safetensors file" in capsys.readouterr().err
