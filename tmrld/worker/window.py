"""A window to watch and drive in: pictures go in, keys come out.  pygame-ce is imported when one is opened, not before.

Everything here belongs to the thread that opened the window, which is the program's first: other systems than Linux insist on it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tmrld.envs.keys import driven
from tmrld.envs.trackmania.windows import Area
from tmrld.errors import BadInput

if TYPE_CHECKING:
    from types import TracebackType

    from pygame import Surface

NAMES = {"backspace": "again", "escape": "end", "q": "q"}
"""What else is listened to: a key's own name, and what it is called here."""
FRAMES_PER_S = 60
SMALL = 0.75
"""Of a window's size, beside the game at most: on a screen of 1920 pixels 960 are left where the game is in the upper left corner."""
SMALLEST = 0.375
"""Less shows nothing any more: 480 pixels of 1280."""
TITLE_PX = 40
"""So high is a window's title bar, at most."""


@dataclass(frozen=True)
class Keys:
    """What a person does: keys for driving that are held now, and other ones that were pressed since the last look."""

    held: frozenset[str]
    pressed: frozenset[str]
    seconds: float
    """How long that was ago."""


class PictureWindow:
    """One window that shows a picture of ``width`` × ``height`` pixels; a person may make it larger or smaller."""

    def __init__(self, title: str, width: int, height: int, *, place: Area | None, instead: str) -> None:
        """``place``: where it is shown, smaller maybe; None leaves that to the system.  ``instead`` says what can be done without.

        Raises BadInput where none can be opened.
        """
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
            size = (width, height) if place is None else (place.width, place.height)
            pygame.display.set_mode(size, pygame.RESIZABLE)
            if place is not None:
                pygame.display.set_window_position((place.left, place.top))
        except pygame.error as error:
            pygame.display.quit()
            raise BadInput(f"no window can be opened on this display ({error}): {instead}") from error
        self.surface: Surface = pygame.Surface((width, height))
        """What is drawn on."""
        self._clock = pygame.time.Clock()
        self._held: set[int] = set()

    def __enter__(self) -> PictureWindow:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pygame.display.quit()

    def show(self) -> None:
        """Bring what was drawn on ``surface`` to the screen, as large as the window is."""
        pygame, screen = self._pygame, self._pygame.display.get_surface()
        assert screen is not None
        scale = min(screen.get_width() / self.surface.get_width(), screen.get_height() / self.surface.get_height())
        if scale == 1.0:
            picture = self.surface
        else:
            picture = pygame.transform.smoothscale_by(self.surface, scale)
        screen.fill((0, 0, 0))
        screen.blit(picture, picture.get_rect(center=screen.get_rect().center))
        pygame.display.flip()

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
                self.show()
        return Keys(driven(self._held), frozenset(pressed - {""}), seconds)


def beside(game: Area, screen: Area, width: int, height: int) -> Area | None:
    """The place on ``screen`` where a window of ``width`` × ``height``, scaled, is largest and covers nothing of ``game``.

    It is between `SMALLEST` and `SMALL` of its size, and its title bar has room; None where no side of the game leaves so much.
    """
    right, bottom = game.left + game.width, game.top + game.height
    sides = (
        Area(right, screen.top, screen.left + screen.width - right, screen.height),
        Area(screen.left, bottom, screen.width, screen.top + screen.height - bottom),
        Area(screen.left, screen.top, game.left - screen.left, screen.height),
        Area(screen.left, screen.top, screen.width, game.top - TITLE_PX - screen.top),
    )

    def scale(side: Area) -> float:
        return min(side.width / width, (side.height - TITLE_PX) / height, SMALL)

    side = max(sides, key=scale)
    return in_corner(side, width, height, scale(side)) if scale(side) >= SMALLEST else None


def in_corner(area: Area, width: int, height: int, scale: float = SMALLEST) -> Area:
    """Where a window of that size, scaled, lies in the lower right corner of ``area``."""
    width, height = int(width * scale), int(height * scale)
    return Area(area.left + area.width - width, area.top + area.height - height, width, height)


def _check_display(instead: str, environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> None:
    """Raise BadInput where there is none; SDL would draw on nothing, and say so to nobody."""
    if system in ("win32", "darwin") or any(
        environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    ):
        return
    raise BadInput(f"there is no display here to open a window on (DISPLAY is not set): run it on a desktop, or {instead}")
