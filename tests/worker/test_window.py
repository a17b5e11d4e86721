"""A window: what is drawn in it is on the screen, and what a person presses is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import mss
import numpy as np
import pygame
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.x11 import Person, connected
from tmrld.envs.trackmania.windows import Area
from tmrld.errors import BadInput
from tmrld.worker.window import Keys, PictureWindow, _check_display, beside, in_corner

PATIENCE_S = 60.0
TITLE = "tmrld · a test"


@pytest.fixture
def window(display: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PictureWindow]:
    """A window that has the keyboard's focus."""
    monkeypatch.setenv("DISPLAY", display)
    with PictureWindow(TITLE, 320, 180, place=None, instead="do something else") as window:
        window.show()
        focus(pygame.display.get_wm_info()["window"])
        until(lambda: pygame.key.get_focused(), window)
        yield window


def focus(id: int) -> None:
    """As a click on a window does where there is a window manager."""
    with connected() as x:
        x.create_resource_object("window", id).set_input_focus(2, 0)
        x.sync()


def until(condition: Callable[[], Any], window: PictureWindow) -> Keys:
    """Take what comes until it is so; what a person did meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    held, pressed, seconds = frozenset[str](), frozenset[str](), 0.0
    while not condition():
        assert time.monotonic() < deadline
        keys = window.keys()
        held, pressed, seconds = keys.held, pressed | keys.pressed, seconds + keys.seconds
    return Keys(held, pressed, seconds)


def screen(window: PictureWindow) -> np.ndarray:
    """What the screen shows where the window is: RGB."""
    left, top = pygame.display.get_window_position()
    width, height = pygame.display.get_window_size()
    with mss.MSS() as camera:
        shot = camera.grab({"left": left, "top": top, "width": width, "height": height})
    return np.array(shot)[:, :, 2::-1]


def test_what_is_drawn_is_on_the_screen(window: PictureWindow) -> None:
    window.surface.fill((10, 200, 30))
    pygame.draw.rect(window.surface, (250, 0, 0), (0, 0, 160, 180))
    window.show()

    def shown() -> bool:
        seen = screen(window)
        return bool((seen[90, 80] == (250, 0, 0)).all() and (seen[90, 240] == (10, 200, 30)).all())

    until(shown, window)


def test_a_larger_window_shows_the_same_picture_larger(window: PictureWindow) -> None:
    with connected() as x:
        x.create_resource_object("window", pygame.display.get_wm_info()["window"]).configure(width=640, height=400)
        x.sync()
    until(lambda: pygame.display.get_window_size() == (640, 400), window)
    window.surface.fill((0, 0, 250))
    window.show()

    def shown() -> bool:
        seen = screen(window)  # 640 × 360, and black above and below
        return bool((seen[200, 320] == (0, 0, 250)).all() and not seen[5].any() and (seen[25, 5] == (0, 0, 250)).all())

    until(shown, window)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        *(("Up", "gas"), ("Down", "brake"), ("Left", "left"), ("Right", "right")),
        *(("w", "gas"), ("s", "brake"), ("a", "left"), ("d", "right")),
    ],
)
def test_keys_for_driving_are_told_as_long_as_they_are_held(window: PictureWindow, key: str, what: str) -> None:
    now = frozenset[str]()

    def held() -> frozenset[str]:
        nonlocal now
        now = window.keys().held
        return now

    with Person() as person:
        person.press(key)
        until(lambda: held() == {what}, window)
        person.release(key)
        until(lambda: not held(), window)


@pytest.mark.parametrize(("key", "what"), [("BackSpace", "again"), ("Escape", "end"), ("q", "q")])
def test_other_keys_are_told_once(window: PictureWindow, key: str, what: str) -> None:
    seen: list[str] = []

    def told() -> bool:
        seen.extend(window.keys().pressed)
        return bool(seen)

    with Person() as person:
        person.press(key)
        person.release(key)
        until(told, window)
    assert seen == [what]
    assert not window.keys().pressed


def test_to_close_the_window_is_to_end(window: PictureWindow) -> None:
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert "end" in window.keys().pressed


def test_who_leaves_the_window_lets_go_of_everything(window: PictureWindow) -> None:
    held = frozenset[str]()

    def look() -> frozenset[str]:
        nonlocal held
        held = window.keys().held
        return held

    with Person() as person, connected() as x:
        person.press("Up")
        until(look, window)
        x.screen().root.set_input_focus(2, 0)
        x.sync()
        until(lambda: not look(), window)


def test_it_is_where_it_was_placed_and_as_small(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    with PictureWindow(TITLE, 640, 360, place=Area(700, 500, 480, 270), instead="") as window:
        window.show()
        until(lambda: pygame.display.get_window_position() == (700, 500), window)
        assert pygame.display.get_window_size() == (480, 270)
        assert window.surface.get_size() == (640, 360)


# Beside the game

FULL_HD = Area(0, 0, 1920, 1080)


@pytest.mark.parametrize(
    ("game", "screen", "place"),
    [
        (Area(0, 0, 958, 488), FULL_HD, Area(960, 540, 960, 540)),  # to the right
        (Area(481, 296, 958, 488), FULL_HD, Area(1439, 810, 481, 270)),  # little is left
        (Area(962, 592, 958, 488), FULL_HD, Area(2, 540, 960, 540)),  # to the left
        (Area(0, 0, 1900, 600), FULL_HD, Area(1138, 640, 782, 440)),  # below
        (Area(0, 480, 1900, 600), FULL_HD, Area(1209, 40, 711, 400)),  # above
        (Area(0, 0, 1920, 1080), Area(-1280, 0, 3200, 1080), Area(-960, 540, 960, 540)),  # on the other monitor
        (Area(0, 0, 958, 488), Area(0, 0, 1280, 790), None),
        (Area(0, 0, 1920, 1080), FULL_HD, None),
    ],
)
def test_it_is_as_large_as_may_be_where_the_game_is_not(game: Area, screen: Area, place: Area | None) -> None:
    assert beside(game, screen, 1280, 720) == place


@given(left=st.integers(0, 2500), top=st.integers(0, 1400), width=st.integers(64, 2560), height=st.integers(64, 1440))
def test_it_never_covers_the_game(left: int, top: int, width: int, height: int) -> None:
    screen, game = Area(0, 0, 2560, 1440), Area(left, top, width, height)
    place = beside(game, screen, 1280, 720)
    assume(place is not None)
    assert place is not None
    assert place.within(screen)
    assert 480 <= place.width <= 960
    apart_x = place.left >= left + width or place.left + place.width <= left
    apart_y = place.top >= top + height or place.top + place.height <= top
    assert apart_x or apart_y


def test_where_there_is_no_room_it_covers_little() -> None:
    assert in_corner(FULL_HD, 1280, 720) == Area(1440, 810, 480, 270)


# Where there is none


def test_without_a_display_it_is_told_what_else_can_be_done() -> None:
    with pytest.raises(BadInput, match=r"no display here to open a window on .*: run it on a desktop, or write a picture"):
        _check_display("write a picture", {}, "linux")
    for system in ("win32", "darwin"):
        _check_display("", {}, system)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        _check_display("", {variable: "x"}, "linux")


def test_a_display_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    with pytest.raises(BadInput, match=r"no window can be opened on this display \(.*\): do something else"):
        PictureWindow(TITLE, 320, 180, place=None, instead="do something else")


def test_without_pygame_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(
        BadInput, match=r'needs pygame-ce, which is not installed here: run `pip install "tmrld\[view\]"`, or else'
    ):
        PictureWindow(TITLE, 320, 180, place=None, instead="else")
