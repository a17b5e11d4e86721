"""A race as the game plays it, without a car: what it shows at which moment, and what leads from there to where.

::

    COUNTDOWN ──► DRIVING ──► FINISHED ──► POP_UP
        ▲            │        finish line   after 0.5 s
        ├────────────┘ give up              │
        └───────────────────────────────────┘ confirm, or a click on "Improve"

Giving up starts anew, before the line alone: the pop-up must be answered.  A menu may lie over each of these, and stops the time.

Pure: time comes in as the seconds that have passed since the last call.
"""

from __future__ import annotations

from enum import Enum, auto

POP_UP_S = 0.5
"""From the finish line until the pop-up."""

Box = tuple[float, float, float, float]
IMPROVE: Box = (0.40, 0.54, 0.66, 0.66)
"""The button that begins the race anew: left, top, right and bottom, as shares of the window's client area.  TMRL clicks in it."""


class Phase(Enum):
    """What is going on under the menu, if that is open."""

    COUNTDOWN = auto()  # the car is held
    DRIVING = auto()
    FINISHED = auto()  # past the line, the car rolls on
    POP_UP = auto()  # the same, and the pop-up is open


class Race:
    """One race after the other on the same track.  ``restarts`` counts them: the car belongs at the start when it grows."""

    def __init__(self, countdown_s: float, *, in_menu: bool = False) -> None:
        """``countdown_s`` seconds pass from a reset until the car may go."""
        self.in_menu = in_menu
        """Whether the menu is open: then time stands still, and nobody is told anything of the race."""
        self.restarts = 0
        self._countdown_s = countdown_s
        self._phase = Phase.COUNTDOWN
        self._left_s = countdown_s

    @property
    def phase(self) -> Phase:
        """What is going on."""
        return self._phase

    @property
    def finished(self) -> bool:
        """Whether what the finish shows is on the screen."""
        return self._phase in (Phase.FINISHED, Phase.POP_UP)

    @property
    def obeys(self) -> bool:
        """Whether the car does what the driver wants: past the line it does not any more."""
        return not self.in_menu and not self.finished

    def pass_time(self, elapsed_s: float) -> float:
        """So many seconds go by; returns for how many of them the car moves."""
        if self.in_menu:
            return 0.0
        if self._phase is Phase.COUNTDOWN:
            moves_s = max(0.0, elapsed_s - self._left_s)
            self._left_s -= elapsed_s
            if self._left_s <= 0.0:
                self._phase = Phase.DRIVING
            return moves_s
        if self._phase is Phase.FINISHED:
            self._left_s -= elapsed_s
            if self._left_s <= 0.0:
                self._phase = Phase.POP_UP
        return elapsed_s

    def cross_the_line(self) -> None:
        """The car has finished its lap; saying so again does nothing."""
        if self._phase is Phase.DRIVING:
            self._phase, self._left_s = Phase.FINISHED, POP_UP_S

    def give_up(self) -> None:
        """The reset key or button: back to the start, unless the line was crossed or the menu is open."""
        if self.obeys:
            self._restart()

    def confirm(self) -> None:
        """Enter, or the button A: what the pop-up offers first, which is to improve."""
        if self._phase is Phase.POP_UP and not self.in_menu:
            self._restart()

    def click(self, across: float, down: float) -> None:
        """A click there, as shares of the client area's width and height."""
        left, top, right, bottom = IMPROVE
        if left <= across <= right and top <= down <= bottom:
            self.confirm()

    def toggle_menu(self) -> None:
        """Escape: opens the menu, or goes on where it was opened."""
        self.in_menu = not self.in_menu

    def _restart(self) -> None:
        self.restarts += 1
        self._phase, self._left_s = Phase.COUNTDOWN, self._countdown_s
