"""What a test does on an X11 display beside the program that it tests: a window, a person at the keyboard, which keys are down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from Xlib import XK, X
from Xlib import display as xlib
from Xlib.ext import xtest

NAMES = ("Up", "Down", "Left", "Right", "w", "a", "s", "d", "q", "space", "Return", "BackSpace", "Delete", "Escape")


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """The display that DISPLAY names."""
    display = xlib.Display()
    try:
        yield display
    finally:
        display.close()


def keycode(display: Any, name: str) -> int:
    """The key of that keysym's name."""
    return int(display.keysym_to_keycode(XK.string_to_keysym(name)))


def keys_down() -> set[str]:
    """Those of `NAMES` that are down now."""
    with connected() as display:
        bits = display.query_keymap()
        codes = {name: keycode(display, name) for name in NAMES}
    return {name for name, code in codes.items() if bits[code // 8] & 1 << code % 8}


def now() -> float:
    """The display's clock, in seconds, as `Game.told` tells when something was."""
    with connected() as display:
        window = display.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent, event_mask=X.PropertyChangeMask)
        window.set_wm_name("what time is it?")
        return float(display.next_event().time) / 1000


class Person:
    """Presses keys, as anybody may through XTEST; lets go of them in the end."""

    def __enter__(self) -> Self:
        self._display = xlib.Display()
        self._down: set[str] = set()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for name in list(self._down):
            self.release(name)
        self._display.close()

    def press(self, name: str) -> None:
        """Returns when the display has it."""
        self._down.add(name)
        self._make(X.KeyPress, name)

    def release(self, name: str) -> None:
        """Likewise."""
        self._down.discard(name)
        self._make(X.KeyRelease, name)

    def _make(self, kind: int, name: str) -> None:
        xtest.fake_input(self._display, kind, keycode(self._display, name))
        self._display.sync()


class Game:
    """A window that notes which keys reach it."""

    def __init__(self, title: str) -> None:
        self._display = xlib.Display()
        root = self._display.screen().root
        events = X.KeyPressMask | X.KeyReleaseMask | X.StructureNotifyMask
        self._window = root.create_window(0, 0, 200, 100, 0, X.CopyFromParent, event_mask=events)
        self._window.set_wm_name(title)
        self._window.map()
        while self._display.next_event().type != X.MapNotify:
            pass
        self.focus()

    def focus(self) -> None:
        """Keys come here from now on."""
        self._window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self._display.sync()

    def told(self) -> list[tuple[str, str, float]]:
        """What has reached it since the last call: "+" or "-", the key, and when in seconds of the display's clock.

        What the display repeats for a key that is held is left out.
        """
        names = {keycode(self._display, name): name for name in NAMES}
        self._display.sync()
        told, down = [], set[str]()
        while self._display.pending_events():
            event = self._display.next_event()
            if event.type not in (X.KeyPress, X.KeyRelease):
                continue
            name = names[event.detail]
            if event.type == X.KeyRelease and self._repeats(event):
                self._display.next_event()
            elif event.type == X.KeyRelease:
                down.discard(name)
                told.append(("-", name, event.time / 1000))
            elif name not in down:
                down.add(name)
                told.append(("+", name, event.time / 1000))
        return told

    def _repeats(self, release: Any) -> bool:
        """Whether the next event presses the same key at the same time."""
        if not self._display.pending_events():
            return False
        following = self._display.display.event_queue[0]
        return bool(following.type == X.KeyPress and following.detail == release.detail and following.time == release.time)

    def close(self) -> None:
        """The window goes away."""
        self._display.close()
