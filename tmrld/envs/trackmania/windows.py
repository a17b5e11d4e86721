"""The game's window: where it is, its size, whether keys reach it.

This module says what a window is and does the arithmetic; `windows_x11` and `windows_win32` know how their systems are asked.
"""

from __future__ import annotations

import contextlib
import difflib
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from tmrld.errors import GameError

PATIENCE_S = 2.0
"""How long a window may take to do what it was asked."""
PAUSE_S = 0.01
"""Between two looks at whether it has."""
ATTEMPTS = 3
"""How often a window is asked to move."""


@dataclass(frozen=True)
class Area:
    """A rectangle of pixels on the screen.  Places may be negative on Windows, where the primary monitor begins at (0, 0)."""

    left: int
    top: int
    width: int
    height: int

    @property
    def size(self) -> str:
        """As people write it."""
        return f"{self.width}x{self.height}"

    def within(self, screen: Area) -> bool:
        """Whether no part of it lies outside of ``screen``."""
        return (
            screen.left <= self.left
            and screen.top <= self.top
            and self.left + self.width <= screen.left + screen.width
            and self.top + self.height <= screen.top + screen.height
        )

    def overlap(self, other: Area) -> int:
        """How many pixels lie in both."""
        width = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        height = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        return max(0, width) * max(0, height)

    def moved_onto(self, screen: Area) -> Area:
        """The nearest place where it lies within ``screen``, which must be large enough."""
        return Area(
            min(max(self.left, screen.left), screen.left + screen.width - self.width),
            min(max(self.top, screen.top), screen.top + screen.height - self.height),
            self.width,
            self.height,
        )

    def corrected(self, wanted: Area, got: Area) -> Area:
        """What to ask for next, when asking for this area led to ``got`` instead of ``wanted``: frames and offsets cancel out."""
        return Area(
            self.left + wanted.left - got.left,
            self.top + wanted.top - got.top,
            self.width + wanted.width - got.width,
            self.height + wanted.height - got.height,
        )


@dataclass(frozen=True)
class Listed:
    """A window as a look at the whole desktop finds it.

    ``area`` is what its program draws, ``outer`` the same with its frame; ``shown`` is False when it is hidden or minimised, and then
    the areas mean nothing.  ``dpi`` and ``awareness`` are Windows' own: how many dots per inch the window is drawn for (96 is a
    scale of 100 %), and whether its program knows of scaling (0 no, 1 of that of one monitor, 2 of each); None elsewhere.
    """

    title: str
    area: Area
    outer: Area
    shown: bool
    dpi: int | None = None
    awareness: int | None = None


class GameWindow(Protocol):
    """A window of another program."""

    def area(self) -> Area:
        """Its client area: what the program draws, without frame and title.  Raises GameError when it is hidden or was closed."""

    def screen(self) -> Area:
        """All monitors together.  Raises GameError when its display has ended."""

    def resize(self, width: int, height: int) -> None:
        """Give the client area this size, and move it onto the screen.

        Raises GameError when the screen is too small, and when the window keeps another size or place, is hidden or was closed.
        """

    def focus(self) -> None:
        """Bring it to the front, so that keys reach it.  Raises GameError when it does not come there, or was closed."""

    def is_focused(self) -> bool:
        """Whether keys reach it.  Raises GameError when it was closed."""

    def close(self) -> None:
        """Let go of the display, not of the window; closing again does nothing.  Raises nothing."""


def find(title: str) -> GameWindow:
    """The visible window of exactly that title, the largest if there are several.  Raises GameError where there is none."""
    if sys.platform == "win32":
        from tmrld.envs.trackmania.windows_win32 import find_win32

        return find_win32(title)
    from tmrld.envs.trackmania.windows_x11 import find_x11

    return find_x11(title)


def desktop() -> list[Listed]:
    """Every window of this desktop, those in front first.  Raises GameError where there is none to look at."""
    if sys.platform == "win32":
        from tmrld.envs.trackmania.windows_win32 import desktop_win32

        return desktop_win32()
    from tmrld.envs.trackmania.windows_x11 import desktop_x11

    return desktop_x11()


def real_pixels() -> contextlib.AbstractContextManager[None]:
    """Meanwhile this thread sees pixels as the monitors have them: Windows scales them for who does not ask, and X11 never does.

    Whoever takes pixels from where `GameWindow.area` says does so within.
    """
    if sys.platform == "win32":
        from tmrld.envs.trackmania.windows_win32 import real_pixels_win32

        return real_pixels_win32()
    return contextlib.nullcontext()


def not_found(title: str, titles: Iterable[str], where: str) -> GameError:
    """The error for a title that no window has; ``titles`` are those of the visible windows on ``where``."""
    near = nearest(title, titles)
    hint = f"; there is one titled {near!r}, which environment.trackmania.window_title may name" if near is not None else ""
    return GameError(f"no visible window on {where} has the title {title!r}: start the game in a window, not minimised{hint}")


def hidden(title: str) -> GameError:
    """The error for a window that shows nothing."""
    return GameError(f"the window {title!r} is hidden or minimised: bring it back, for it must stay on the screen")


def closed(title: str) -> GameError:
    """The error for a window that is no more."""
    return GameError(f"the window {title!r} was closed: start the game again")


def unfocused(title: str) -> GameError:
    """The error for a window that does not come to the front."""
    return GameError(f"the window {title!r} does not come to the front, so that no key reaches it: click into it")


def nearest(title: str, titles: Iterable[str]) -> str | None:
    """The title that was most likely meant, if any: one like it, or one that contains it."""
    wanted = title.casefold()
    known = {other.casefold(): other for other in titles}
    alike = difflib.get_close_matches(wanted, known, 1, cutoff=0.7)
    containing = [other for other in sorted(known, key=len) if wanted in other]
    return known[(alike + containing)[0]] if alike or containing else None


def check_room(width: int, height: int, screen: Area) -> None:
    """Raises GameError when the screen is too small for a window of that size."""
    if width > screen.width or height > screen.height:
        raise GameError(
            f"the screen has {screen.size} pixels, too few for a window of {width}x{height}: "
            "set environment.window_width and environment.window_height, or use a larger screen"
        )


def misfit(wanted: Area, got: Area, screen: Area) -> GameError:
    """The error for a window that does not take the size or place it was given."""
    if (got.width, got.height) != (wanted.width, wanted.height):
        return GameError(
            f"the game's window was given {wanted.size} pixels and keeps {got.size}: turn full screen off in the game's display "
            "settings, and let the window be neither maximised nor tiled"
        )
    return GameError(
        f"a part of the game's window lies off the screen ({screen.size}), at {got.left}, {got.top}, and it does not move: "
        "move it onto the screen"
    )


def settled(wanted: Area, asked: Area, place: Callable[[Area], None], area: Callable[[], Area], patience_s: float) -> Area:
    """Ask for ``asked`` by ``place`` until the window's ``area`` is the ``wanted`` one; returns what it is in the end.

    The first answer may take ``patience_s``; after that, what was asked for is corrected by what it led to.
    """
    for _ in range(ATTEMPTS):
        place(asked)
        if awaited(lambda: area() == wanted, patience_s):
            break
        asked = asked.corrected(wanted, area())
        patience_s = PATIENCE_S / ATTEMPTS
    return area()


def awaited(condition: Callable[[], bool], patience_s: float | None = None) -> bool:
    """Wait until it holds; False if it still does not in the end, after `PATIENCE_S` or as long as is said."""
    deadline = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_S)
    return True
