"""The keyboard as a device: what is pressed and released, and in which order; and X11's, on a real display."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from tests.support.display import virtual_display
from tests.support.x11 import Person, connected, keycode, keys_down
from tmrld.envs.trackmania.controls import PRESS_S, Key
from tmrld.envs.trackmania.input_win32 import OURS, SCANS, AnyInput, HookedKey, Input, KeyboardInput, MouseInput, stroke, touch
from tmrld.envs.trackmania.keyboard import Keyboard
from tmrld.envs.trackmania.keys_x11 import Echoes, X11Keys
from tmrld.errors import GameError

NOTHING = set[str]()


class WrittenKeys:
    """`Keys` that are written down: "+gas" is pressed, "-gas" released, "|" is a flush."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def press(self, key: Key) -> None:
        self.written.append(f"+{key.value}")

    def release(self, key: Key) -> None:
        self.written.append(f"-{key.value}")

    def flush(self) -> None:
        self.written.append("|")

    def watch(self, touched: Callable[[int, bool], None], ended: Callable[[Exception], None]) -> None:
        raise AssertionError("a keyboard watches nobody")

    def is_down(self, key: int) -> bool:
        raise AssertionError("a keyboard watches nobody")

    def close(self) -> None:
        self.written.append("closed")

    def since(self) -> str:
        """What was written since the last call."""
        written, self.written = self.written, []
        return " ".join(written)


@pytest.fixture
def keys() -> WrittenKeys:
    return WrittenKeys()


@pytest.fixture
def keyboard(keys: WrittenKeys) -> Keyboard:
    """One that is about to begin."""
    keyboard = Keyboard(keys, lambda seconds: keys.written.append(f"{seconds:g}s"))
    keys.since()
    return keyboard


def test_a_new_keyboard_lets_go_of_every_key(keys: WrittenKeys) -> None:
    Keyboard(keys)
    assert keys.since() == "-gas -brake -left -right -reset -confirm |"


def test_only_what_changes_is_pressed_and_releases_come_first(keys: WrittenKeys, keyboard: Keyboard) -> None:
    keyboard.hold(1.0, 0.0, -1.0)
    assert keys.since() == "+gas +left |"
    keyboard.hold(0.5, 0.0, 1.0)
    assert keys.since() == "-left +right |"
    keyboard.hold(0.7, 0.0, 0.9)
    assert keys.since() == ""
    keyboard.neutral()
    assert keys.since() == "-gas -right |"


def test_what_restarts_the_race_is_pressed_alone_for_a_while(keys: WrittenKeys, keyboard: Keyboard) -> None:
    keyboard.hold(1.0, 1.0, 0.0)
    keys.since()
    keyboard.reset_race()
    assert keys.since() == f"-gas -brake +reset | {PRESS_S:g}s -reset |"
    keyboard.close_pop_up()
    assert keys.since() == f"+confirm | {PRESS_S:g}s -confirm |"


def test_closing_lets_go(keys: WrittenKeys, keyboard: Keyboard) -> None:
    keyboard.hold(1.0, 0.0, 0.0)
    keys.since()
    keyboard.close()
    assert keys.since() == "-gas | closed"


# Echoes


def test_an_event_that_comes_back_once_too_often_is_somebody_elses() -> None:
    echoes = Echoes()
    echoes.made(111, True)
    echoes.made(111, True)
    assert echoes.is_ours(111, True)
    assert not echoes.is_ours(111, False)
    assert not echoes.is_ours(113, True)
    assert echoes.is_ours(111, True)
    assert not echoes.is_ours(111, True)


def test_an_event_that_never_came_back_hides_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    echoes = Echoes()
    now = 100.0
    monkeypatch.setattr("tmrld.envs.trackmania.keys_x11.time.monotonic", lambda: now)
    echoes.made(111, True)
    now = 102.0
    assert not echoes.is_ours(111, True)


# X11


