"""What a relay has to do for a thousand workers: each drives at 20 Hz and sends a chunk a second, while a page watches the curves.

The workers are links in a process of its own, with tokens of their own; their chunks are noise.  A trainer reads the log in another
process and reports metrics, which the live stream passes on.  What is told is the relay's share of one processor core, the memory
that it takes at most, and how long a chunk waits for its acknowledgement, which is sent when it lies on the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from experience import LIDAR
from live_latency import listen
from relay import Line, apart, at_work, experienced, line_of, lines_of
from relay_process import RUN, RelayProcess, running
from report import print_report

from tmrld.peers.link import Link
from tmrld.protocol.codec import seal_chunk
from tmrld.protocol.messages import Ack, Consumed, Describe, Grant, Metrics, Resume, Stored
from tmrld.trainer.engine import CREDIT_BYTES

STEPS = 20
INTERVAL_S = 1.0
DIALLING = 16
"""How many workers dial at once."""
WARM_UP_S = 5.0
METRICS_INTERVAL_S = 0.1
TARGETS = {"relay_cpu_share": 0.6, "relay_rss_mb": 250.0, "ack_p99_ms": 250.0}


async def work(lines: list[Line], pipe: Connection, seconds: float) -> None:
    """All workers; answers how long each chunk waited, once that many seconds have gone by."""
    rng = np.random.default_rng(0)
    chunk = seal_chunk(experienced(LIDAR, "", STEPS, rng))
    waited: list[float] = []
    linked = asyncio.Semaphore(0)
    dialling = asyncio.Semaphore(DIALLING)
    begin = asyncio.Event()

    async def drive(link: Link, begins_s: float, incarnation: str) -> None:
        sent: dict[int, float] = {}

        async def hear() -> None:
            async for message in link:
                if isinstance(message, Ack):
                    now = time.monotonic()
                    waited.extend(now - sent.pop(number) for number in message.numbers)

        async with at_work(hear()):
            await begin.wait()
            await asyncio.sleep(begins_s)
            due, number = time.monotonic(), 0
            while True:
                sent[number] = time.monotonic()
                await link.send(
                    replace(chunk, worker=link.own_name, incarnation=incarnation, number=number, episode=incarnation)
                )
                number += 1
                due += INTERVAL_S
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def come(line: Line, begins_s: float) -> None:
        incarnation = secrets.token_hex(8)
        async with dialling:
            link = await line.dialer("worker").connect()
            await link.send(Describe(RUN, incarnation, LIDAR.to_plain()))
        linked.release()
        await drive(link, begins_s, incarnation)

    async with asyncio.TaskGroup() as tasks:
        begins = rng.uniform(0.0, INTERVAL_S, len(lines)).tolist()
        workers = [tasks.create_task(come(line, begins_s)) for line, begins_s in zip(lines, begins, strict=True)]
        for _ in lines:
            await linked.acquire()
        pipe.send("linked")
        await asyncio.to_thread(pipe.recv)
        begin.set()
        await asyncio.sleep(WARM_UP_S)
        waited.clear()
        pipe.send("measuring")
        await asyncio.sleep(seconds)
        pipe.send(list(waited))
        await asyncio.to_thread(pipe.recv)
        for worker in workers:
            worker.cancel()


async def learn(line: Line, pipe: Connection) -> None:
    """A trainer that only reads, grants, and reports."""

    async def serve(link: Link) -> None:
        await link.send(Resume(RUN, 0, 0, CREDIT_BYTES))
        async with at_work(report(link)):
            async for message in link:
                if isinstance(message, Stored):
                    await link.send(Consumed(RUN, message.next_offset))

    async def report(link: Link) -> None:
        update = 0
        while True:
            await asyncio.sleep(METRICS_INTERVAL_S)
            update += 1
            await link.send(Grant(RUN, 100_000 * update))
            await link.send(Metrics(RUN, 0, update, update, {f"number_{number}": 0.5 for number in range(20)}))

    async with at_work(line.dialer("trainer").run(serve)):
        await asyncio.to_thread(pipe.recv)


async def watched(relay: RelayProcess, viewer: str, workers: Connection) -> tuple[list[float], float, float, int]:
    """While the curves are watched: what each chunk waited, the relay's share of a core, its memory in MB, and metrics seen."""
    stream = await listen(relay, viewer)
    seen = 0

    async def watch() -> None:
        nonlocal seen
        async for _ in stream:
            seen += 1

    async with at_work(watch()):
        workers.send("begin")
        await asyncio.to_thread(workers.recv)
        process = relay.process
        before, began, most = process.cpu_times(), time.monotonic(), 0
        while not workers.poll(0):
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.5)
        after, seconds = process.cpu_times(), time.monotonic() - began
        waited = workers.recv()
    used = after.user + after.system - before.user - before.system
    return waited, used / seconds, most / 1e6, seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000, help="how many there are (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as relay:
        lines = lines_of(relay, [f"w{number}" for number in range(arguments.workers)], "worker")
        trainer, viewer = line_of(relay, "t", "trainer"), relay.token("viewer", "viewer")
        with apart(learn, trainer), apart(work, lines, arguments.seconds) as workers:
            workers.recv()
            waited, share, megabytes, seen = asyncio.run(watched(relay, viewer, workers))
    values = {"relay_cpu_share": share, "relay_rss_mb": megabytes, "ack_p99_ms": 1000 * float(np.percentile(waited, 99))}
    units = {"relay_cpu_share": "of a core", "relay_rss_mb": "MB", "ack_p99_ms": "ms"}
    peers = {
        "ack_p99_ms": {
            "median": 1000 * float(np.median(waited)),
            "chunks per s": len(waited) / arguments.seconds,
            "metrics seen": float(seen),
        }
    }
    rows = [
        {"metric": metric, "value": value, "unit": units[metric], "target": TARGETS[metric], "peers": peers.get(metric, {})}
        for metric, value in values.items()
    ]
    print_report("fleet", rows)


if __name__ == "__main__":
    main()
