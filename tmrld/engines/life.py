"""What is known of one engine process, and what that means: no process, no clock, no asyncio."""

from __future__ import annotations

from dataclasses import dataclass

from tmrld.engines.child import exit_in_words
from tmrld.engines.entry import FAILED
from tmrld.engines.options import EngineOptions
from tmrld.engines.pipe import ALIVE
from tmrld.protocol.messages import LogLines, Message, Status


@dataclass(frozen=True)
class EngineEvent:
    """Something happened to an engine.  ``text`` is a sentence for people.

    ``kind`` is "started", "crashed" (ended without being asked, by an error), "hung" (was killed because it was silent), "finished"
    (its function returned without being asked) or "stopped" (as asked).  ``traceback`` is what the engine reported, "" if nothing.
    ``restart_in_s`` is None when it is not started again; ``pid`` is 0 when no process could be made.
    """

    engine: str
    kind: str
    text: str
    pid: int
    exit_code: int | None = None
    traceback: str = ""
    crashes: int = 0
    restart_in_s: float | None = None


class Fault(Exception):
    """The engine has to be killed; `Life` says why."""


class Life:
    """What is known of one process; the supervisor notes it here as it learns it."""

    def __init__(self, name: str, pid: int) -> None:
        self._name = name
        self._pid = pid
        self._quiet_s = 0.0
        self.heard = False
        """Whether it has given a sign of life."""
        self.silence_s = 0.0
        """How long it has given none since."""
        self.received = 0
        """Messages that it has sent."""
        self.dropped = 0
        """Messages that it has left out."""
        self.delivering = False
        """Whether the daemon is busy with a message of it."""
        self.failure: Status | None = None
        """The exception that it has reported."""
        self.fault = ""
        """Why it had to be killed, as the end of a sentence; `hung` says whether it was for its silence."""
        self.hung = False
        self.asked = False
        """Whether it was asked to end, and `forced` whether it was made to."""
        self.forced = False

    def patience_s(self, options: EngineOptions) -> float | None:
        """How much silence is too much now; None for any."""
        if options.hang_timeout_s is None:
            return None
        if not self.heard:
            return max(options.start_timeout_s, options.hang_timeout_s)
        return max(options.hang_timeout_s, self._quiet_s)

    def hear(self, message: Message) -> None:
        """Take note of a message.  Log lines prove nothing: they may come from a thread while the loop hangs."""
        self.received += 1
        if isinstance(message, LogLines):
            return
        self.heard = True
        self.silence_s = 0.0
        if isinstance(message, Status) and message.state == ALIVE:
            self._quiet_s = float(message.values["quiet_s"])
        if isinstance(message, Status) and message.state == FAILED:
            self.failure = message

    def verdict(self, code: int) -> EngineEvent:
        """How it ended, in words."""
        report = "" if self.failure is None else str(self.failure.values.get("traceback", ""))
        error = self.failure.detail if self.failure is not None else "" if code == 0 else f"it {exit_in_words(code)}"
        if self.forced:
            kind, how = "stopped", "was asked to stop, did not in time, and was ended by force"
        elif self.asked:
            kind, how = "stopped", f"was asked to stop and ended with an error: {error}" if error else "has stopped as asked"
        elif self.fault:
            kind, how = "hung" if self.hung else "crashed", f"{self.fault}, and was killed"
        elif error:
            kind, how = "crashed", f"has crashed: {error}"
        else:
            kind, how = "finished", "has finished"
        return EngineEvent(self._name, kind, f"the engine {self._name} {how}", self._pid, code, report)
