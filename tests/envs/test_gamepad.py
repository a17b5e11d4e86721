"""The gamepad as games see it: vgamepad's own, over a stand-in for /dev/uinput."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import uinput
from tests.support.uinput import ABS_X, ABS_Y, ABS_Z, BTN_EAST, BTN_SOUTH, EV_KEY, Pad
from tmrld.envs.trackmania.controls import PRESS_S
from tmrld.envs.trackmania.guarded import GuardedControls
from tmrld.errors import GameError

GAS, BRAKE, STEER = uinput.ABS_RZ, ABS_Z, ABS_X
STEP_S = 60.0
"""No step is missed here."""


@pytest.fixture
def pad(tmp_path: Path, uinput_library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pad]:
    """What the program's pad tells; how it is set up is in the file "setup"."""
    pad = Pad(tmp_path / "pad")
    variables = uinput.environment(uinput_library, tmp_path / "pad", tmp_path / "setup")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DISPLAY", raising=False)
    yield pad
    pad.close()


@pytest.fixture
def controls(pad: Pad) -> Iterator[GuardedControls]:
    """A gamepad that is plugged in."""
    controls = GuardedControls("gamepad", "Trackmania", STEP_S, 5.0, plug_in_s=0.0)
    yield controls
    controls.close()


def test_the_pad_is_an_xbox_pad_until_it_is_closed(controls: GuardedControls, tmp_path: Path) -> None:
    setup = (tmp_path / "setup").read_text().splitlines()
    assert "name Microsoft X-Box 360 pad" in setup
    assert setup[-1] == "create"
    controls.close()
    assert (tmp_path / "setup").read_text().splitlines()[-1] == "destroy"


def test_a_new_pad_is_left_alone_until_the_game_has_noticed_it(pad: Pad, tmp_path: Path) -> None:
    controls = GuardedControls("gamepad", "Trackmania", STEP_S, 5.0, plug_in_s=0.5)
    try:
        assert (tmp_path / "setup").read_text().splitlines()[-1] == "create"
        assert time.time() - (tmp_path / "setup").stat().st_mtime >= 0.5
        pad.look()
        assert pad.is_neutral
    finally:
        controls.close()


def test_full_is_full_by_the_range_that_the_pad_announces(pad: Pad, controls: GuardedControls, tmp_path: Path) -> None:
    lines = [line.split()[1:] for line in (tmp_path / "setup").read_text().splitlines() if line.startswith("abs ")]
    ranges = {int(axis): (int(least), int(most)) for axis, least, most in lines}
    assert ranges[GAS] == ranges[BRAKE] == (0, 255)
    assert ranges[STEER] == (-32768, 32767)
    controls.hold(1.0, 1.0, 1.0)
    pad.await_that(lambda: pad.axes[STEER] == 32767)
    assert (pad.axes[GAS], pad.axes[BRAKE]) == (255, 255)
    controls.hold(0.0, 0.0, -1.0)
    pad.await_that(lambda: pad.axes[STEER] == -32767)
    assert (pad.axes[GAS], pad.axes[BRAKE]) == (0, 0)


def test_what_lies_between_is_told_as_it_is(pad: Pad, controls: GuardedControls) -> None:
    controls.hold(0.5, 0.25, 0.1)
    pad.await_that(lambda: pad.axes[STEER] != 0)
    assert (pad.axes[GAS], pad.axes[BRAKE], pad.axes[STEER]) == (128, 64, 3277)
    assert pad.axes[ABS_Y] == -1  # the middle, as the kernel's own driver tells it
    assert not pad.buttons


def test_actions_beyond_the_range_are_cut_off(pad: Pad, controls: GuardedControls) -> None:
    controls.hold(1.7, -0.5, -3.0)
    pad.await_that(lambda: pad.axes[STEER] == -32767)
    assert (pad.axes[GAS], pad.axes[BRAKE]) == (255, 0)


def test_neutral_lets_go_of_everything_before_it_returns(pad: Pad, controls: GuardedControls) -> None:
    controls.hold(1.0, 1.0, 1.0)
    controls.neutral()
    pad.look()
    assert len(pad.changes) > 3
    assert pad.is_neutral


@pytest.mark.parametrize(("method", "button"), [("reset_race", BTN_EAST), ("close_pop_up", BTN_SOUTH)])
def test_a_button_is_pressed_alone_for_a_while(pad: Pad, controls: GuardedControls, method: str, button: int) -> None:
    controls.hold(1.0, 0.0, 1.0)
    pad.await_that(lambda: pad.axes[STEER] == 32767)
    before = len(pad.changes)
    getattr(controls, method)()
    pad.look()
    presses = [(when, value) for when, kind, code, value in pad.changes[before:] if (kind, code) == (EV_KEY, button)]
    assert [value for _, value in presses] == [1, 0]
    assert presses[1][0] - presses[0][0] >= PRESS_S * 0.9
    assert pad.is_neutral  # the triggers were let go of, too


@pytest.mark.parametrize(
    ("number", "advice"), [(2, "sudo modprobe uinput"), (13, "sudo setfacl -m u:"), (19, "sudo modprobe uinput")]
)
def test_a_pad_that_cannot_be_had_is_an_error_that_says_what_to_do(
    tmp_path: Path, uinput_library: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    for name, value in uinput.environment(uinput_library, tmp_path / "pad", error=number).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(GameError) as failure:
        GuardedControls("gamepad", "Trackmania", STEP_S, 5.0)
    assert str(failure.value).startswith("there is no virtual gamepad (")
    assert advice in str(failure.value)
    assert str(failure.value).endswith("or set environment.trackmania.controls to 'keyboard'")
