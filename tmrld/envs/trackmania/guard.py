"""The controls guard: a small process that alone holds gamepad or keys, and lets go of them when nobody says to hold on.

::

    python -m tmrld.envs.trackmania.guard gamepad|keyboard TITLE STEP_S HAND_BACK_S PLUG_IN_S

It lets go of everything

- when it starts, for the guard before it may have been killed with a key down;
- when two time steps have passed since the last command, so that one was missed; it goes on with the next command;
- at once when its standard input ends, because whoever drove is gone, and on SIGTERM; then it ends;
- at once when a person presses a key in the game; until the person hands back, commands are answered and nothing is pressed;
- on the keyboard, while the game's window, of exactly that title, does not have the focus: keys would go to another one.  It says so,
  and says when the window has it again.

Commands come on standard input, 20 bytes each (`COMMAND`); each is answered in its turn, when it is carried out:

===========  =====================================================================
``HOLD``     from now on gas and brake, 0 to 1, and steer, -1 to 1
``NEUTRAL``  let go of everything
``RESET``    press what begins the race anew for 0.1 s, and nothing else
``POP_UP``   press what closes the window that a finish shows for 0.1 s, likewise
===========  =====================================================================

Answers go to standard output, 8 bytes each (`ANSWER`): a kind and a number.

===========  =====================================================================
``READY``    the first, before any command is read
``DONE``     the command of this number is carried out, or was not to be
``PERSON``   unasked: 1 when a person takes over, 0 when they hand back
``FOCUS``    unasked: a `Seen`; keys are held back unless the game is in front
``WARNING``  the number is the length of the UTF-8 text that follows, for the user
``FAILED``   likewise; the guard cannot go on, and ends
===========  =====================================================================

Threads read standard input and watch the keyboard; what they see comes to the one loop of `Guard`, which alone touches the device.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import IO

from tmrld.envs.scheduling import run_soon
from tmrld.envs.trackmania import windows
from tmrld.envs.trackmania.controls import Device, Takeover, limited
from tmrld.envs.trackmania.gamepad import Gamepad
from tmrld.envs.trackmania.keyboard import Keyboard, Keys, system_keys
from tmrld.errors import GameError

COMMAND = struct.Struct("<BxxxIfff")
"""Kind, number, gas, brake, steer."""
ANSWER = struct.Struct("<BxxxI")
"""Kind, number."""

STEPS = 2
"""After so many time steps without a command, everything is let go of."""
LOOK_S = 0.5
"""How often a window that is not there is looked for."""
FOCUS_S = 0.1
"""How often a window that has lost the focus is asked whether it has it again."""


class Seen(IntEnum):
    """Where the game's window is."""

    BEHIND = 0
    IN_FRONT = 1
    NOWHERE = 2


class Ask(IntEnum):
    """Kinds of commands."""

    HOLD = 1
    NEUTRAL = 2
    RESET = 3
    POP_UP = 4


class Say(IntEnum):
    """Kinds of answers."""

    READY = 1
    DONE = 2
    PERSON = 3
    FOCUS = 4
    WARNING = 5
    FAILED = 6


@dataclass(frozen=True)
class Command:
    """From whoever drives."""

    kind: Ask
    number: int
    gas: float = 0.0
    brake: float = 0.0
    steer: float = 0.0


@dataclass(frozen=True)
class Touch:
    """Somebody else has pressed or released a key."""

    key: int
    down: bool


Inbox = queue.SimpleQueue[Command | Touch | None]
"""What the guard has to know, in order; None ends it.  It never holds more than the driver has not had answered, and key presses."""


