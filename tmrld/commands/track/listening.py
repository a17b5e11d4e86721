"""How `tmrld track record` listens to the game, and tells whoever drives how it stands."""

from __future__ import annotations

import time
from contextlib import closing
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from tmrld.envs.options import TrackmaniaOptions
from tmrld.envs.trackmania.recording import Phase, Recorder
from tmrld.envs.trackmania.telemetry import Receiver

SHOWN_S = 0.1
"""Between two looks at how far the car has come, on a terminal …"""
SAID_S = 5.0
"""… and elsewhere."""

SENTENCES = {
    Phase.FINISHED: "the race is over: restart it (Delete, or B on a gamepad), and stay at the start for a moment",
    Phase.AWAY: "the car is on its way already: restart the race (Delete, or B on a gamepad), and stay at the start for a moment",
    Phase.READY: "the car is at the start: drive to the finish, the recording begins when it moves",
    Phase.RUNNING: "recording",
}


def recorded(options: TrackmaniaOptions, *, aside: bool) -> Recorder:
    """Listen until a run is finished; what is said on the way goes to standard error if wanted ``aside``.

    Raises GameError, with the cause, where the plugin is silent.
    """
    console = Console(stderr=aside, highlight=False, markup=False, soft_wrap=True)
    with Board(console) as board:
        return _listened(options, board)


def _listened(options: TrackmaniaOptions, board: Board) -> Recorder:
    recorder = Recorder(1.0 / 3.6 if options.speed_unit == "km/h" else 1.0)
    try:
        with closing(Receiver(options.telemetry_host, options.telemetry_port, options.telemetry_stall_s)) as receiver:
            while (phase := recorder.see(record := receiver.fresh())) is not Phase.DONE:
                board.show(recorder, phase, record.speed * recorder.scale)
    except KeyboardInterrupt:
        board.say("nothing was kept: the finish was not reached")
        raise
    return recorder


class Board:
    """Tells whoever drives how it stands: a sentence when that changes, and how far the car has come in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._phase: Phase | None = None
        self._restarts = 0
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, sentence: str) -> None:
        """Say this."""
        self._console.print(sentence)

    def show(self, recorder: Recorder, phase: Phase, speed_m_s: float) -> None:
        """The next record has been seen."""
        if phase is not self._phase:
            if recorder.restarts > self._restarts:
                self.say("the race was restarted: the recording begins anew")
            self.say(_sentence(recorder, phase))
            self._phase, self._restarts, self._shown_at = phase, recorder.restarts, time.monotonic()
        if phase is Phase.RUNNING and time.monotonic() - self._shown_at >= (SAID_S if self._live is None else SHOWN_S):
            self._shown_at = time.monotonic()
            line = f"{recorder.length_m:,.0f} m, {recorder.run_s:.1f} s, {abs(speed_m_s) * 3.6:.0f} km/h"
            if self._live is None:
                self.say(line)
            else:
                self._live.update(line, refresh=True)


def _sentence(recorder: Recorder, phase: Phase) -> str:
    if phase is Phase.VOID:
        return f"this run is no line of a track: {recorder.reason}.  Restart the race, and the recording begins anew"
    return SENTENCES[phase]
