"""A relay in a process of its own, and what it takes to reach it."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tmrld.peers.dialer import Dialer
from tmrld.protocol.messages import Hello
from tmrld.security.tls import client_context, ensure_identity
from tmrld.security.tokens import TokenStore
from tmrld.storage.layout import Layout

RUN = "demo"
"""The run that a new relay begins with."""
START_TIMEOUT_S = 60.0


def free_port() -> int:
    """One of this machine's that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class DaemonProcess:
    """A daemon in a process of its own, started by this command, as often as it is asked to."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process:
        """Itself, while it runs."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        """Start it; what it says is not kept."""
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, env=self._environment, stdout=nowhere, stderr=nowhere)

    def kill(self) -> None:
        """SIGKILL; its engines end with it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as a service manager does, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=60)


class RelayProcess(DaemonProcess):
    """`tmrld serve` with the role relay, on the data folder ``folder``, which may have been used before."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.layout = Layout(folder)
        self.layout.relay.mkdir(parents=True, exist_ok=True)
        self.pin = ensure_identity(self.layout.relay, ("127.0.0.1",)).pin
        self.control, self.peers = free_port(), free_port()
        settings = (f"relay.port={self.peers}", f"control.port={self.control}", *settings)
        flags = [f"--set={setting}" for setting in settings]
        super().__init__([sys.executable, "-m", "tmrld", "serve", "--role", "relay", "--data", str(folder), *flags])

    @property
    def url(self) -> str:
        """Where its peers find it."""
        return f"wss://127.0.0.1:{self.peers}"

    def token(self, name: str, scope: str) -> str:
        """A token of this name.  Before it starts, or while it runs."""
        return self.tokens([name], scope)[0]

    def tokens(self, names: Sequence[str], scope: str) -> list[str]:
        """One for each of these."""
        store = TokenStore(self.layout.tokens_db)
        try:
            return [store.issue(name, scope) for name in names]
        finally:
            store.close()

    def context(self) -> ssl.SSLContext:
        """What knows its key."""
        return client_context(self.pin, None)

    def dialer(self, role: str, name: str, token: str) -> Dialer:
        """What keeps a node of this name linked to it."""
        return Dialer(self.url, token, Hello(role, name, "0"), self.context())

    def await_listening(self) -> float:
        """Wait until it takes connections of peers; returns the monotonic time of that."""
        ends = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < ends:
            try:
                socket.create_connection(("127.0.0.1", self.peers), timeout=1.0).close()
                return time.monotonic()
            except OSError:
                time.sleep(0.005)
        raise SystemExit(f"the relay does not listen after {START_TIMEOUT_S:g} s: run `tmrld serve` by hand to see why")


@contextmanager
def running(folder: Path, prepare: Callable[[RelayProcess], None] = lambda _: None) -> Iterator[RelayProcess]:
    """One that listens, until the block is left; ``prepare`` is called before it starts."""
    relay = RelayProcess(folder)
    prepare(relay)
    relay.start()
    try:
        relay.await_listening()
        yield relay
    finally:
        relay.stop()
