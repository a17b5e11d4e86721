"""The way of experience through a relay: from a worker's outbox over TLS into the log, and on into a trainer's replay memory.

Three processes: a relay as `tmrld serve` has it, a worker and a trainer.  The worker seals chunks of noise, numbers them and keeps
them until they are acknowledged, as its daemon does; the trainer reads the log with flow control, unpacks each chunk and puts it
into a replay memory, as its engine does.  The relay acknowledges and passes on what lies on the disk, and nothing else.  So the
times have everything in them but the pipes between daemons and engines, and learning.

What they have to be compared with was measured on such a machine before: tlspyo, TMRL's transport, which stores nothing, moves 79,000
transitions per second, and 96 MB/s of images with TLS; its messages take 37 ms (99 of 100), 1 MB of weights to ten workers 73 ms,
and over bare websockets 34 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from experience import IMAGES, LIDAR, noise
from relay_process import RUN, RelayProcess, running
from report import print_report

from tmrld.payloads import Chunk, EnvSpec
from tmrld.peers.dialer import Dialer
from tmrld.peers.link import Link
from tmrld.protocol.codec import decode, open_chunk, open_stored, seal_chunk
from tmrld.protocol.messages import Ack, ChunkMessage, Consumed, Describe, Hello, Resume, Stored, WeightsMessage
from tmrld.rl.replay import Replay
from tmrld.security.tls import client_context
from tmrld.storage.sample_log import SampleLog
from tmrld.trainer.engine import CREDIT_BYTES, READ_BYTES
from tmrld.worker.outbox import Outbox

OUTBOX_BYTES = 64 * 2**20
WAITING_BYTES = 8 * 2**20
"""What a worker has under way at most; more would only wait."""
CAPACITY = {"lidar": 1_000_000, "images": 20_000}
STEPS_OF_IMAGES = 200
"""Of 64 by 64 gray pixels: a chunk of some 830 KB."""
WEIGHTS_BYTES = 2**20
WORKERS = 10
TARGETS = {
    "lidar_transitions_per_s": 500_000,
    "lidar_small_transitions_per_s": 100_000,
    "image_mb_per_s": 150,
    "message_p99_ms": 5,
    "weights_to_10_ms": 45,
}
PEERS: dict[str, dict[str, float | None]] = {
    "lidar_transitions_per_s": {"tlspyo, without a log": 79_000},
    "lidar_small_transitions_per_s": {},
    "image_mb_per_s": {"tlspyo, without a log": 96},
    "message_p99_ms": {"tlspyo, without a log": 37},
    "weights_to_10_ms": {"tlspyo": 73, "bare websockets": 34},
}


@dataclass(frozen=True)
class Line:
    """How a process of its own reaches the relay."""

    url: str
    pin: str
    name: str
    token: str

    def dialer(self, role: str) -> Dialer:
        """What keeps it linked."""
        return Dialer(self.url, self.token, Hello(role, self.name, "0"), client_context(self.pin, None))


def experienced(spec: EnvSpec, worker: str, steps: int, rng: np.random.Generator) -> Chunk:
    """A chunk with all columns that a worker sends."""
    chunk = noise(spec, rng, steps)
    rows = chunk.lead + chunk.steps
    told = {
        "time": np.arange(rows) * spec.step_s,
        "weights": np.full(rows, 17, np.int64),
        "actor": np.ones(rows, np.uint8),
    }
    return replace(chunk, run=RUN, worker=worker, episode="0123456789abcdef", columns=chunk.columns | told)


# The worker's process


class Worker:
    """A worker's daemon: an outbox, and a link that empties it."""

    def __init__(self, spec: EnvSpec, outbox: Outbox) -> None:
        self.linked = asyncio.Event()
        self._spec = spec
        self._outbox = outbox
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._waiting_bytes = 0
        self._sizes: list[int] = []
        """Of all chunks so far, by number."""

    async def serve(self, link: Link) -> None:
        """As the worker's shell does."""
        self._outbox.rewind()
        self._filled.set()
        await link.send(Describe(RUN, self._outbox.incarnation, self._spec.to_plain()))
        self.linked.set()
        sending = asyncio.create_task(self._send(link))
        try:
            async for message in link:
                if isinstance(message, Ack):
                    self._outbox.acknowledge(message.incarnation, message.numbers)
                    self._waiting_bytes -= sum(self._sizes[number] for number in message.numbers)
                    self._room.set()
        finally:
            sending.cancel()

    async def put(self, chunk: Chunk) -> None:
        """Seal a chunk and have it sent; waits while too much is under way."""
        while self._waiting_bytes >= WAITING_BYTES:
            self._room.clear()
            await self._room.wait()
        sealed = seal_chunk(chunk)
        self._outbox.put(sealed)
        self._waiting_bytes += len(sealed.payload)
        self._sizes.append(len(sealed.payload))
        self._filled.set()

    async def all_stored(self) -> None:
        """Wait until all is acknowledged."""
        while len(self._outbox):
            self._room.clear()
            await self._room.wait()

    async def _send(self, link: Link) -> None:
        while True:
            chunk = self._outbox.next_unsent()
            if chunk is None:
                self._filled.clear()
                await self._filled.wait()
            else:
                await link.send(chunk)


