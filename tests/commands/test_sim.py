"""`tmrld sim`: what it says of mistakes and of machines on which it cannot run.  That it runs: `tests.end_to_end.test_standin`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

from tmrld.cli import main
from tmrld.commands.standin import add, port, seconds, size, speed

FREE_PORTS = ("--telemetry-port", "0", "--replay-port", "0")


def run(code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, without a display; ``code`` is run in it before."""
    program = f"{code}\nimport sys\nfrom tmrld.cli import main\nsys.exit(main())"
    left_out = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    command = [sys.executable, "-c", program, "sim", *FREE_PORTS]
    return subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--track", "shrt"], "the simulator has no track called 'shrt': did you mean 'short'?"),
        (
            ["--track", "medium-650-any"],
            "medium-650-any is another track for each episode: name one, for example medium-650-17",
        ),
        (["--gamepad", "missing"], "the gamepad missing cannot be read (No such file or directory): expected a device"),
    ],
)
def test_what_cannot_be_used_is_told_why(flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", *FREE_PORTS, *flags]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"tmrld: {sentence}")


@pytest.mark.parametrize("display", ["", ":4095"], ids=["none", "one that is not there"])
def test_without_a_display_it_says_how_to_have_one(display: str) -> None:
    done = run(**({"DISPLAY": display} if display else {}))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tmrld: no window can be opened (")
    assert done.stderr.endswith(
        "): start it where there is a desktop, or on a display without a screen: "
        "xvfb-run -a -s '-screen 0 1280x800x24' tmrld sim\n"
    )


def test_without_pygame_it_says_what_to_install() -> None:
    done = run("import sys; sys.modules['pygame'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tmrld: the window needs pygame, which is not installed here: pip install 'tmrld[view]'\n"


def test_left_to_itself_it_is_like_the_game() -> None:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    options = parser.parse_args(["sim"])
    assert (options.title, options.size, options.countdown, options.speed) == ("Trackmania", (958, 488), 1.5, 1.0)
    assert (options.telemetry_port, options.replay_port) == (9000, 10000)


# Flags


def test_a_size_is_width_and_height() -> None:
    assert size("958x488") == (958, 488)
    assert size("256×128") == (256, 128)
    for text in ("", "958", "958x", "x488", "958 x 488", "63x488", "958x63", "8193x488", "-958x488", "958x488x3"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no size such as 958x488, of sides from 64 to 8192 pixels"):
            size(text)


def test_a_port_is_a_number_that_ports_have() -> None:
    assert (port("0"), port("9000"), port("65535")) == (0, 9000, 65535)
    with pytest.raises(argparse.ArgumentTypeError, match="65536 is no port: they end with 65535"):
        port("65536")


def test_a_speed_is_above_0_and_within_reason() -> None:
    assert (speed("0.5"), speed("20")) == (0.5, 20.0)
    for text in ("0", "-1", "21", "inf", "nan", "fast"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no factor above 0, up to 20"):
            speed(text)


def test_a_countdown_is_some_seconds_or_none() -> None:
    assert (seconds("0"), seconds("1.5")) == (0.0, 1.5)
    for text in ("-0.1", "inf", "nan", "soon"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no number of seconds from 0 up"):
            seconds(text)
