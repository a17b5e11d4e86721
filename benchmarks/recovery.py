"""How long relay and trainer take to be back after `kill -9`, with a million transitions in the log.

A worker fills the log through the relay, and a trainer takes all of it in.  Then the relay is killed and started again: it is back
when nodes can link and its control API answers.  Then the trainer is: it is back when the first updates are told of on the live
stream, after its memory was filled from the cache and what it had done since its last checkpoint is being done again.  What importing
torch takes, measured beside it, is taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from experience import LIDAR
from live_latency import listen
from relay import apart, drive, line_of
from relay_process import RUN, START_TIMEOUT_S, DaemonProcess, RelayProcess
from report import print_report

CHUNK_STEPS = 1000
PATIENCE_S = 900.0
TARGETS = {"relay_recovery_s": 2.0, "trainer_recovery_s": 5.0}
OF_THE_RUN = (
    "run.algorithm.update_to_data=0.001",
    "run.training.checkpoint_interval_updates=200",
    "run.training.metrics_interval_updates=10",
)
"""So few updates are due that the last checkpoint holds all that was taken in, and is soon there."""


def trainer_process(relay: RelayProcess, folder: Path) -> DaemonProcess:
    """`tmrld serve` with the role trainer."""
    flags = [f"--set={setting}" for setting in (f"peers.relay={relay.url}", f"peers.pin={relay.pin}", "name=t")]
    command = [sys.executable, "-m", "tmrld", "serve", "--role", "trainer", "--data", str(folder), *flags]
    return DaemonProcess(command, {"TMRLD_PEERS__TOKEN": relay.token("t", "trainer")})


def asked(relay: RelayProcess, viewer: str, path: str) -> dict[str, Any]:
    """What the control API answers; raises OSError while it does not."""
    address = f"http://127.0.0.1:{relay.control}/api/v1/{path}"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {viewer}"})
    with urllib.request.urlopen(request, timeout=5.0) as answer:
        values: dict[str, Any] = json.load(answer)
        return values


def relay_recovery_s(relay: RelayProcess, viewer: str) -> float:
    """Kill the relay, and start it again."""
    relay.kill()
    began = time.monotonic()
    relay.start()
    ready = relay.await_listening()
    while time.monotonic() - began < START_TIMEOUT_S:
        try:
            asked(relay, viewer, "health")
            return max(ready, time.monotonic()) - began
        except OSError:
            time.sleep(0.005)
    sys.exit(f"the relay's control API does not answer {START_TIMEOUT_S:g} s after a kill")


async def trainer_recovery_s(relay: RelayProcess, viewer: str, trainer: DaemonProcess) -> float:
    """Kill the trainer, and start it again."""
    stream = await listen(relay, viewer)
    try:
        await asyncio.to_thread(trainer.kill)
        while True:  # what it said before
            try:
                await asyncio.wait_for(stream.recv(), 1.0)
            except TimeoutError:
                break
        began = time.monotonic()
        trainer.start()
        async with asyncio.timeout(PATIENCE_S):
            while json.loads(await stream.recv())["kind"] != "event":
                pass
        return time.monotonic() - began
    finally:
        await stream.close()


def await_taken_in(relay: RelayProcess, viewer: str, updates: int) -> None:
    """Wait until the trainer has made so many updates, and all are in a checkpoint that the relay has."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        if asked(relay, viewer, f"runs/{RUN}")["update"] >= updates:
            return
        time.sleep(0.2)
    sys.exit(f"the trainer has not made {updates} updates within {PATIENCE_S:g} s")


def import_s() -> float:
    """How long importing torch takes, in a process of its own."""
    program = "import time; began = time.monotonic(); import torch; print(time.monotonic() - began)"
    return float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


def measured(folder: Path, transitions: int, repeats: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds of the relay, of the trainer, and of importing torch."""
    relay = RelayProcess(folder / "relay", *OF_THE_RUN)
    viewer, worker = relay.token("viewer", "viewer"), line_of(relay, "w", "worker")
    trainer = trainer_process(relay, folder / "trainer")
    relays, trainers, imports = [], [], []
    try:
        relay.start()
        relay.await_listening()
        trainer.start()
        with apart(drive, worker, LIDAR, folder / "spool") as pipe:
            pipe.recv()
            pipe.send((CHUNK_STEPS, transitions // CHUNK_STEPS, 0.0))
            pipe.recv()
        await_taken_in(relay, viewer, transitions // 1000 - 10)
        for _ in range(repeats):
            relays.append(relay_recovery_s(relay, viewer))
            trainers.append(asyncio.run(trainer_recovery_s(relay, viewer, trainer)))
            imports.append(import_s())
    finally:
        trainer.stop()
        relay.stop()
    return relays, trainers, imports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=1_000_000, help="in the log (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="kills of each, of which the median counts (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        relays, trainers, imports = measured(Path(folder), arguments.transitions, arguments.repeats)
    values = {
        "relay_recovery_s": statistics.median(relays),
        "trainer_recovery_s": statistics.median(trainers) - statistics.median(imports),
    }
    peers = {"relay_recovery_s": {}, "trainer_recovery_s": {"import of torch, taken off": statistics.median(imports)}}
    rows = [
        {"metric": metric, "value": value, "unit": "s", "target": TARGETS[metric], "peers": peers[metric]}
        for metric, value in values.items()
    ]
    print_report("recovery", rows)


if __name__ == "__main__":
    main()
