"""The stand-in's window in this process: gamepads that SDL finds, and what is drawn over the picture."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pygame
import pytest
from numpy.typing import NDArray

from tests.support.standin import until
from tmrld.envs.sim.tracks import SHORT
from tmrld.envs.standin import signs
from tmrld.envs.standin.game import Game
from tmrld.envs.standin.inputs import NOTHING_HELD, Held, Press
from tmrld.envs.standin.race import IMPROVE, Phase, Race
from tmrld.envs.standin.window import Heard, Window

LEFT_X, LEFT_TRIGGER, RIGHT_TRIGGER = 0, 4, 5
A, B = 0, 1
LOW, HIGH = -32768, 32767


class VirtualPad:
    """A gamepad of SDL's own, as good as plugged in."""

    def __init__(self) -> None:
        loaded = Path("/proc/self/maps").read_text().split()
        self._sdl = ctypes.CDLL(next(path for path in loaded if "/libSDL2-2" in path))
        self._sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        a_gamepad, axes, buttons, hats = 1, 6, 15, 0
        self._index = self._sdl.SDL_JoystickAttachVirtual(a_gamepad, axes, buttons, hats)
        assert self._index >= 0
        self._pad = ctypes.c_void_p(self._sdl.SDL_JoystickOpen(self._index))

    def move(self, axis: int, value: int) -> None:
        self._sdl.SDL_JoystickSetVirtualAxis(self._pad, axis, ctypes.c_int16(value))

    def turn(self, button: int, *, down: bool) -> None:
        self._sdl.SDL_JoystickSetVirtualButton(self._pad, button, ctypes.c_uint8(down))

    def unplug(self) -> None:
        self._sdl.SDL_JoystickDetachVirtual(self._index)


@pytest.fixture
def window(display: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    for name in (
        "FRAMEBUFFER_ACCELERATION",
        "JOYSTICK_ALLOW_BACKGROUND_EVENTS",
        "VIDEO_ALLOW_SCREENSAVER",
        "VIDEO_X11_WMCLASS",
    ):
        monkeypatch.setenv(f"SDL_{name}", "1" if name.endswith("EVENTS") else "0")
    monkeypatch.setenv("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")
    window = Window("A window", 320, 160)
    yield window
    window.close()
    window.close()


def heard(window: Window, condition: Callable[[Heard], bool], what: str) -> Heard:
    """The first thing heard for which that is so."""
    latest = Heard()

    def is_so() -> bool:
        nonlocal latest
        latest = window.hear()
        return condition(latest)

    until(is_so, what)
    return latest


def shown(window: Window, phase: Phase, lap_time_s: float | None, *, in_menu: bool = False) -> NDArray[np.uint8]:
    """The picture in RGB, (height, width, 3)."""
    window.show(Game(SHORT, Race(0.0)).viewpoint, phase, lap_time_s, in_menu=in_menu)
    screen = pygame.display.get_surface()
    assert screen is not None
    return pygame.surfarray.array3d(screen).swapaxes(0, 1)


def test_a_gamepad_that_is_plugged_in_drives_until_it_is_pulled_out(window: Window) -> None:
    assert window.hear() == Heard()
    pad = VirtualPad()
    for axis, value in ((LEFT_X, 0), (LEFT_TRIGGER, LOW), (RIGHT_TRIGGER, LOW)):
        pad.move(axis, value)
    pad.move(RIGHT_TRIGGER, HIGH)
    pad.move(LEFT_X, LOW)
    heard(window, lambda heard: heard.held == Held(gas=1.0, steer=-1.0), "it drives")
    pad.move(RIGHT_TRIGGER, LOW)
    pad.move(LEFT_TRIGGER, HIGH)
    pad.move(LEFT_X, HIGH)
    heard(window, lambda heard: heard.held == Held(brake=1.0, steer=1.0), "it brakes")
    pad.turn(B, down=True)
    heard(window, lambda heard: heard.presses == [Press.GIVE_UP], "B is pressed")
    pad.turn(A, down=True)
    heard(window, lambda heard: heard.presses == [Press.CONFIRM], "A is pressed, too")
    pad.turn(B, down=False)
    assert window.hear().presses == []
    pad.unplug()
    heard(window, lambda heard: heard.held == NOTHING_HELD, "it is gone")


def test_a_click_is_told_as_shares_of_the_window(window: Window) -> None:
    window.hear()
    for button in (1, 3):
        pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=button, pos=(159, 119), touch=False))
    ((across, down),) = window.hear().clicks
    assert (across, down) == (159.5 / 320, 119.5 / 160)


@pytest.mark.parametrize("phase", [Phase.COUNTDOWN, Phase.DRIVING, Phase.FINISHED])
def test_while_the_car_drives_there_is_nothing_but_the_scene(window: Window, phase: Phase) -> None:
    picture = shown(window, phase, None)
    assert np.array_equal(picture, window._painter.frame.view(np.uint8).reshape(160, 320, 4)[..., 2::-1])


def test_the_pop_up_has_its_button_where_a_click_counts(window: Window) -> None:
    picture, scene = shown(window, Phase.POP_UP, 83.0456), shown(window, Phase.DRIVING, None)
    left, top, right, bottom = IMPROVE
    inside = picture[round(top * 160) + 2 : round(bottom * 160) - 2, round(left * 320) + 2 : round(right * 320) - 2]
    assert np.median(inside.reshape(-1, 3), axis=0) == pytest.approx(signs.ACCENT, abs=8)
    assert (picture[0, 0] < scene[0, 0]).all()  # what is behind it is darker
    assert signs._clock(83.0456) == "1:23.046"


def test_each_finish_shows_its_own_time_and_the_menu_none(window: Window) -> None:
    one, other = shown(window, Phase.POP_UP, 31.0), shown(window, Phase.POP_UP, 32.0)
    menu = shown(window, Phase.POP_UP, 32.0, in_menu=True)
    assert not np.array_equal(one, other)
    assert not np.array_equal(other, menu)
    assert np.array_equal(shown(window, Phase.POP_UP, 31.0), one)
