"""Messages as bytes over a pair of operating system pipes, and the bounded queue that stands at each end.

On the pipe every message has four bytes of length (little endian) before it.  Reading and writing block, so each end gives
both to threads: that works on every platform, costs nothing while nothing comes, and lets go of the interpreter meanwhile.
The ends are `pipe.EnginePort` in the engine and `channel.PipeChannel` in the daemon.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence

from tmrld.errors import ProtocolError
from tmrld.protocol.messages import MAX_MESSAGE_BYTES, MIB

_LENGTH = struct.Struct("<I")

BATCH_BYTES = 256 * 1024
"""How much is read or written at once when messages are small: some twenty chunks per system call."""
PIPE_BYTES = 1 * MIB
"""Asked of the kernel where it can be asked (Linux): the most that a process without privileges gets."""

QUEUE_BYTES = 64 * MIB
QUEUE_MESSAGES = 10_000
"""Bounds of the queues at both ends of the pipe."""


class Wire:
    """One end of two pipes: whole messages in, whole messages out.

    `read` belongs to one thread and `write` to another; each of them also closes its side, so that no descriptor is ever
    closed while somebody waits on it.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reader = os.fdopen(reading, "rb", buffering=BATCH_BYTES)
        self._writing = writing

    def read(self) -> bytes:
        """Wait for the next message.

        Raises EOFError when the other end has closed or died, even in the middle of a message, and ProtocolError when what
        comes is no message.
        """
        head = self._reader.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise EOFError
        (size,) = _LENGTH.unpack(head)
        if size > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"a message of {size} bytes is announced on the pipe; at most {MAX_MESSAGE_BYTES} are allowed")
        data = self._reader.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def write(self, messages: Sequence[bytes]) -> None:
        """Write messages, waiting while the pipe is full.  Raises OSError when nobody will ever read them."""
        if len(messages) > 1 or len(messages[0]) <= BATCH_BYTES:
            pieces = [piece for message in messages for piece in (_LENGTH.pack(len(message)), message)]
            self._write_all(b"".join(pieces))
        else:
            self._write_all(_LENGTH.pack(len(messages[0])))
            self._write_all(messages[0])

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._writing, view) :]

    def close_reading(self) -> None:
        """For the thread that reads, once."""
        self._reader.close()

    def close_writing(self) -> None:
        """For the thread that writes, once; the other end then reads end-of-file."""
        os.close(self._writing)


def pipe_ends() -> tuple[tuple[int, int], tuple[int, int]]:
    """Two new pipes as descriptors that no other process inherits: (reading, writing) of the one end and of the other."""
    first_reading, second_writing = os.pipe()
    second_reading, first_writing = os.pipe()
    for descriptor in (first_writing, second_writing):
        _widen(descriptor)
    return (first_reading, first_writing), (second_reading, second_writing)


def wire_pair() -> tuple[Wire, Wire]:
    """Two joined ends within one process."""
    first, second = pipe_ends()
    return Wire(*first), Wire(*second)


