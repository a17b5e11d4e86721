"""What the game's window shows, grabbed from the screen by mss."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.trackmania.windows import GameWindow, real_pixels
from tmrld.errors import GameError

LOOK_S = 0.5
"""The window is asked this often where it is: one that somebody moves is followed."""


class WindowScreen:
    """Grabs exactly the client area of a window, at the size that it has when it is first grabbed.

    What covers the window is grabbed with it.  mss belongs to the thread that made it, so another thread gets another one.
    """

    def __init__(self, window: GameWindow) -> None:
        """``window`` has its final size by the first `grab`; it stays the caller's to close."""
        self._window = window
        self._shape = (0, 0, 4)
        self._box: dict[str, int] = {}
        self._looked = 0.0
        self._capture: Any = None
        self._failures: tuple[type[Exception], ...] = ()
        self._thread: threading.Thread | None = None
        self._may_be_blind = False

    def grab(self) -> NDArray[np.uint8]:
        """The client area now: (height, width, 4) in blue, green, red, nothing; an array of its own.

        Raises GameError when the window is gone, hidden, partly off the screen or of another size than it was, and when this
        session does not let its screen be seen.
        """
        with real_pixels():
            return self._grab()

    def close(self) -> None:
        """Let go of the screen; closing again does nothing."""
        capture, self._capture, self._thread = self._capture, None, None
        if capture is not None:
            try:
                capture.close()
            except self._failures:  # it belongs to another thread, or its display is gone
                return

    def _grab(self) -> NDArray[np.uint8]:
        if self._thread is not threading.current_thread():
            self._open()
        if not self._box or time.monotonic() - self._looked > LOOK_S:
            self._look()
        try:
            shot = self._capture.grab(self._box)
        except self._failures:
            self._look()  # says so when the window is the reason
            self._open()  # the screen may have got another size
            try:
                shot = self._capture.grab(self._box)
            except self._failures as failure:
                raise GameError(f"the screen cannot be grabbed at {self._box}: {failure}") from failure
        image: NDArray[np.uint8] = np.ndarray(self._shape, np.uint8, shot.raw)
        if self._may_be_blind:
            self._see(image)
        return image

    def _open(self) -> None:
        """Make what grabs, for this thread; on Windows mss takes the pixels as they are seen when it is made, and when it grabs."""
        self.close()
        try:
            import mss
            from mss.exception import ScreenShotError
        except ImportError as missing:
            raise GameError('grabbing the screen needs mss: pip install "tmrld[game]"') from missing
        self._failures = ScreenShotError, AssertionError  # it asserts that the display is still there
        try:
            self._capture = mss.MSS()
        except ScreenShotError as failure:
            raise GameError(
                f"the screen cannot be grabbed ({failure}): this needs a desktop, on Linux an X11 session with DISPLAY set, "
                "and its libraries (apt install libxcb1 libxcb-randr0 libxcb-render0 libxcb-shm0 libxcb-xfixes0)"
            ) from failure
        self._thread = threading.current_thread()
        self._may_be_blind = bool(os.environ.get("WAYLAND_DISPLAY")) or os.environ.get("XDG_SESSION_TYPE") == "wayland"

    def _look(self) -> None:
        """Where the window is now.  Raises GameError when it cannot be grabbed as it was."""
        area, screen = self._window.area(), self._window.screen()
        if self._box and (area.width, area.height) != (self._box["width"], self._box["height"]):
            before = f"{self._box['width']}x{self._box['height']}"
            raise GameError(
                f"the game's window has {area.size} pixels now, and had {before}: leave its size as it is, and full screen off"
            )
        if not area.within(screen):
            raise GameError(
                f"a part of the game's window lies off the screen ({screen.size}): its {area.size} pixels begin at "
                f"{area.left}, {area.top}; move it onto the screen"
            )
        self._shape = (area.height, area.width, 4)
        self._box = {"left": area.left, "top": area.top, "width": area.width, "height": area.height}
        self._looked = time.monotonic()

    def _see(self, image: NDArray[np.uint8]) -> None:
        """Raises GameError when the first picture is black: under Wayland all of them are."""
        if not image[:, :, :3].any():
            raise GameError(
                "the picture of the game's window is black: this is a Wayland session, where no program sees the windows of others; "
                "log in to an X11 session (often called Xorg), or start the game and this on an X11 display of their own"
            )
        self._may_be_blind = False