async def drive(line: Line, pipe: Connection, spec: EnvSpec, folder: Path) -> None:
    """Send what is asked for over the pipe: (steps per chunk, how many chunks, seconds between two); answers when each was made."""
    rng = np.random.default_rng(0)
    worker = Worker(spec, Outbox(SampleLog(folder), OUTBOX_BYTES))
    async with at_work(line.dialer("worker").run(worker.serve)):
        await worker.linked.wait()
        pipe.send("linked")
        while (order := await asyncio.to_thread(pipe.recv)) is not None:
            steps, chunks, interval_s = order
            prepared = [experienced(spec, line.name, steps, rng) for _ in range(8)]
            made = []
            for number in range(chunks):
                made.append(time.monotonic())
                await worker.put(prepared[number % len(prepared)])
                if interval_s:
                    await asyncio.sleep(interval_s)
            await worker.all_stored()
            pipe.send(made)


# The trainer's process


class Trainer:
    """A trainer's daemon and engine in one: what is read goes into a replay memory."""

    def __init__(self, replay: Replay) -> None:
        self.linked = asyncio.Event()
        self.link: Link | None = None
        self.taken = asyncio.Event()
        self.times: list[float] = []
        """When each chunk was in the memory."""
        self._replay = replay

    async def serve(self, link: Link) -> None:
        """As the trainer's shell and engine do."""
        self.link, consumed = link, 0
        await link.send(Resume(RUN, 0, 0, CREDIT_BYTES))
        self.linked.set()
        async for message in link:
            if isinstance(message, Stored):
                for record in open_stored(message):
                    chunk = decode(record.body)
                    assert isinstance(chunk, ChunkMessage)
                    self._replay.append(open_chunk(chunk), record.offset)
                    self.times.append(time.monotonic())
                if message.next_offset - consumed >= READ_BYTES:
                    consumed = message.next_offset
                    await link.send(Consumed(RUN, consumed))
                self.taken.set()

    async def taken_in(self, chunks: int) -> None:
        """Wait for so many."""
        while len(self.times) < chunks:
            self.taken.clear()
            await self.taken.wait()


async def learn(line: Line, pipe: Connection, spec: EnvSpec, capacity: int) -> None:
    """Take in so many chunks as are asked for over the pipe, and answer when each was there; or publish weights of so many bytes."""
    trainer = Trainer(Replay(spec, capacity))
    async with at_work(line.dialer("trainer").run(trainer.serve)):
        await trainer.linked.wait()
        pipe.send("linked")
        version = 0
        while (order := await asyncio.to_thread(pipe.recv)) is not None:
            what, count = order
            if what == "chunks":
                trainer.times.clear()
                pipe.send("ready")
                await trainer.taken_in(count)
                pipe.send(trainer.times[:count])
            else:
                version += 1
                assert trainer.link is not None
                began = time.monotonic()
                await trainer.link.send(WeightsMessage(RUN, version, version, 0, 0, bytes(count)))
                pipe.send(began)


async def follow(lines: list[Line], pipe: Connection) -> None:
    """Several workers that only wait for weights; says of each version when the last of them had it."""
    arrived: dict[int, int] = {}

    async def serve(link: Link) -> None:
        await link.send(Describe(RUN, f"incarnation of {link.own_name}", LIDAR.to_plain()))
        async for message in link:
            if isinstance(message, WeightsMessage):
                arrived[message.version] = arrived.get(message.version, 0) + 1
                if arrived[message.version] == len(lines):
                    pipe.send((message.version, time.monotonic()))

    async with contextlib.AsyncExitStack() as stack:
        for line in lines:
            await stack.enter_async_context(at_work(line.dialer("worker").run(serve)))
        await asyncio.to_thread(pipe.recv)


