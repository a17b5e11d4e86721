"""`tmrld env view`: what it writes into files, and what it says of mistakes."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from tmrld.cli import main

LIDAR_ID = "tmrld/TM20Lidar-v0"
GAME = ("--set", "run.environment.game=trackmania", "--set", "run.environment.clock=realtime")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes settings and data of whoever runs it, or finds a display."""
    monkeypatch.chdir(tmp_path)
    for variable in ("TMRLD_CONFIG", "TMRLD_DATA", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence that the command prints instead of doing anything."""
    assert main(["env", "view", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tmrld: ")
    return captured.err.removeprefix("tmrld: ").rstrip("\n")


def test_a_png_shows_the_middle_of_the_episode(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "view", "--out", "moment.png", "--steps", "10"]) == 0
    assert capsys.readouterr().out == "moment.png: step 6 of 10, 0.30 s after the start, 0% of the track\n"
    with Image.open("moment.png") as image:
        assert (image.format, image.size) == ("PNG", (1280, 720))


def test_a_png_shows_the_moment_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "view", LIDAR_ID, "--out", "late.PNG", "--seconds", "0.5", "--at", "0.45", "--track", "long"]) == 0
    assert capsys.readouterr().out == "late.PNG: step 9 of 10, 0.45 s after the start, 0% of the track\n"


def test_more_steps_than_an_episode_may_have_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "view", "--out", "a.png", "--steps", "12", "--set", "run.environment.max_steps=5"]) == 0
    assert "step 7 of 12" in capsys.readouterr().out


def test_an_mp4_has_a_frame_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "view", "--out", "lap.mp4", "--steps", "4", "--policy", "random", "--seed", "5", "--perturbed"]) == 0
    assert capsys.readouterr().out.startswith("lap.mp4: 4 steps, 0.2 s, 0% of the track, drawn at ")
    with av.open("lap.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "lap.gif"], "--out 'lap.gif' ends in '.gif': expected .png for a picture or .mp4 for a video"),
        (["--out", "lap"], "--out 'lap' has no ending: expected .png for a picture or .mp4 for a video"),
        (["--out", "gone/lap.mp4"], "--out 'gone/lap.mp4' is to be written into 'gone', which is no folder: make it"),
        (["--out", "folder.png"], "--out 'folder.png' is a folder: name a file"),
        (["--out", "lap.mp4", "--at", "3"], "--at picks the moment of a .png, and lap.mp4 shows the whole episode"),
        (["--out", "a.png", "--steps", "3", "--at", "9"], "the episode has ended 9 s after its start: it lasts 0.15 s"),
        (["Pendulum-v1", "--out", "a.png"], "Pendulum-v1 has no picture to film: the simulator has, in tmrld/TM20"),
        (["--out", "a.png", *GAME], "game='trackmania' has no picture to film"),
        (
            ["--out", "a.png", "--policy", "human"],
            "--out shows an episode that a policy has driven: leave it out to drive yourself",
        ),
        (["--at", "3"], "--at picks the moment of a .png: name one with --out, or leave it out"),
        (["Pendulum-v1"], "Pendulum-v1 has no picture to show: tmrld/TM20"),
        (["Pendulum-v1", "--policy", "human"], "Pendulum-v1 cannot be driven by hand: only tmrld/TM20"),
        ([], "there is no display here to open a window on (DISPLAY is not set): run it on a desktop, or write a picture"),
        (["--out", "a.png", "--track", "nowhere"], "nowhere"),
        (["--out", "a.png", "--policy", "missing"], "'missing' is neither random nor scripted nor a file"),
    ],
)
def test_what_cannot_be_shown_is_told_why(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.png").mkdir()
    assert sentence in complaint(capsys, *arguments)
    assert [path.name for path in Path().iterdir()] == ["folder.png"]


def test_a_machine_without_pyav_is_told_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["env", "view", "--out", "lap.mp4"]) == 1
    assert capsys.readouterr().err == "tmrld: this needs av, which is not installed here: pip install 'tmrld[view]'\n"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_seconds_that_are_none_are_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["env", "view", "--out", "a.png", f"--seconds={value}"])
    assert f"{value!r} is no number of seconds above 0" in capsys.readouterr().err