def test_keys_go_down_and_up(display: str) -> None:
    keyboard = Keyboard(X11Keys())
    keyboard.hold(1.0, 1.0, 1.0)
    assert keys_down() == {"Up", "Down", "Right"}
    keyboard.hold(0.0, 0.0, -1.0)
    assert keys_down() == {"Left"}
    keyboard.close()
    assert keys_down() == NOTHING


def test_a_key_that_somebody_died_on_is_released(display: str) -> None:
    with Person() as somebody:
        somebody.press("Up")
        assert keys_down() == {"Up"}
        Keyboard(X11Keys()).close()
        assert keys_down() == NOTHING


def test_a_display_tells_whether_a_key_is_down(display: str) -> None:
    keys = X11Keys()
    with connected() as another:
        code = keycode(another, "w")
    with Person() as somebody:
        assert not keys.is_down(code)
        somebody.press("w")
        assert keys.is_down(code)
        somebody.release("w")
        assert not keys.is_down(code)
    keys.close()


def test_no_key_is_down_on_a_display_that_is_gone(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with virtual_display(200, 100) as name:
        monkeypatch.setenv("DISPLAY", name)
        keys = X11Keys()
        with Person() as somebody, connected() as another:
            code = keycode(another, "w")
            somebody.press("w")
            assert keys.is_down(code)
    assert not keys.is_down(code)


@pytest.mark.parametrize("name", ["", "nonsense"])
def test_a_display_that_is_not_there_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DISPLAY", name)
    with pytest.raises(GameError, match=r"the X11 display cannot be reached .*with DISPLAY set"):
        X11Keys()


# Windows

BITS_64 = ctypes.sizeof(ctypes.c_void_p) == 8
EXTENDED, UP = 0x1, 0x80
"""Of the flags that a keyboard hook is told."""


def test_structures_have_the_sizes_of_windows() -> None:
    sizes = [ctypes.sizeof(each) for each in (Input, AnyInput, MouseInput, KeyboardInput, HookedKey)]
    assert sizes == ([40, 32, 32, 24, 24] if BITS_64 else [28, 24, 24, 16, 20])
    extra = [each.dwExtraInfo.offset for each in (MouseInput, KeyboardInput, HookedKey)]
    assert extra == ([24, 16, 16] if BITS_64 else [20, 12, 16])
    assert Input.any.offset == (8 if BITS_64 else 4)


@pytest.mark.parametrize(
    ("key", "down", "flags"),
    [(Key.GAS, True, 0x8), (Key.GAS, False, 0xA), (Key.RESET, True, 0x9), (Key.RESET, False, 0xB)],
)
def test_a_stroke_is_a_scan_code_and_says_that_it_is_ours(key: Key, down: bool, flags: int) -> None:
    made = stroke(key, down)
    assert made.type == 1
    assert (made.any.ki.wVk, made.any.ki.wScan, made.any.ki.dwFlags) == (0, SCANS[key][0], flags)
    assert made.any.ki.dwExtraInfo == OURS


@pytest.mark.parametrize("injected", [0x0, 0x10])  # remote desktops and keyboards on the screen make keys for persons
def test_a_key_of_the_game_that_is_not_ours_is_a_persons(injected: int) -> None:
    assert touch(HookedKey(0x57, 0x11, injected, 0, 0)) == (0x57, True)
    assert touch(HookedKey(0x57, 0x11, injected | UP, 0, 1)) == (0x57, False)
    assert touch(HookedKey(0x2E, 0x53, injected | EXTENDED, 0, 0)) == (0x2E, True)


def test_keys_that_we_press_or_that_do_not_drive_are_nobodys() -> None:
    assert touch(HookedKey(0x57, 0x11, 0x10, 0, OURS)) is None
    assert touch(HookedKey(0x51, 0x10, 0, 0, 0)) is None  # Q
    assert touch(HookedKey(0x6E, 0x53, 0, 0, 0)) is None  # the dot of the number pad, where Delete is an extended key
