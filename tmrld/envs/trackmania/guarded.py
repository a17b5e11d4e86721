"""The game's controls, held by a guard: a process of its own, which this one starts and tells what to hold (see `guard`).

Whatever becomes of this process, the guard lets go: it outlives whoever ends this one, and everything that this one started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from tmrld.envs.trackmania.gamepad import PLUG_IN_S
from tmrld.envs.trackmania.guard import ANSWER, COMMAND, Ask, Say, Seen, read_exactly
from tmrld.errors import GameError

GUARD = "tmrld.envs.trackmania.guard"
ANSWER_S = 2.0
"""A guard that has not answered after this long is stuck."""
GRACE_S = 0.2
"""What a guard gets in addition when it is this process that may have stood still meanwhile, with the answer unread."""
START_S = 30.0
"""How long a guard may take to start; it takes half a second on an idle machine."""
UNANSWERED = 150
"""More commands than this are never under way.  They fit into the smallest pipe, 4096 bytes on Windows, so writing never blocks."""

HELD_BACK: dict[int, str] = {
    Seen.BEHIND: "the window %r does not have the focus: keys are held back until it has",
    Seen.NOWHERE: "there is no window %r: keys are held back until there is",
}

log = logging.getLogger(__name__)


class GuardedControls:
    """The `Controls` of the game.  Every method belongs to the thread that steps the environment.

    A guard that is lost is replaced at once, which lets go of what it held; then GameError tells of it.
    """

    def __init__(
        self, controls: str, window_title: str, step_s: float, hand_back_s: float, plug_in_s: float = PLUG_IN_S
    ) -> None:
        """``controls`` are "gamepad", "keyboard" or "none", when nothing is ever held and no guard is needed.

        A new gamepad is left alone for ``plug_in_s`` first.  Raises GameError when the controls cannot be had.
        """
        self._arguments = (controls, window_title, repr(step_s), repr(hand_back_s), repr(plug_in_s))
        self._closed = controls == "none"
        self._guard: _Guard | None = None if self._closed else _Guard(*self._arguments)

    @property
    def user_drives(self) -> bool:
        """Whether a person has pressed a key of the game not long ago, or has left the game's window, where keys are to be pressed.

        Until that is over, nothing is held.
        """
        return self._guard is not None and (self._guard.user_drives or not self._guard.has_focus)

    def hold(self, gas: float, brake: float, steer: float) -> None:
        """Hold these from now on: gas and brake 0 to 1, steer -1 to 1.  It waits for nothing.

        What is held is let go of when no other command comes for two time steps.
        """
        if not self._closed:
            self._do(lambda guard: guard.tell(Ask.HOLD, gas, brake, steer))

    def neutral(self) -> None:
        """Let go of everything; returns when that is done."""
        if not self._closed:
            self._do(lambda guard: guard.order(Ask.NEUTRAL))

    def reset_race(self) -> None:
        """Press what begins the race anew; returns when it is released."""
        if not self._closed:
            self._do(lambda guard: guard.order(Ask.RESET))

    def close_pop_up(self) -> None:
        """Press what closes the window that a finish shows; returns when it is released."""
        if not self._closed:
            self._do(lambda guard: guard.order(Ask.POP_UP))

    def close(self) -> None:
        """Let go of everything and of the devices; closing again does nothing."""
        self._closed = True
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()

    def _do(self, ask: Callable[[_Guard], object]) -> None:
        if self._guard is None:  # the last one could not be replaced
            self._guard = _Guard(*self._arguments)
        try:
            ask(self._guard)
        except GameError as error:
            self._guard.close()
            self._guard = None
            try:
                self._guard = _Guard(*self._arguments)
            except GameError as another:
                raise GameError(f"{error}; a new one cannot be had: {another}") from error
            raise GameError(f"{error}; everything was let go of, and a new one has the controls") from error


class _Guard:
    """A guard process, and a thread that listens to it."""

    def __init__(self, controls: str, title: str, step_s: str, hand_back_s: str, plug_in_s: str) -> None:
        """Returns when it has the controls.  Raises GameError."""
        self.user_drives = False
        self.has_focus = True
        self._title = title
        self._news = threading.Condition()
        self._ready = self._over = False
        self._failure = ""
        self._asked = self._answered = 0
        self._unanswered: deque[tuple[int, float]] = deque()  # number and time of each command
        self._process = _start([sys.executable, "-P", "-m", GUARD, controls, title, step_s, hand_back_s, plug_in_s])
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands = self._process.stdin
        self._answers = self._process.stdout
        self._listener = threading.Thread(target=self._listen, name="listen to the controls guard", daemon=True)
        self._listener.start()
        try:
            if not self._await(lambda: self._ready, START_S):
                raise GameError(f"the controls guard did not start within {START_S:g} s: is the machine overloaded?")
        except GameError:
            self.close()
            raise

    def tell(self, kind: Ask, gas: float = 0.0, brake: float = 0.0, steer: float = 0.0) -> bool:
        """Send a command, if there is room for it; whether there was.

        Raises GameError when the guard is gone, or has been stuck for `ANSWER_S`.
        """
        now = time.monotonic()
        while self._unanswered and self._unanswered[0][0] <= self._answered:
            self._unanswered.popleft()
        if self._unanswered:
            oldest, asked_at = self._unanswered[0]
            if now - asked_at > ANSWER_S and not self._await(lambda: self._answered >= oldest, GRACE_S):
                self._is_stuck()
        if not self._has_room():
            return False
        self._asked += 1
        self._unanswered.append((self._asked, now))
        try:
            self._commands.write(COMMAND.pack(kind, self._asked, gas, brake, steer))
        except OSError:  # it has ended; how is known when its last words were heard
            self._await(lambda: False, ANSWER_S)
            self._is_stuck()
        return True

    def order(self, kind: Ask) -> None:
        """Send a command and wait until it is carried out.  Raises GameError likewise."""
        sent = self._await(self._has_room, ANSWER_S) and self.tell(kind)
        if not sent or not self._await(lambda: self._answered == self._asked, ANSWER_S):
            self._is_stuck()

    def close(self) -> None:
        """End it: it lets go of everything.  A guard that is stuck is killed."""
        with contextlib.suppress(OSError):
            self._commands.close()
        try:
            self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        self._answers.close()

    def _has_room(self) -> bool:
        return self._asked - self._answered < UNANSWERED

    def _await(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it holds within that time.  Raises GameError when the guard ends before."""
        with self._news:
            self._news.wait_for(lambda: condition() or self._over, timeout_s)
            if condition():
                return True
            if self._over:
                raise GameError(self._failure or f"the controls guard {self._end_in_words()}")
            return False

    def _is_stuck(self) -> NoReturn:
        self._process.kill()
        raise GameError(f"the controls guard has not answered for {ANSWER_S:g} s and was ended")

    def _end_in_words(self) -> str:
        code = self._process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _listen(self) -> None:
        """Thread: until the guard ends."""
        while data := read_exactly(self._answers, ANSWER.size):
            kind, number = ANSWER.unpack(data)
            text = read_exactly(self._answers, number).decode("utf-8") if kind in (Say.WARNING, Say.FAILED) else ""
            if text and kind == Say.WARNING:
                log.warning("%s", text)
            elif kind == Say.FOCUS and number in HELD_BACK:
                log.warning(HELD_BACK[number], self._title)
            with self._news:
                if kind == Say.PERSON:
                    self.user_drives = bool(number)
                elif kind == Say.FOCUS:
                    self.has_focus = number != Seen.BEHIND  # a game without a window is not a person's
                elif kind == Say.DONE:
                    self._answered = number
                self._ready = self._ready or kind == Say.READY
                self._failure = text if kind == Say.FAILED else ""
                self._news.notify_all()
        with self._news:
            self._over = True
            self.user_drives, self.has_focus = False, True
            self._news.notify_all()


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """The process, which nothing that ends this one takes along: neither its process group, nor its job on Windows."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}
    if sys.platform == "win32":
        try:
            return _popen(command, environment, subprocess.CREATE_NO_WINDOW | subprocess.CREATE_BREAKAWAY_FROM_JOB)
        except PermissionError:  # somebody's job around ours lets nothing out
            log.warning(
                "whoever started this program lets nothing of it outlive the rest (a job of Windows without breakaway): "
                "when all of it is ended at once, keys may stay down"
            )
            return _popen(command, environment, subprocess.CREATE_NO_WINDOW)
    return _popen(command, environment, 0)


def _popen(command: list[str], environment: dict[str, str], flags: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        bufsize=0,
        start_new_session=True,  # ignored on Windows, as creationflags are on POSIX
        creationflags=flags,
    )