def _widen(descriptor: int) -> None:
    """Ask for a larger pipe; one of the usual size will do as well."""
    if sys.platform == "linux":
        import contextlib
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class ByteQueue:
    """Messages in order from one side to another, bounded; for threads, and for an event loop through its two callbacks.

    It is full from ``high_bytes`` or ``high_messages`` on, and takes nothing more until it is down to half of both: so the
    producer rests for a while instead of being woken for each message.  It never holds more than ``high_bytes`` and one
    message.  What a full queue means is the producer's choice: `put` waits, or says no.

    ``on_item`` is called when the queue is no longer empty or was closed, ``on_room`` when it is no longer full or was closed,
    by the thread that made it so; they must return at once.
    """

    def __init__(
        self,
        high_bytes: int = QUEUE_BYTES,
        high_messages: int = QUEUE_MESSAGES,
        on_item: Callable[[], None] | None = None,
        on_room: Callable[[], None] | None = None,
    ) -> None:
        self._high_bytes = high_bytes
        self._high_messages = high_messages
        self._on_item = on_item
        self._on_room = on_room
        self._items: deque[bytes] = deque()
        self._bytes = 0
        self._full = False
        self._closed = False
        lock = threading.Lock()
        self._item = threading.Condition(lock)
        self._room = threading.Condition(lock)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size_bytes(self) -> int:
        """What the queue holds."""
        return self._bytes

    @property
    def crowded(self) -> bool:
        """Whether less than half of the bounds is free, which is no time for what can be left out."""
        return self._full or 2 * self._bytes > self._high_bytes or 2 * len(self._items) > self._high_messages

    @property
    def closed(self) -> bool:
        """Whether nothing more can be put in."""
        return self._closed

    def put(self, data: bytes, wait_s: float | None = 0.0) -> bool:
        """Append a message, waiting up to ``wait_s`` for room (None: as long as it takes); False when there was none.

        Raises EOFError when the queue is closed.
        """
        with self._room:
            if self._full and not self._closed and wait_s != 0:
                self._room.wait_for(lambda: self._closed or not self._full, wait_s)
            if self._closed:
                raise EOFError
            if self._full:
                return False
            was_empty = not self._items
            self._items.append(data)
            self._bytes += len(data)
            self._full = self._bytes >= self._high_bytes or len(self._items) >= self._high_messages
            if was_empty:
                self._item.notify()
        if was_empty and self._on_item is not None:
            self._on_item()
        return True

    def get(self, wait_s: float | None = 0.0) -> bytes | None:
        """Take the oldest message, waiting up to ``wait_s`` for one; None when none came.

        Raises EOFError when the queue is closed and empty.
        """
        with self._item:
            if not self._await_item(wait_s):
                return None
            data = self._items[0]
            has_room = self._remove(1)
        if has_room and self._on_room is not None:
            self._on_room()
        return data

    def peek(self, max_bytes: int) -> list[bytes]:
        """Wait for messages and look at the oldest: one, or as many as fit ``max_bytes``.  They stay until `drop`.

        So the queue is empty only when everything was dealt with.  Raises EOFError when the queue is closed and empty.
        """
        with self._item:
            self._await_item(None)
            batch: list[bytes] = []
            size = 0
            for data in self._items:
                size += len(data)
                if batch and size > max_bytes:
                    break
                batch.append(data)
            return batch

    def drop(self, count: int) -> None:
        """Remove the ``count`` oldest messages, which `peek` returned."""
        with self._item:
            has_room = self._remove(count)
        if has_room and self._on_room is not None:
            self._on_room()

    def close(self, *, discard: bool = False) -> None:
        """Take nothing more in.  What is inside can still be taken out, unless it is discarded here; may be called again."""
        with self._item:
            self._closed = True
            if discard:
                self._items.clear()
                self._bytes = 0
            self._item.notify_all()
            self._room.notify_all()
        for callback in (self._on_item, self._on_room):
            if callback is not None:
                callback()

    def await_empty(self, wait_s: float) -> bool:
        """Wait until everything was taken out; False when it was not in time."""
        with self._room:
            return self._room.wait_for(lambda: not self._items, wait_s)

    def _await_item(self, wait_s: float | None) -> bool:
        if not self._items and not self._closed and wait_s != 0:
            self._item.wait_for(lambda: self._closed or bool(self._items), wait_s)
        if not self._items and self._closed:
            raise EOFError
        return bool(self._items)

    def _remove(self, count: int) -> bool:
        """Remove the oldest messages; true when the queue is no longer full because of it."""
        for _ in range(min(count, len(self._items))):
            self._bytes -= len(self._items.popleft())
        has_room = self._full and 2 * self._bytes <= self._high_bytes and 2 * len(self._items) <= self._high_messages
        if has_room:
            self._full = False
        if has_room or not self._items:
            self._room.notify_all()
        return has_room