@contextlib.asynccontextmanager
async def at_work(work: Coroutine[Any, Any, None]) -> Any:
    """Something that goes on beside the block, and ends with it."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def _process(work: Callable[..., Coroutine[Any, Any, None]], arguments: tuple[Any, ...]) -> None:
    """The whole life of one of these processes."""
    gc.collect()
    gc.freeze()  # as daemons do
    asyncio.run(work(*arguments))


@contextlib.contextmanager
def apart(work: Callable[..., Coroutine[Any, Any, None]], line: Line | list[Line], *arguments: Any) -> Iterator[Connection]:
    """Something of the above in a process of its own: the pipe to it.  It ends with the block."""
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_process, args=(work, (line, there, *arguments)), daemon=True)
    process.start()
    try:
        yield here
    finally:
        here.send(None)
        process.join(30)
        process.kill()


# Measuring


def line_of(relay: RelayProcess, name: str, role: str) -> Line:
    """Of a node that may come."""
    return lines_of(relay, [name], role)[0]


def lines_of(relay: RelayProcess, names: Sequence[str], role: str) -> list[Line]:
    """Of several."""
    tokens = relay.tokens(names, role)
    return [Line(relay.url, relay.pin, name, token) for name, token in zip(names, tokens, strict=True)]


def sent(
    worker: Connection, trainer: Connection, steps: int, chunks: int, interval_s: float = 0.0
) -> tuple[list[float], list[float]]:
    """So many chunks on their way: when each was made, and when it was in the replay memory."""
    trainer.send(("chunks", chunks))
    trainer.recv()
    worker.send((steps, chunks, interval_s))
    made, taken = worker.recv(), trainer.recv()
    return made, taken


def rate(worker: Connection, trainer: Connection, steps: int, chunks: int, turns: int) -> float:
    """Chunks per second: the median over the turns, after one that does not count."""

    def once() -> float:
        made, taken = sent(worker, trainer, steps, chunks)
        return chunks / (taken[-1] - made[0])

    once()
    return statistics.median(once() for _ in range(turns))


@contextlib.contextmanager
def at_both_ends(folder: Path, spec: EnvSpec, capacity: int) -> Iterator[tuple[Connection, Connection]]:
    """A relay, a worker and a trainer at work: the pipes to the latter two."""
    with running(folder / "relay") as relay:
        ends = line_of(relay, "w", "worker"), line_of(relay, "t", "trainer")
        with apart(drive, ends[0], spec, folder / "spool") as worker, apart(learn, ends[1], spec, capacity) as trainer:
            worker.recv()
            trainer.recv()
            yield worker, trainer


def of_vectors(folder: Path, turns: int, share: float) -> dict[str, float]:
    """Chunks of LIDAR, long and short, and a single one every 20 ms."""
    with at_both_ends(folder, LIDAR, CAPACITY["lidar"]) as (worker, trainer):
        long = 1000 * rate(worker, trainer, 1000, round(1000 * share), turns)
        short = 20 * rate(worker, trainer, 20, round(10_000 * share), turns)
        made, taken = sent(worker, trainer, 20, round(500 * share), 0.02)
    milliseconds = 1000 * (np.array(taken) - np.array(made))
    size = len(seal_chunk(experienced(LIDAR, "w", 20, np.random.default_rng(0))).payload)
    alone = of_the_disk(folder / "alone", size, round(500 * share), 0.02)
    return {
        "lidar_transitions_per_s": long,
        "lidar_small_transitions_per_s": short,
        "message_p99_ms": float(np.percentile(milliseconds, 99)),
        "message_p50_ms": float(np.median(milliseconds)),
        "disk_p99_ms": float(np.percentile(alone, 99)),
    }


def of_the_disk(path: Path, size: int, times: int, interval_s: float) -> list[float]:
    """How long so many bytes at the end of a file take until they lie on the disk, in ms: what nothing durable is faster than."""
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            time.sleep(interval_s)
            began = time.perf_counter()
            file.write(bytes(size))
            (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(file.fileno())
            taken.append(1000 * (time.perf_counter() - began))
    return taken


def of_images(folder: Path, turns: int, share: float) -> dict[str, float]:
    """Chunks of images."""
    chunk = experienced(IMAGES, "w", STEPS_OF_IMAGES, np.random.default_rng(0))
    megabytes = len(seal_chunk(chunk).payload) / 1e6
    with at_both_ends(folder, IMAGES, CAPACITY["images"]) as (worker, trainer):
        return {"image_mb_per_s": megabytes * rate(worker, trainer, STEPS_OF_IMAGES, round(500 * share), turns)}


def of_weights(folder: Path, versions: int) -> dict[str, float]:
    """From a trainer to ten workers."""
    with running(folder / "relay") as relay:
        workers = lines_of(relay, [f"w{number}" for number in range(WORKERS)], "worker")
        trainer = line_of(relay, "t", "trainer")
        taken: list[float] = []
        with apart(follow, workers) as arrived, apart(learn, trainer, LIDAR, 1000) as publishing:
            publishing.recv()
            while len(taken) < versions:
                publishing.send(("weights", WEIGHTS_BYTES))
                began = publishing.recv()
                if arrived.poll(2.0):  # the first ones may come before all workers are there
                    taken.append(1000 * (arrived.recv()[1] - began))
                time.sleep(0.1)
    return {"weights_to_10_ms": statistics.median(taken)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="of each rate, of which the median counts (default: %(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the chunks that are sent in a turn (default: %(default)s)")
    arguments = parser.parse_args()
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        values |= of_vectors(Path(folder, "vectors"), arguments.turns, arguments.share)
        values |= of_images(Path(folder, "images"), arguments.turns, arguments.share)
        values |= of_weights(Path(folder, "weights"), round(30 * arguments.share))
    more = {"median": values["message_p50_ms"], "writing to the disk alone": values["disk_p99_ms"]}
    units = {"per_s": "per s", "mb_per_s": "MB/s", "ms": "ms"}
    print_report(
        "relay",
        [
            {
                "metric": metric,
                "value": values[metric],
                "unit": next(unit for ending, unit in reversed(units.items()) if metric.endswith(ending)),
                "target": target,
                "peers": PEERS[metric] | (more if metric == "message_p99_ms" else {}),
            }
            for metric, target in TARGETS.items()
        ],
    )


if __name__ == "__main__":
    main()
