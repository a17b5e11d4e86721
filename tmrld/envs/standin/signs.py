"""What is drawn over the scene while nobody drives: the menu, and the pop-up that a finish shows.  Needs pygame.

Each is a picture of the whole client area, to be made once and laid over every frame.
"""

from __future__ import annotations

import pygame

from tmrld.envs.standin.race import IMPROVE, Box

Colour = tuple[int, int, int]

VEIL = (8, 20, 30, 150)
"""Darkens the scene; the last is its opacity, out of 255."""
PANEL: Colour = (18, 48, 66)
EDGE: Colour = (44, 92, 116)
ACCENT: Colour = (0, 200, 140)
TEXT: Colour = (240, 246, 250)
DIM: Colour = (150, 180, 196)
ON_ACCENT: Colour = (4, 36, 28)

SCALE = 3

POP_UP: Box = (0.27, 0.26, 0.79, 0.74)
MENU: Box = (0.19, 0.14, 0.81, 0.86)
KEYS = (
    ("arrows, or W A S D", "drive"),
    ("BackSpace, or Delete", "give up, and start anew"),
    ("Enter", "improve, at the finish"),
    ("Esc", "open or close this menu"),
)


def pop_up(size: tuple[int, int], lap_time_s: float) -> pygame.Surface:
    """The lap's time, and the button that begins another race."""
    sign = _Sign(size)
    sign.panel(POP_UP)
    middle = (POP_UP[0] + POP_UP[2]) / 2
    sign.write("FINISH", (middle, 0.335), 0.055, DIM)
    sign.write(_clock(lap_time_s), (middle, 0.435), 0.12, TEXT)
    sign.button(IMPROVE, "Improve")
    return sign.finished()


def menu(size: tuple[int, int]) -> pygame.Surface:
    """What the keys do."""
    sign = _Sign(size)
    sign.panel(MENU)
    sign.write("PAUSED", (0.5, 0.25), 0.085, TEXT)
    for row, (keys, does) in enumerate(KEYS):
        y = 0.385 + 0.085 * row
        sign.write(keys, (0.47, y), 0.05, ACCENT, "midright")
        sign.write(does, (0.50, y), 0.05, TEXT, "midleft")
    sign.write("a gamepad drives by triggers and left stick; B gives up, A improves", (0.5, 0.765), 0.037, DIM)
    return sign.finished()


def _clock(seconds: float) -> str:
    """As the game shows times: minutes, seconds, thousandths."""
    thousandths = round(seconds * 1000)
    return f"{thousandths // 60_000}:{thousandths // 1000 % 60:02d}.{thousandths % 1000:03d}"


class _Sign:
    """A picture of that size in the making.  Places and sizes are shares of its width and height.

    It is drawn `SCALE` times as large and made smaller at the end, which gives smooth edges and evenly spaced letters.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._width, self._height = (side * SCALE for side in size)
        self._surface = pygame.Surface((self._width, self._height), pygame.SRCALPHA)
        self._surface.fill(VEIL)

    def finished(self) -> pygame.Surface:
        return pygame.transform.smoothscale(self._surface, self._size)

    def panel(self, box: Box) -> None:
        radius = round(0.025 * self._height)
        pygame.draw.rect(self._surface, PANEL, self._rect(box), border_radius=radius)
        pygame.draw.rect(self._surface, EDGE, self._rect(box), max(SCALE, self._height // 240), radius)

    def button(self, box: Box, text: str) -> None:
        pygame.draw.rect(self._surface, ACCENT, self._rect(box), border_radius=round(0.02 * self._height))
        self.write(text, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), 0.065, ON_ACCENT)

    def write(self, text: str, at: tuple[float, float], height: float, colour: Colour, anchor: str = "center") -> None:
        """A line of text; ``anchor`` names the place of its box that lies there, as pygame does."""
        picture = pygame.font.Font(None, round(1.3 * height * self._height)).render(text, True, colour)
        place = (round(at[0] * self._width), round(at[1] * self._height))
        self._surface.blit(picture, picture.get_rect(**{anchor: place}))

    def _rect(self, box: Box) -> pygame.Rect:
        left, right = (round(each * self._width) for each in (box[0], box[2]))
        top, bottom = (round(each * self._height) for each in (box[1], box[3]))
        return pygame.Rect(left, top, right - left, bottom - top)
