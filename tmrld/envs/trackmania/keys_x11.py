"""Keys under X11: pressed with the XTEST extension, watched with XInput 2, which tells all raw key events of the keyboard.

An event of XTEST comes back as a raw one, and nothing in it tells who made it.  So we count our own as we make them, and as they
come back: what comes in excess of them is somebody else's.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

from tmrld.envs.scheduling import run_soon
from tmrld.envs.trackmania.controls import Key
from tmrld.errors import GameError

_KEYSYMS = {
    Key.GAS: "Up",
    Key.BRAKE: "Down",
    Key.LEFT: "Left",
    Key.RIGHT: "Right",
    Key.RESET: "BackSpace",
    Key.CONFIRM: "Return",
}
"""The game's own keys.  Keysym names of X11."""
_WATCHED = (*_KEYSYMS.values(), "w", "a", "s", "d", "space", "Delete", "Escape")
"""What a person presses to drive, or to be left alone."""
_ADVICE = "set environment.trackmania.controls to 'gamepad'"
_RAW_KEY = struct.Struct("=HII")
"""Device, time and keycode: a raw event of XInput 2 after what all generic events begin with (XI2proto.h, xXIRawEvent)."""
_ECHO_S = 1.0
"""An event of ours that has not come back after this long never will."""


class Echoes:
    """The key events that we have made and that have not come back.  Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: defaultdict[tuple[int, bool], deque[float]] = defaultdict(deque)  # when each was made

    def made(self, keycode: int, down: bool) -> None:
        """We are about to make this event."""
        with self._lock:
            made = self._made[keycode, down]
            made.append(time.monotonic())
            while made[0] < made[-1] - _ECHO_S:
                made.popleft()

    def is_ours(self, keycode: int, down: bool) -> bool:
        """Whether the event that has just come is one of those."""
        with self._lock:
            made = self._made[keycode, down]
            while made:
                if made.popleft() >= time.monotonic() - _ECHO_S:
                    return True
            return False


class X11Keys:
    """The `Keys` of an X11 display.  They reach whatever window has the focus."""

    def __init__(self) -> None:
        """Raises GameError where there is no display, or one without XTEST."""
        with _in_words():
            from Xlib import X
            from Xlib.ext import xtest

            self._display = _connect()
            if self._display.query_extension("XTEST") is None:
                self._display.close()
                raise GameError(f"this X11 display lets nobody press keys: it lacks the extension XTEST; {_ADVICE}")
            codes = {key: _keycode(self._display, name) for key, name in _KEYSYMS.items()}
        missing = [_KEYSYMS[key] for key, code in codes.items() if not code]
        if missing:
            self._display.close()
            raise GameError(f"the keyboard of this X11 display has no key {', '.join(missing)}; {_ADVICE}")
        self._codes = codes
        self._echoes: Echoes | None = None  # nobody looks out for them yet
        self._fake_input = xtest.fake_input
        self._kinds = {True: X.KeyPress, False: X.KeyRelease}

    def press(self, key: Key) -> None:
        self._make(self._codes[key], True)

    def release(self, key: Key) -> None:
        self._make(self._codes[key], False)

    def flush(self) -> None:
        with _in_words():
            self._display.sync()

    def watch(self, touched: Callable[[int, bool], None], ended: Callable[[Exception], None]) -> None:
        with _in_words():
            from Xlib.ext import xinput

            display = _connect()
            extension = display.query_extension(xinput.extname)
            if extension is None:
                raise GameError("this X11 display tells nobody of keys: it lacks the extension XInput")
            opcode = extension.major_opcode
            # From 2.1 on, raw events are told even while a program has the keyboard to itself, as games like to.
            xinput.XIQueryVersion(display=display.display, opcode=opcode, major_version=2, minor_version=1)
            root = display.screen().root
            root.xinput_select_events([(xinput.AllMasterDevices, xinput.RawKeyPressMask | xinput.RawKeyReleaseMask)])
            display.sync()
        self._echoes = Echoes()
        watch = threading.Thread(
            target=self._watch, args=(display, opcode, touched, ended, self._echoes), name="watch the keyboard", daemon=True
        )
        watch.start()

    def is_down(self, key: int) -> bool:
        try:
            with _in_words():
                return bool(self._display.query_keymap()[key // 8] & 1 << key % 8)
        except GameError:
            return False

    def close(self) -> None:
        with _in_words():
            self._display.close()

    def _make(self, keycode: int, down: bool) -> None:
        with _in_words():
            if self._echoes is not None:
                self._echoes.made(keycode, down)
            self._fake_input(self._display, self._kinds[down], keycode)

    def _watch(
        self,
        display: Any,
        opcode: int,
        touched: Callable[[int, bool], None],
        ended: Callable[[Exception], None],
        echoes: Echoes,
    ) -> None:
        """Thread: until the display is gone."""
        from Xlib.ext import ge, xinput

        kinds = {xinput.RawKeyPress: True, xinput.RawKeyRelease: False}
        watched = {_keycode(display, name) for name in _WATCHED} - {0}
        run_soon()
        try:
            with _in_words():
                while True:
                    event = display.next_event()
                    if event.type != ge.GenericEventCode or event.extension != opcode or event.evtype not in kinds:
                        continue
                    _, _, keycode = _RAW_KEY.unpack_from(event.data)
                    if keycode in watched and not echoes.is_ours(keycode, kinds[event.evtype]):
                        touched(keycode, kinds[event.evtype])
        except Exception as error:  # GameError, when the display is gone
            ended(error)


def _connect() -> Any:
    """A connection to the display that DISPLAY names."""
    from Xlib import display

    return display.Display()


def _keycode(display: Any, keysym: str) -> int:
    """The key that makes this symbol; 0 when none does."""
    from Xlib import XK

    return int(display.keysym_to_keycode(XK.string_to_keysym(keysym)))


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """What python-xlib raises becomes a GameError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise GameError(
            f'keys are pressed and watched through {error.name}, which is missing: pip install "tmrld[game]"'
        ) from error
    except GameError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "Xlib" or isinstance(error, OSError):
            raise GameError(
                f"the X11 display cannot be reached ({type(error).__name__}: {error}): start this in the graphical session in which "
                "the game runs, with DISPLAY set"
            ) from error
        raise
