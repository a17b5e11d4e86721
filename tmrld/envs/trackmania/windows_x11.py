"""A window on an X11 display, with or without a window manager.

Without one, windows are children of the root; with one, each lies in a frame, and the manager is asked instead of the window
(EWMH, specifications.freedesktop.org/wm-spec).  Places are asked for as the root window sees them, so no frame's size matters.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from tmrld.envs.trackmania.windows import (
    Area,
    Listed,
    awaited,
    check_room,
    closed,
    hidden,
    misfit,
    not_found,
    settled,
    unfocused,
)
from tmrld.errors import GameError

_FROM_A_PAGER = 2
"""EWMH, source indication: a person wants it, so that a manager does not protect the window in front."""
_REMOVE = 0
"""EWMH, _NET_WM_STATE: take these states away."""
MOVE_S = 0.5
"""How long a window may take to move: a manager that adds its frame's size is corrected after that."""


def find_x11(title: str) -> X11Window:
    """The visible window of that title on the display that DISPLAY names.  Raises GameError."""
    with _connected() as (connection, name, stay):
        window = _found(connection, title, name)
        stay()
        return X11Window(connection, window, title)


def desktop_x11() -> list[Listed]:
    """Every window on the display that DISPLAY names, those in front first.  Raises GameError."""
    with _connected() as (connection, _, _):
        listed = []
        for outer in reversed(connection.screen().root.query_tree().children):  # they come from the bottom up
            with _gone_is_none():
                listed.append(_listed_in(connection, outer))
        return listed


def _listed_in(display: Any, outer: Any) -> Listed:
    """A window below the root, which may be the frame of another one, whose title and area then count."""
    size = outer.get_geometry()
    frame = Area(size.x, size.y, size.width + 2 * size.border_width, size.height + 2 * size.border_width)
    inner = outer
    for window in _below(outer):
        with _gone_is_none():
            if (
                window.get_full_property(display.intern_atom("WM_STATE"), 0) is not None
            ):  # as managed windows have, and frames not
                inner = window
                break
    place, own = display.screen().root.translate_coords(inner, 0, 0), inner.get_geometry()
    title = _title(display, inner) or _title(display, outer) or ""
    return Listed(title, Area(place.x, place.y, own.width, own.height), frame, _is_seen(inner.get_attributes()))


@contextlib.contextmanager
def _connected() -> Iterator[tuple[Any, str, Callable[[], object]]]:
    """A connection to the display that DISPLAY names, that name, and what keeps the connection open after all.  Raises GameError."""
    try:
        from Xlib import display, error
    except ImportError as missing:
        raise GameError('finding windows on Linux needs python-xlib: pip install "tmrld[game]"') from missing
    name = os.environ.get("DISPLAY", "")
    if not name:
        raise GameError(
            "there is no X11 display to find the game's window on (DISPLAY is not set): start this on the desktop where the game "
            "runs, in an X11 session, for Wayland lets no program see the windows of others"
        )
    with contextlib.ExitStack() as stack:
        try:
            connection = display.Display(name)
            stack.callback(connection.close)
            connection.set_error_handler(lambda *_: None)  # of requests that have no reply; what they led to is looked at
            yield connection, name, stack.pop_all
        except (error.DisplayError, error.XauthError, error.XError, OSError, OverflowError) as failure:
            raise _unusable(name, failure) from failure
        except error.ConnectionClosedError as failure:
            stack.pop_all()  # there is nothing left to close
            raise _unusable(name, failure) from failure


def _unusable(name: str, failure: Exception) -> GameError:
    return GameError(f"the display {name!r} cannot be used ({failure}): set DISPLAY to that of the desktop where the game runs")


def _found(display: Any, title: str, display_name: str) -> Any:
    """The window of that title.  Raises GameError."""
    unseen, titles = False, set[str]()
    for windows in (_listed, _all):
        seen = []
        for window in windows(display):
            with _gone_is_none():
                name = _title(display, window)
                if name is None:
                    continue
                if _is_seen(window.get_attributes()):
                    titles.add(name)
                    if name == title:
                        managed = window.get_full_property(display.intern_atom("WM_STATE"), 0) is not None  # frames are not
                        size = window.get_geometry()
                        seen.append((managed, size.width * size.height, window))
                elif name == title:
                    unseen = True
        if seen:
            return max(seen, key=lambda match: match[:2])[2]
    raise hidden(title) if unseen else not_found(title, titles, f"the display {display_name!r}")


def _listed(display: Any) -> list[Any]:
    """The windows that the window manager tells, if there is one."""
    listed = display.screen().root.get_full_property(display.intern_atom("_NET_CLIENT_LIST"), 0)
    return [] if listed is None else [display.create_resource_object("window", number) for number in listed.value]


def _all(display: Any) -> list[Any]:
    """Every window there is, frames too."""
    return list(_below(display.screen().root))[1:]


def _below(window: Any) -> Iterator[Any]:
    """A window and all that lie in it, the outermost first."""
    found = [window]
    for each in found:  # grows meanwhile
        with _gone_is_none():
            found.extend(each.query_tree().children)
        yield each


