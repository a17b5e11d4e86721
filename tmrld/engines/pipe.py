"""The engine's end of the pipe to its daemon: what a plain, synchronous loop needs, and nothing that makes it wait.

The daemon's end is `channel.PipeChannel`; what travels between them is in `wire`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from tmrld.engines.wire import BATCH_BYTES, QUEUE_BYTES, QUEUE_MESSAGES, ByteQueue, Wire
from tmrld.errors import DaemonGone, PipeFull, ProtocolError
from tmrld.protocol.codec import decode, encode
from tmrld.protocol.messages import LogLines, Message, Metrics, Preview, Status

BEAT_S = 2.0
"""How often an engine says that its loop goes round."""
ALIVE = "alive"
"""The state of a `Status` that is only a heartbeat; the supervisor keeps it to itself."""

_DROPPABLE = (Metrics, Status, LogLines, Preview)


class EnginePort:
    """Messages from and to the daemon.  `poll` and `wait` belong to one thread, `send` to any.

    The two queues are bounded by ``high_bytes`` and ``high_messages``.  When the one towards the daemon is half full, metrics,
    status, log lines and previews are dropped and counted in `dropped`; when it is full, `send` raises for everything else.  When the
    one from the daemon is full, the daemon has to wait.

    Every `poll`, `wait` and `beat` tells the supervisor now and then (every ``beat_s``) that the loop is alive.
    ``last_resort`` is called in a thread when the daemon is gone: it must end the process a while later, whatever the loop does.
    """

    def __init__(
        self,
        wire: Wire,
        beat_s: float = BEAT_S,
        high_bytes: int = QUEUE_BYTES,
        high_messages: int = QUEUE_MESSAGES,
        last_resort: Callable[[], None] | None = None,
    ) -> None:
        self._wire = wire
        self._beat_s = beat_s
        self._last_resort = last_resort
        self._inbox = ByteQueue(high_bytes, high_messages)
        self._outbox = ByteQueue(high_bytes, high_messages)
        self._next_beat = time.monotonic() + beat_s
        self.dropped = 0
        """Messages left out because the daemon did not read fast enough."""
        threading.Thread(target=self._read, name="read from the daemon", daemon=True).start()
        threading.Thread(target=self._write, name="write to the daemon", daemon=True).start()

    @property
    def closed(self) -> bool:
        """Whether the daemon is gone: nothing more will come, nothing more can be sent."""
        return self._inbox.closed

    def send(self, message: Message, wait_s: float | None = 0.0) -> None:
        """Hand a message to the sending thread; never waits unless ``wait_s`` says for how long (None: without limit).

        A large message that may as well be late (a checkpoint) is sent with a wait.  Raises PipeFull when there is no room,
        DaemonGone, and BadInput for a message that the daemon would refuse.
        """
        if isinstance(message, _DROPPABLE) and wait_s == 0 and self._outbox.crowded:
            self.dropped += 1
            return
        try:
            if not self._outbox.put(encode(message), wait_s):
                raise PipeFull(
                    f"no room to send {type(message).__name__}: {len(self._outbox)} messages of "
                    f"{self._outbox.size_bytes} bytes in all wait for the daemon, which does not read them"
                )
        except EOFError:
            raise _gone() from None

    def poll(self) -> Message | None:
        """Return the next message if there is one; takes a microsecond if there is none.  Raises DaemonGone."""
        self.beat()
        if not self._inbox and not self._inbox.closed:
            return None
        return self._take(0.0)

    def wait(self, timeout_s: float | None = None) -> Message | None:
        """Return the next message, waiting up to ``timeout_s`` for it (None: without limit); None if none came.

        Raises DaemonGone.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self.beat()
            remaining_s = self._beat_s if deadline is None else deadline - time.monotonic()
            message = self._take(max(0.0, min(remaining_s, self._beat_s)))
            if message is not None or (deadline is not None and time.monotonic() >= deadline):
                return message

    def beat(self, quiet_s: float = 0.0) -> None:
        """Tell the supervisor that the loop is alive, at most every ``beat_s``; costs next to nothing in between.

        ``quiet_s`` announces that the loop will be busy for so many seconds without another word (compiling a network,
        loading a map), and is told at once.
        """
        now = time.monotonic()
        if now < self._next_beat and not quiet_s:
            return
        self._next_beat = now + self._beat_s
        with contextlib.suppress(DaemonGone):  # poll and wait say so
            self.send(Status("", ALIVE, values={"quiet_s": quiet_s, "dropped": self.dropped}))

    def beat_every(self, beat_s: float) -> None:
        """Change the pause between heartbeats."""
        self._beat_s = beat_s
        self._next_beat = time.monotonic()

    def flush(self, timeout_s: float) -> bool:
        """Wait until the daemon's pipe has taken all that was sent; False when it has not in time or is gone."""
        return self._outbox.await_empty(timeout_s) and not self.closed

    def close(self) -> None:
        """Send nothing more; what was sent before still goes out."""
        self._outbox.close()

    def _take(self, wait_s: float) -> Message | None:
        try:
            data = self._inbox.get(wait_s)
        except EOFError:
            raise _gone() from None
        return None if data is None else decode(data)

    def _read(self) -> None:
        """Thread: pipe → inbox, until end-of-file."""
        with contextlib.suppress(EOFError, OSError, ProtocolError):
            while True:
                self._inbox.put(self._wire.read(), wait_s=None)
        self._wire.close_reading()
        self._inbox.close()
        self._outbox.close(discard=True)
        if self._last_resort is not None:
            self._last_resort()

    def _write(self) -> None:
        """Thread: outbox → pipe, until the outbox is closed and empty or nobody reads any more."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                batch = self._outbox.peek(BATCH_BYTES)
                self._wire.write(batch)
                self._outbox.drop(len(batch))
        self._wire.close_writing()
        self._outbox.close(discard=True)


def _gone() -> DaemonGone:
    return DaemonGone("the daemon of this engine has ended or let go of it; the engine ends too")
