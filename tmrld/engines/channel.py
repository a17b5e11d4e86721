"""The daemon's end of the pipe to an engine: a `peers.channel.Channel` for asyncio that works on every platform.

The Proactor loop of Windows cannot wait for pipes, so two threads do: one reads, one writes.  They sleep in the system call while
there is nothing to do.  The engine's end is `pipe.EnginePort`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

from tmrld.engines.wire import BATCH_BYTES, QUEUE_BYTES, QUEUE_MESSAGES, ByteQueue, Wire
from tmrld.errors import ProtocolError
from tmrld.peers.channel import ABNORMAL, NORMAL, Closed


class PipeChannel:
    """Messages to and from one engine; belongs to the event loop that runs while it is made.

    Both directions are bounded by ``high_bytes`` and ``high_messages``.  While nobody calls `recv` the reading thread stops
    reading, the pipe fills, and the engine notices; while the engine does not read, `send` waits.
    """

    def __init__(self, wire: Wire, name: str, high_bytes: int = QUEUE_BYTES, high_messages: int = QUEUE_MESSAGES) -> None:
        self._wire = wire
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._finished = asyncio.Event()
        self._sending = asyncio.Lock()
        self._inbox = ByteQueue(high_bytes, high_messages, on_item=lambda: self._tell(self._arrived))
        self._outbox = ByteQueue(high_bytes, high_messages, on_room=lambda: self._tell(self._has_room))
        self._closed: Closed | None = None
        self._violation: ProtocolError | None = None
        self._lock = threading.Lock()
        self._running_threads = 2
        threading.Thread(target=self._read, name=f"read from engine {name}", daemon=True).start()
        threading.Thread(target=self._write, name=f"write to engine {name}", daemon=True).start()

    @property
    def remote(self) -> str:
        """The engine's name."""
        return f"engine {self._name}"

    @property
    def latency_s(self) -> float | None:
        """A pipe is not measured."""
        return None

    async def send(self, data: bytes) -> None:
        """Queue one message; waits while the engine does not read and the queue is full.

        Cancelling sends nothing.  Raises `Closed` when the engine's end is gone or this end was closed.
        """
        async with self._sending:
            while True:
                self._has_room.clear()
                try:
                    if self._outbox.put(data):
                        return
                except EOFError:
                    raise self._reason() from None
                await self._has_room.wait()

    async def recv(self) -> bytes:
        """Return the next message.  Cancelling loses nothing.

        What the engine said before it ended still arrives; then raises `Closed`, again at every further call.  Raises
        ProtocolError when what comes is no message.
        """
        while True:
            self._arrived.clear()
            try:
                data = self._inbox.get()
            except EOFError:
                if self._violation is not None:
                    raise self._violation from None
                raise self._reason() from None
            if data is not None:
                return data
            await self._arrived.wait()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Let go of the engine: it receives what was sent, then end-of-file.  What it still says is thrown away."""
        if self._closed is None:
            self._closed = Closed(code, reason, ours=True)
        self._outbox.close()
        self._inbox.close(discard=True)

    async def wait_finished(self) -> None:
        """After `close`, or when the engine has ended: wait until both threads have ended and the pipe is released."""
        await self._finished.wait()

    def _reason(self) -> Closed:
        closed = self._closed or Closed(ABNORMAL, f"the engine {self._name} has closed its pipe")
        return Closed(closed.code, closed.reason, ours=closed.ours)

    def _read(self) -> None:
        """Thread: pipe → inbox, until end-of-file.  A closed inbox swallows what comes, so that the engine can end."""
        try:
            while True:
                data = self._wire.read()
                with contextlib.suppress(EOFError):
                    self._inbox.put(data, wait_s=None)
        except (EOFError, OSError):
            pass
        except ProtocolError as error:
            self._violation = error
        self._wire.close_reading()
        self._inbox.close()
        self._outbox.close(discard=True)
        self._thread_ends()

    def _write(self) -> None:
        """Thread: outbox → pipe, until the outbox is closed and empty or nobody reads any more."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                batch = self._outbox.peek(BATCH_BYTES)
                self._wire.write(batch)
                self._outbox.drop(len(batch))
        self._wire.close_writing()
        self._outbox.close(discard=True)
        self._thread_ends()

    def _thread_ends(self) -> None:
        with self._lock:
            self._running_threads -= 1
            if self._running_threads == 0:
                self._tell(self._finished)

    def _tell(self, event: asyncio.Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(event.set)