def _title(display: Any, window: Any) -> str | None:
    for name, encoding in (("_NET_WM_NAME", "utf-8"), ("WM_NAME", "latin-1")):
        text = window.get_full_property(display.intern_atom(name), 0)
        if text is not None:
            if text.property_type == display.intern_atom("UTF8_STRING"):
                encoding = "utf-8"
            return bytes(text.value).decode(encoding, "replace") if not isinstance(text.value, str) else text.value
    return None


def _is_seen(attributes: Any) -> bool:
    from Xlib import X

    return bool(attributes.map_state == X.IsViewable and attributes.win_class == X.InputOutput)


@contextlib.contextmanager
def _gone_is_none() -> Iterator[None]:
    """Windows come and go while they are looked at."""
    from Xlib import error

    with contextlib.suppress(error.BadWindow, error.BadDrawable):
        yield


class X11Window:
    """A `GameWindow`.  Made by `find_x11`, which gives it a connection to the display of its own; for one thread at a time."""

    def __init__(self, display: Any, window: Any, title: str) -> None:
        self._display = display
        self._window = window
        self._title = title
        self._root = display.screen().root

    def area(self) -> Area:
        with self._asking():
            if not _is_seen(self._window.get_attributes()):
                raise hidden(self._title)
            size = self._window.get_geometry()
            place = self._root.translate_coords(self._window, 0, 0)
            return Area(place.x, place.y, size.width, size.height)

    def screen(self) -> Area:
        with self._asking():
            size = self._root.get_geometry()
            return Area(0, 0, size.width, size.height)

    def resize(self, width: int, height: int) -> None:
        screen, area = self.screen(), self.area()
        check_room(width, height, screen)
        if (area.width, area.height) != (width, height):
            self._tell_manager("_NET_WM_STATE", _REMOVE, "_NET_WM_STATE_MAXIMIZED_VERT", "_NET_WM_STATE_MAXIMIZED_HORZ")
            self._configure(width=width, height=height)
            if not awaited(lambda: (self.area().width, self.area().height) == (width, height)):
                raise misfit(Area(area.left, area.top, width, height), self.area(), screen)
            area = self.area()
        if not area.within(screen):
            wanted = area.moved_onto(screen)
            area = settled(wanted, wanted, lambda asked: self._configure(x=asked.left, y=asked.top), self.area, MOVE_S)
            if not area.within(screen):
                raise misfit(wanted, area, screen)

    def focus(self) -> None:
        from Xlib import X

        if not self._tell_manager("_NET_ACTIVE_WINDOW", _FROM_A_PAGER):
            with self._asking():
                for window in self._ancestry(self._window):  # it may lie in a frame
                    window.configure(stack_mode=X.Above)
                self._window.set_input_focus(X.RevertToParent, X.CurrentTime)
                self._display.sync()
        if not awaited(self.is_focused):
            raise unfocused(self._title)

    def is_focused(self) -> bool:
        with self._asking():
            self._window.get_attributes()  # raises when it is gone
            focus = self._display.get_input_focus().focus
            if isinstance(focus, int):  # nobody's, or whatever is below the pointer
                return False
            with _gone_is_none():
                return any(window.id == self._window.id for window in self._ancestry(focus))
            return False

    def close(self) -> None:
        from Xlib import error

        with contextlib.suppress(error.ConnectionClosedError):
            self._display.close()

    def _ancestry(self, window: Any) -> Iterator[Any]:
        """The window, its parent, and so on below the root."""
        while not isinstance(window, int) and window.id != self._root.id:
            yield window
            window = window.query_tree().parent

    def _configure(self, **wishes: int) -> None:
        with self._asking():
            self._window.configure(**wishes)
            self._display.sync()

    def _tell_manager(self, message: str, number: int, *atoms: str) -> bool:
        """Send the window manager a message about the window; False if there is none that understands it."""
        from Xlib import X
        from Xlib.protocol import event

        with self._asking():
            kind = self._display.intern_atom(message)
            known = self._root.get_full_property(self._display.intern_atom("_NET_SUPPORTED"), X.AnyPropertyType)
            if known is None or kind not in known.value:
                return False
            data = [number, *map(self._display.intern_atom, atoms), 0, 0, 0, 0][:5]
            told = event.ClientMessage(window=self._window, client_type=kind, data=(32, data))
            self._root.send_event(told, event_mask=X.SubstructureRedirectMask | X.SubstructureNotifyMask)
            self._display.sync()
            return True

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """What the display answers to a request becomes a GameError."""
        from Xlib import error

        try:
            yield
        except (error.BadWindow, error.BadDrawable) as gone:
            raise closed(self._title) from gone
        except error.XError as failure:
            raise GameError(f"the display refused a request about the window {self._title!r}: {failure}") from failure
        except (error.ConnectionClosedError, OSError) as failure:
            raise GameError(
                f"the display of the window {self._title!r} was closed ({failure}): start the game again"
            ) from failure
