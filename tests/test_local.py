"""Tracks of this machine's shelf for commands and programs that ask no relay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tmrld import shelving
from tmrld.cli import main
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.trackmania.game import course_of
from tmrld.errors import WorldError
from tmrld.local import placed, shelf_of
from tmrld.settings import Settings, load

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


def test_a_track_that_was_replaced_is_the_new_one(settings: Settings) -> None:
    before = placed(game("oval"), settings)
    shelf_of(settings).put("tracks", "oval", shelving.track_file(LINE * 2), replace=True)

    assert len(course_of(placed(game("oval"), settings).track).line) == 1001
    assert len(course_of(before.track).line) == 501


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
