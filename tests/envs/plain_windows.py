"""Windows of another program on an X11 display, and a window manager that puts them into frames."""

from __future__ import annotations

import contextlib
import select
import threading
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from Xlib import X, Xutil, display, error

STRIP_BYTES = 1 << 17
"""A request to the display holds no more than 256 KiB."""


class PlainWindow:
    """A window that has a connection of its own, as the game has."""

    def __init__(
        self,
        title: str,
        left: int = 0,
        top: int = 0,
        width: int = 200,
        height: int = 100,
        border: int = 0,
        *,
        shown: bool = True,
    ) -> None:
        self.display = display.Display()
        screen = self.display.screen()
        self.root = screen.root
        self.window = self.root.create_window(
            left, top, width, height, border, screen.root_depth, background_pixel=0x808080, event_mask=X.StructureNotifyMask
        )
        self.window.set_wm_name(title)
        if shown:
            self.window.map()
        self.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """The program ends; may be called twice."""
        with contextlib.suppress(error.ConnectionClosedError):
            self.display.close()

    def sync(self) -> None:
        """Return when the display has done what it was told."""
        self.display.sync()

    def title(self, text: str) -> None:
        """The title as modern programs set it."""
        atom = self.display.intern_atom
        self.window.change_property(atom("_NET_WM_NAME"), atom("UTF8_STRING"), 8, text.encode())
        self.sync()

    def put(self, **wishes: int) -> None:
        """Move it to ``x``, ``y``, give it ``width`` and ``height``."""
        self.window.configure(**wishes)
        self.sync()

    def paint(self, picture: NDArray[np.uint8]) -> None:
        """Show a picture: (height, width, 4) in blue, green, red, nothing."""
        context = self.window.create_gc()
        height, width = picture.shape[:2]
        rows = max(1, STRIP_BYTES // (4 * width))
        for top in range(0, height, rows):
            strip = picture[top : top + rows]
            self.window.put_image(context, 0, top, width, len(strip), X.ZPixmap, 24, 0, strip.tobytes())
        context.free()
        self.sync()

    def frame(self, left: int, top: int, inset_left: int, inset_top: int) -> Any:
        """Put it into a window of its parent's, as window managers do."""
        size = self.window.get_geometry()
        frame = self.root.create_window(
            left, top, size.width + 2 * inset_left, size.height + inset_top + inset_left, 2, self.display.screen().root_depth
        )
        frame.map()
        self.window.reparent(frame, inset_left, inset_top)
        self.window.map()
        self.sync()
        return frame


class Manager:
    """A window manager of the display: a thread that frames windows, and speaks of EWMH what ours needs.

    A stubborn one lets no window have another size or place.
    """

    LEFT, TOP, BORDER = 7, 23, 2

    def __init__(self, *, stubborn: bool = False) -> None:
        self._stubborn = stubborn
        self._display = display.Display()
        self._display.set_error_handler(lambda *_: None)  # windows go while it speaks of them
        self._root = self._display.screen().root
        self._frames: dict[int, Any] = {}
        self._root.change_attributes(event_mask=X.SubstructureRedirectMask | X.SubstructureNotifyMask)
        self._names = {name: self._display.intern_atom(name) for name in ("_NET_ACTIVE_WINDOW", "_NET_WM_STATE", "WM_STATE")}
        self._tell("_NET_SUPPORTED", "ATOM", [self._names["_NET_ACTIVE_WINDOW"], self._names["_NET_WM_STATE"]])
        self._display.sync()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._manage, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        for name in ("_NET_SUPPORTED", "_NET_CLIENT_LIST"):
            self._root.delete_property(self._display.intern_atom(name))
        self._display.sync()
        self._display.close()

    def _tell(self, name: str, kind: str, values: list[int]) -> None:
        self._root.change_property(self._display.intern_atom(name), self._display.intern_atom(kind), 32, values)

    def _manage(self) -> None:
        while not self._ended.is_set():
            while self._display.pending_events():
                self._handle(self._display.next_event())
            self._display.flush()
            select.select([self._display], [], [], 0.01)

    def _handle(self, happened: Any) -> None:
        if happened.type == X.MapRequest and happened.window.id not in self._frames:
            self._take(happened.window)
        elif happened.type == X.ConfigureRequest and not self._stubborn:
            frame = self._frames.get(happened.window.id, happened.window)
            place = {name: getattr(happened, name) for name, bit in (("x", X.CWX), ("y", X.CWY)) if happened.value_mask & bit}
            size = {
                name: getattr(happened, name)
                for name, bit in (("width", X.CWWidth), ("height", X.CWHeight))
                if happened.value_mask & bit
            }
            frame.configure(**place)  # the frame's corner, not the client's: north-west gravity
            happened.window.configure(**size)
        elif happened.type == X.ClientMessage and happened.client_type == self._names["_NET_ACTIVE_WINDOW"]:
            self._frames[happened.window.id].configure(stack_mode=X.Above)
            happened.window.set_input_focus(X.RevertToParent, X.CurrentTime)

    def _take(self, window: Any) -> None:
        size = window.get_geometry()
        frame = self._root.create_window(
            size.x,
            size.y,
            size.width + 2 * self.LEFT,
            size.height + self.TOP + self.LEFT,
            self.BORDER,
            self._display.screen().root_depth,
            event_mask=X.SubstructureRedirectMask,
        )
        frame.set_wm_name(window.get_wm_name())  # some managers do
        window.change_save_set(X.SetModeInsert)
        window.reparent(frame, self.LEFT, self.TOP)
        window.change_property(self._names["WM_STATE"], self._names["WM_STATE"], 32, [Xutil.NormalState, 0])
        frame.map()
        window.map()
        self._frames[window.id] = frame
        self._tell("_NET_CLIENT_LIST", "WINDOW", list(self._frames))
