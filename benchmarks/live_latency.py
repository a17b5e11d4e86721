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
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from relay_process import RUN, START_TIMEOUT_S, RelayProcess, running
from report import print_report
from websockets.asyncio.client import ClientConnection, connect

from tmrld.engines.pipe import EnginePort
from tmrld.engines.supervisor import Engine
from tmrld.peers.link import Link
from tmrld.protocol.messages import Command, Message, Metrics, Resume, Resumed

INTERVAL_S = 0.05
WARM_UP = 20
TARGET_MS = 100


def report_numbers(port: EnginePort, _arguments: dict[str, Any]) -> None:
    """What the engine does."""
    update = 0
    while True:
        message = port.wait(INTERVAL_S)
        if isinstance(message, Command):
            return
        update += 1
        port.send(Metrics(RUN, 0, update, 20 * update, {"sent": time.monotonic(), "loss": 0.5}))


async def listen(relay: RelayProcess, viewer: str) -> ClientConnection:
    """The live stream."""
    url = f"ws://127.0.0.1:{relay.control}/api/v1/live?topics=metrics&run={RUN}"
    ends = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return await connect(url, additional_headers={"Authorization": f"Bearer {viewer}"})
        except OSError:
            if time.monotonic() > ends:
                raise
            await asyncio.sleep(0.2)


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


async def measure(relay: RelayProcess, seconds: float) -> list[float]:
    """Milliseconds of each metric on its way."""
    stream = await listen(relay, relay.token("benchmark", "viewer"))
    dialer = relay.dialer("trainer", "t1", relay.token("t1", "trainer"))
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
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as relay:
        taken = asyncio.run(measure(relay, seconds))
    median, p95, worst = np.percentile(taken, (50, 95, 100)).tolist()
    result = {"metric": "live_p95_ms", "value": p95, "unit": "ms", "target": TARGET_MS}
    print_report("live_latency", [{**result, "peers": {"median": median, "worst": worst}}])


if __name__ == "__main__":
    main()
