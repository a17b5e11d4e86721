"""The keyboard as a device: what is pressed and released, and in which order; and X11's, on a real display."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.x11 import Person, keys_down
from tmrld.envs.trackmania.controls import PRESS_S, Key
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

    def watch(self, touched: Callable[[int, bool], None]) -> None:
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


@pytest.mark.parametrize("name", ["", "nonsense"])
def test_a_display_that_is_not_there_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DISPLAY", name)
    with pytest.raises(GameError, match=r"the X11 display cannot be reached .*with DISPLAY set"):
        X11Keys()
