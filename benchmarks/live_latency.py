"""From an engine's metric to a WebSocket client: how long it takes through a real relay.

An engine process reports a number with the time at which it did so, as a trainer's engine does, twenty times a second.  It goes
over the engine's pipe to its daemon (this process), over the TLS link to a relay in a process of its own, into its store, and over
the live stream back to this process.  All read one clock, the machine's monotonic one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from report import print_report
from websockets.asyncio.client import ClientConnection, connect

from tmrld.engines.pipe import EnginePort
from tmrld.engines.supervisor import Engine
from tmrld.peers.dialer import Dialer
from tmrld.peers.link import Link
from tmrld.protocol.messages import Command, Hello, Message, Metrics, Resume, Resumed
from tmrld.security.tls import client_context, ensure_identity
from tmrld.security.tokens import TokenStore
from tmrld.storage.layout import Layout

RUN = "demo"
INTERVAL_S = 0.05
WARM_UP = 20
TARGET_MS = 100
START_TIMEOUT_S = 60.0


def report_numbers(port: EnginePort, _arguments: dict[str, Any]) -> None:
    """What the engine does."""
    update = 0
    while True:
        message = port.wait(INTERVAL_S)
        if isinstance(message, Command):
            return
        update += 1
        port.send(Metrics(RUN, 0, update, 20 * update, {"sent": time.monotonic(), "loss": 0.5}))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Relay:
    """A relay in a process of its own, and what it takes to reach it."""

    def __init__(self, folder: Path) -> None:
        layout = Layout(folder)
        layout.relay.mkdir(parents=True)
        self.pin = ensure_identity(layout.relay, ("127.0.0.1",)).pin
        tokens = TokenStore(layout.tokens_db)
        self.viewer, self.trainer = tokens.issue("benchmark", "viewer"), tokens.issue("t1", "trainer")
        tokens.close()
        self.control, self.peers = free_port(), free_port()
        settings = [f"--set=relay.port={self.peers}", f"--set=control.port={self.control}"]
        command = [sys.executable, "-m", "tmrld", "serve", "--role", "relay", "--data", str(folder), *settings]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def listen(self) -> ClientConnection:
        """The live stream, as soon as there is one."""
        url = f"ws://127.0.0.1:{self.control}/api/v1/live?topics=metrics&run={RUN}"
        ends = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return await connect(url, additional_headers={"Authorization": f"Bearer {self.viewer}"})
            except OSError:
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(0.2)

    def stop(self) -> None:
        """End it as a service manager does."""
        self._process.terminate()
        self._process.wait(timeout=30)


async def trainer(link: Link) -> None:
    """Resume the run, then pass on what the engine says."""

    async def pass_on(message: Message) -> None:
        if isinstance(message, Metrics):
            await link.send(message)

    engine = Engine("numbers", "live_latency:report_numbers", {}, on_message=pass_on)
    await link.send(Resume(RUN, 0, 0, 2**20))
    try:
        async for message in link:
            if isinstance(message, Resumed):
                await engine.start()
    finally:
        await engine.stop()


async def measure(relay: Relay, seconds: float) -> list[float]:
    """Milliseconds of each metric on its way."""
    stream = await relay.listen()
    dialer = Dialer(
        f"wss://127.0.0.1:{relay.peers}", relay.trainer, Hello("trainer", "t1", "0"), client_context(relay.pin, None)
    )
    training = asyncio.create_task(dialer.run(trainer))
    taken: list[float] = []
    try:
        async with asyncio.timeout(START_TIMEOUT_S + seconds):
            while len(taken) < WARM_UP + seconds / INTERVAL_S:
                message = json.loads(await stream.recv())
                if message["kind"] == "event" and "sent" in message["data"]["values"]:
                    taken.append(1000 * (time.monotonic() - message["data"]["values"]["sent"]))
    finally:
        training.cancel()
        await asyncio.wait({training})
        await stream.close()
    return taken[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    seconds = parser.parse_args().seconds
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120 - the engine finds this file by it
    with tempfile.TemporaryDirectory() as folder:
        relay = Relay(Path(folder))
        try:
            taken = asyncio.run(measure(relay, seconds))
        finally:
            relay.stop()
    median, p95, worst = np.percentile(taken, (50, 95, 100)).tolist()
    result = {"metric": "live_p95_ms", "value": p95, "unit": "ms", "target": TARGET_MS}
    print_report("live_latency", [{**result, "peers": {"median": median, "worst": worst}}])


if __name__ == "__main__":
    main()
