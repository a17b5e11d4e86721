"""A window to watch and drive in: pictures go in, keys come out.  pygame-ce is imported when one is opened, not before.

Everything here belongs to the thread that opened the window, which is the program's first: other systems than Linux insist on it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tmrld.errors import BadInput

if TYPE_CHECKING:
    from types import TracebackType

    from pygame import Surface

PLACES = {"gas": (82, 26), "brake": (81, 22), "left": (80, 4), "right": (79, 7)}
"""Where the keys for driving lie: the arrows, and W S A D on an American keyboard, as USB numbers them (SDL's scancodes)."""
NAMES = {"backspace": "again", "escape": "end", "q": "q"}
"""What else is listened to: a key's own name, and what it is called here."""
FRAMES_PER_S = 60


@dataclass(frozen=True)
class Keys:
    """What a person does: keys for driving that are held now, and other ones that were pressed since the last look."""

    held: frozenset[str]
    pressed: frozenset[str]
    seconds: float
    """How long that was ago."""


class Window:
    """One window of ``width`` × ``height`` pixels, which a person may enlarge.  Raises BadInput where none can be opened."""

    def __init__(self, title: str, width: int, height: int, *, instead: str) -> None:
        """``instead`` says what can be done without a window."""
        _check_display(instead)
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            missing = "is not installed here" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
            raise BadInput(
                f'a window needs pygame-ce, which {missing}: run `pip install "tmrld[view]"`, or {instead}'
            ) from error
        self._pygame = pygame
        try:
            pygame.display.init()
            pygame.display.set_caption(title)
            self.surface: Surface = pygame.display.set_mode((width, height), pygame.SCALED | pygame.RESIZABLE)
        except pygame.error as error:
            pygame.display.quit()
            raise BadInput(f"no window can be opened on this display ({error}): {instead}") from error
        self._clock = pygame.time.Clock()
        self._held: set[int] = set()

    def __enter__(self) -> Window:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pygame.display.quit()

    def show(self) -> None:
        """Bring what was drawn on ``surface`` to the screen."""
        self._pygame.display.flip()

    def keys(self) -> Keys:
        """Wait until it is time for the next frame, and tell what the person does.  Closing the window is "end", too."""
        pygame = self._pygame
        seconds = self._clock.tick(FRAMES_PER_S) / 1000
        pressed = set()
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                pressed.add("end")
            elif event.type == pygame.KEYDOWN:
                self._held.add(event.scancode)
                pressed.add(NAMES.get(pygame.key.name(event.key), ""))
            elif event.type == pygame.KEYUP:
                self._held.discard(event.scancode)
            elif event.type == pygame.WINDOWFOCUSLOST:
                self._held.clear()
            elif event.type == pygame.WINDOWEXPOSED:
                pygame.display.flip()
        held = (what for what, places in PLACES.items() if self._held.intersection(places))
        return Keys(frozenset(held), frozenset(pressed - {""}), seconds)


def _check_display(instead: str, environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> None:
    """Raise BadInput where there is none; SDL would draw on nothing, and say so to nobody."""
    if system in ("win32", "darwin") or any(
        environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    ):
        return
    raise BadInput(f"there is no display here to open a window on (DISPLAY is not set): run it on a desktop, or {instead}")
