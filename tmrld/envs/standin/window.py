"""The stand-in's window, by pygame: shows the scene, and hears keyboard, mouse and gamepads.

While the car drives, nothing but the scene is drawn: whoever measures the picture may look anywhere.  Importing this needs pygame.
"""

from __future__ import annotations

import contextlib
import locale
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pygame
from pygame._sdl2 import controller

from tmrld.envs.standin import signs
from tmrld.envs.standin.inputs import NOTHING_HELD, Held, Keys, Press, strongest
from tmrld.envs.standin.race import Phase
from tmrld.envs.standin.scene import Painter, Viewpoint
from tmrld.errors import BadInput

ADVICE = "start it where there is a desktop, or on a display without a screen: xvfb-run -a -s '-screen 0 1280x800x24' tmrld sim"
SMALLEST = (64, 64)
"""Of the client area, in pixels."""
PAD_BUTTONS = {pygame.CONTROLLER_BUTTON_A: Press.CONFIRM, pygame.CONTROLLER_BUTTON_B: Press.GIVE_UP}
FULL = 32767
"""What an axis of a gamepad says at its end."""


@dataclass
class Heard:
    """What has come in since the last frame."""

    presses: list[Press] = field(default_factory=list)
    clicks: list[tuple[float, float]] = field(default_factory=list)
    """Shares of the client area's width and height."""
    held: Held = NOTHING_HELD
    closed: bool = False
    """Whether the window shall close."""


class Window:
    """The one window of this process."""

    def __init__(self, title: str, width: int, height: int) -> None:
        """Raises BadInput where no window can be opened."""
        os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")  # through OpenGL a frame would cost twenty times as much
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        os.environ.setdefault("SDL_VIDEO_ALLOW_SCREENSAVER", "1")
        os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")  # pixels are pixels, as in the game
        os.environ.setdefault("SDL_VIDEO_X11_WMCLASS", "tmrld")
        try:
            pygame.display.init()
            with _plain_text(title):
                pygame.display.set_caption(title)
                pygame.display.set_mode((width, height), pygame.RESIZABLE)
        except pygame.error as error:
            raise BadInput(f"no window can be opened ({error}): {ADVICE}") from error
        pygame.key.stop_text_input()  # keys are keys, whatever the language
        pygame.font.init()
        with contextlib.suppress(pygame.error):  # a system without gamepads has keys
            controller.init()
        self._keys = Keys()
        self._pads: dict[int, controller.Controller] = {}
        self._painter = Painter(width, height)
        self._picture = self._picture_of(self._painter)
        self._sign: tuple[object, pygame.Surface] | None = None  # the last one that was drawn, and of what

    @property
    def id(self) -> int:
        """The number that the window system has for it."""
        return int(pygame.display.get_wm_info().get("window", 0))

    @property
    def driver(self) -> str:
        """The window system, as SDL calls it."""
        return pygame.display.get_driver()

    @property
    def size(self) -> tuple[int, int]:
        """Of the client area, in pixels; somebody else may change it at any time."""
        width, height = _screen().get_size()
        return max(width, SMALLEST[0]), max(height, SMALLEST[1])

    def hear(self) -> Heard:
        """What has happened since the last call."""
        heard = Heard()
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                heard.closed = True
            elif event.type == pygame.KEYDOWN:
                press = self._keys.press(event.scancode)
                if press is not None:
                    heard.presses.append(press)
            elif event.type == pygame.KEYUP:
                self._keys.release(event.scancode)
            elif event.type == pygame.WINDOWFOCUSLOST:
                self._keys.release_all()
            elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                width, height = self.size
                heard.clicks.append(((event.pos[0] + 0.5) / width, (event.pos[1] + 0.5) / height))
            elif event.type == pygame.CONTROLLERDEVICEADDED:
                self._plug_in(event.device_index)
            elif event.type == pygame.CONTROLLERDEVICEREMOVED:
                self._pads.pop(event.instance_id, None)
            elif event.type == pygame.CONTROLLERBUTTONDOWN and event.button in PAD_BUTTONS:
                heard.presses.append(PAD_BUTTONS[event.button])
        heard.held = strongest(self._keys.held, *(_held(pad) for pad in self._pads.values()))
        return heard

    def show(self, viewpoint: Viewpoint, phase: Phase, lap_time_s: float | None, *, in_menu: bool) -> None:
        """Draw a frame."""
        if self.size != self._painter.size:
            self._painter = Painter(*self.size)
            self._picture = self._picture_of(self._painter)
        self._painter.paint(viewpoint)
        screen = _screen()
        screen.blit(self._picture, (0, 0))
        if in_menu:
            screen.blit(self._laid_over("menu", signs.menu), (0, 0))
        elif phase is Phase.POP_UP and lap_time_s is not None:
            screen.blit(self._laid_over(lap_time_s, lambda size: signs.pop_up(size, lap_time_s)), (0, 0))
        pygame.display.flip()

    def close(self) -> None:
        """Close the window; closing again does nothing."""
        pygame.quit()

    def _laid_over(self, what: object, draw: Callable[[tuple[int, int]], pygame.Surface]) -> pygame.Surface:
        """The sign of that, drawn once."""
        key = what, self.size
        if self._sign is None or self._sign[0] != key:
            self._sign = key, draw(self.size)
        return self._sign[1]

    def _plug_in(self, index: int) -> None:
        with contextlib.suppress(pygame.error):  # it was pulled out again at once
            pad = controller.Controller(index)
            self._pads[pad.as_joystick().get_instance_id()] = pad

    @staticmethod
    def _picture_of(painter: Painter) -> pygame.Surface:
        """A surface of the painter's very pixels."""
        picture = pygame.image.frombuffer(painter.frame.data.cast("B"), painter.size, "BGRA")
        picture.set_alpha(None)
        return picture


@contextlib.contextmanager
def _plain_text(title: str) -> Iterator[None]:
    """X11: SDL writes a window's name in the encoding of the locale, which not everybody who looks for it can read."""
    before = locale.setlocale(locale.LC_CTYPE)
    if title.isascii():
        locale.setlocale(locale.LC_CTYPE, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def _screen() -> pygame.Surface:
    """What the window shows; another one after its size has changed."""
    screen = pygame.display.get_surface()
    assert screen is not None, "the window is open"
    return screen


def _held(pad: controller.Controller) -> Held:
    """What a gamepad holds, as an XBox 360 pad drives."""
    gas, brake = (
        max(0, pad.get_axis(axis)) for axis in (pygame.CONTROLLER_AXIS_TRIGGERRIGHT, pygame.CONTROLLER_AXIS_TRIGGERLEFT)
    )
    steer = max(-1.0, pad.get_axis(pygame.CONTROLLER_AXIS_LEFTX) / FULL)
    return Held(gas / FULL, brake / FULL, steer)