class Guard:
    """What the process does with what it is told.  It belongs to the thread that runs it."""

    def __init__(
        self,
        device: Device,
        is_focused: Callable[[], bool | None],
        needs_focus: bool,
        step_s: float,
        person: Takeover,
        say: Callable[[Say, int], None],
    ) -> None:
        """``is_focused`` tells whether the game's window has the focus, or None where there is no such window."""
        self._device = device
        self._is_focused = is_focused
        self._needs_focus = needs_focus
        self._patience_s = STEPS * step_s
        self._say = say
        self._person = person
        self._seen = Seen.IN_FRONT
        self._ask_focus_at = math.inf  # while it has the focus, each command asks
        self._let_go_at = math.inf  # when nothing is held that would have to be let go of

    def run(self, inbox: Inbox) -> None:
        """Until None comes.  Raises GameError when the device is lost."""
        while True:
            wait_s = min(self._let_go_at, self._person.look_at, self._ask_focus_at) - time.monotonic()
            try:
                event = inbox.get(timeout=None if wait_s == math.inf else max(0.0, wait_s))
            except queue.Empty:
                pass
            else:
                if event is None:
                    return
                if isinstance(event, Touch):
                    self._touched(event)
                else:
                    self._obey(event)
            self._look_at_the_clock()

    def _obey(self, command: Command) -> None:
        held = limited(command.gas, command.brake, command.steer)
        if command.kind is Ask.NEUTRAL or not self._may_press():
            self._let_go()
        elif command.kind is Ask.HOLD:
            self._device.hold(*held)
            self._let_go_at = time.monotonic() + self._patience_s if any(held) else math.inf
        else:
            self._let_go_at = math.inf
            press = self._device.reset_race if command.kind is Ask.RESET else self._device.close_pop_up
            press()
        self._say(Say.DONE, command.number)

    def _may_press(self) -> bool:
        if self._person.drives or not self._needs_focus:
            return not self._person.drives
        focused = self._is_focused()
        seen = Seen.NOWHERE if focused is None else Seen(focused)
        if seen != self._seen:
            self._seen = seen
            self._say(Say.FOCUS, seen)
        self._ask_focus_at = math.inf if focused else time.monotonic() + FOCUS_S
        return bool(focused)

    def _touched(self, touch: Touch) -> None:
        """A key that goes to another window takes nothing over."""
        now = time.monotonic()
        if not touch.down:
            self._person.release(touch.key, now)
        elif self._is_focused() is not False:
            if not self._person.drives:
                self._let_go()
                self._say(Say.PERSON, 1)
            self._person.press(touch.key, now)

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if now >= self._let_go_at:
            self._let_go()
        if self._person.look(now):
            self._say(Say.PERSON, 0)
        if now >= self._ask_focus_at:
            self._ask_focus_at = now + FOCUS_S
            self._may_press()

    def _let_go(self) -> None:
        self._let_go_at = math.inf
        self._device.neutral()


class Focus:
    """Whether the game's window has the focus, or None where there is no window of that title, or no way to tell."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._window: windows.GameWindow | None = None
        self._look_again_at = 0.0

    def __call__(self) -> bool | None:
        now = time.monotonic()
        try:
            if self._window is None:
                if now < self._look_again_at:
                    return None
                self._look_again_at = now + LOOK_S
                self._window = windows.find(self._title)
            return self._window.is_focused()
        except GameError:  # it was closed, or is not there yet
            if self._window is not None:
                self._window.close()
                self._window = None
            return None


def main(arguments: list[str]) -> int:
    """Be a guard: returns the exit code, 0 after a regular end and 1 when the device could not be had, or was lost."""
    commands = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    with contextlib.suppress(OSError):  # no standard error, as in a service on Windows
        os.dup2(2, 1)  # what a library prints is no answer

    def say(kind: Say, number: int, text: bytes = b"") -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: the end of standard input says so, too
            answers.write(ANSWER.pack(kind, number) + text)

    def say_text(kind: Say, text: str) -> None:
        data = text.encode("utf-8", "replace")
        say(kind, len(data), data)

    inbox: Inbox = queue.SimpleQueue()
    gone = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever drives
    signal.signal(signal.SIGTERM, lambda *_: inbox.put(None))
    try:
        _guard(arguments, commands, inbox, gone, say, lambda text: say_text(Say.WARNING, text))
    except GameError as error:
        say_text(Say.FAILED, str(error))
        return 1
    except Exception as error:
        say_text(Say.FAILED, f"the controls guard failed ({type(error).__name__}: {error}); please report this")
        return 1
    return 0


def _guard(
    arguments: list[str],
    commands: IO[bytes],
    inbox: Inbox,
    gone: threading.Event,
    say: Callable[[Say, int], None],
    warn: Callable[[str], None],
) -> None:
    """From the device's making to its closing.  Raises GameError."""
    controls, title, step_s, hand_back_s, plug_in_s = arguments
    presses_keys = controls == "keyboard"
    keys: Keys | None = system_keys() if presses_keys else None
    device: Device = Keyboard(keys, gone.wait) if keys else Gamepad(gone.wait, float(plug_in_s))
    try:
        try:
            keys = keys or system_keys()
            keys.watch(
                lambda key, down: inbox.put(Touch(key, down)),
                lambda why: warn(f"a key press of yours will no longer stop the policy, for it is no longer seen: {why}"),
            )
        except GameError as error:
            warn(f"a key press of yours will not stop the policy, for it cannot be seen: {error}")
        person = Takeover(float(hand_back_s), keys.is_down if keys else lambda key: False)
        threading.Thread(target=_listen, args=(commands, inbox, gone), name="listen", daemon=True).start()
        say(Say.READY, 0)
        run_soon()
        Guard(device, Focus(title), presses_keys, float(step_s), person, say).run(inbox)
    finally:
        device.close()


def _listen(commands: IO[bytes], inbox: Inbox, gone: threading.Event) -> None:
    """Thread: hand on each command, and then the end."""
    run_soon()
    try:
        while data := read_exactly(commands, COMMAND.size):
            kind, number, gas, brake, steer = COMMAND.unpack(data)
            inbox.put(Command(Ask(kind), number, gas, brake, steer))
    finally:
        gone.set()
        inbox.put(None)


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """So many bytes; none when the stream has ended before."""
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            return b""
        data += more
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
