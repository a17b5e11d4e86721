"""What the plugins in the game do on their ports, to the byte: one sends telemetry, the other saves a replay when it is called.

Nothing here ever waits: it is called once a frame.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys

from tmrld.errors import Conflict

HOST = "127.0.0.1"
BACKLOG = 8


def listening(port: int, what: str, flag: str) -> socket.socket:
    """A socket that listens on that port of this machine; 0 takes a free one.  Raises Conflict when the port is taken."""
    listener = socket.socket()
    if sys.platform != "win32":  # there it would let two programs have one port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"the port {port}, on which {what}, is taken: another game or stand-in is running? End it, or choose another port "
                f"with {flag}"
            ) from error
        raise Conflict(
            f"the port {port}, on which {what}, cannot be used ({error.strerror}): choose another with {flag}"
        ) from error
    return listener


class TelemetryPort:
    """Sends records to one client.  After a write that failed it hangs up, and listens anew.

    A second client that calls while the first is there is not heard: it waits in the queue of the system, and is cut off when the
    first has gone.  A client that does not read is one to which a write fails, as soon as the system's buffers are full.
    """

    def __init__(self, port: int) -> None:
        """Raises Conflict when the port is taken."""
        self._listener: socket.socket | None = self._listen(port)
        self._client: socket.socket | None = None
        self.port: int = self._listener.getsockname()[1]
        """The port that it has."""

    def send(self, record: bytes) -> None:
        """A frame's record, to whoever listens."""
        if self._client is None:
            self._accept()
        if self._client is None:
            return
        try:
            sent = self._client.send(record)
        except OSError:
            sent = 0
        if sent < len(record):
            self.close()

    def close(self) -> None:
        """Hang up, and listen no more until the next `send`."""
        for each in (self._client, self._listener):
            if each is not None:
                each.close()
        self._client = self._listener = None

    def _accept(self) -> None:
        if self._listener is None:
            with contextlib.suppress(Conflict):  # somebody else has taken it meanwhile: the next frame tries again
                self._listener = self._listen(self.port)
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._client, _ = self._listener.accept()
                self._client.setblocking(False)

    @staticmethod
    def _listen(port: int) -> socket.socket:
        return listening(port, "telemetry is sent", "--telemetry-port")


class ReplayPort:
    """Is called by whoever wants a replay saved, and says nothing."""

    def __init__(self, port: int) -> None:
        """Raises Conflict when the port is taken."""
        self._listener = listening(port, "replays are asked for", "--replay-port")
        self.port: int = self._listener.getsockname()[1]
        """The port that it has."""

    def calls(self) -> int:
        """How many have called since it was last asked."""
        count = 0
        while True:
            try:
                caller, _ = self._listener.accept()
            except ConnectionError:  # the caller has hung up before it was answered
                continue
            except OSError:  # there is none, or the system cannot take one now: who waits is counted later
                return count
            caller.close()
            count += 1

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()
