"""What the system costs: updates per second of a running `tmrld up` as a share of the bare algorithm and replay memory.

The bare loop runs in one process, which is prepared as a trainer's is, with the same options, the same number of threads, and
the very samples that the system has collected.  Machines drift within seconds, so both are measured in turn, many times: the
system trains for a while, is paused while the bare loop runs, and goes on.  The median of the ratios of neighbours counts.  The
processor time of one update in either tells what the system adds to it apart from what it costs to share the machine with
simulator and relay.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from report import print_report

from tmrld.configuration import run_config
from tmrld.payloads import EnvSpec
from tmrld.protocol.codec import decode, open_chunk
from tmrld.protocol.messages import ChunkMessage
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.replay import Replay
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore
from tmrld.storage.sample_log import SampleLog
from tmrld.trainer.memory import keep_freed_memory

TARGET = 0.9
RUN = "demo"
START_TIMEOUT_S = 180.0
REPORT_UPDATES = 20


class Rate(NamedTuple):
    """How fast a loop updates, and the processor time that its process takes for each."""

    updates_per_s: float
    processor_ms: float


class System:
    """A running `tmrld up`, steered through its control API."""

    def __init__(self, data: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self._address = f"http://127.0.0.1:{port}/api/v1/runs/{RUN}"
        settings = ["relay.port=0", f"control.port={port}", f"run.training.metrics_interval_updates={REPORT_UPDATES}"]
        flags = ["--data", str(data), *(f"--set={setting}" for setting in settings)]
        tmrld = [sys.executable, "-m", "tmrld"]
        new = [*tmrld, "token", "new", "--role", "operator", "--name", "up_overhead", "--data", str(data)]
        self._token = subprocess.run(new, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        self._process = subprocess.Popen([*tmrld, "up", "--headless", *flags], stdout=subprocess.DEVNULL)

    def wait_for(self, updates: int) -> None:
        """Until it has made that many updates.  Raises TimeoutError."""
        ends = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < ends:
            try:
                if self._ask("")["update"] >= updates:
                    return
            except OSError:
                pass  # it is still starting
            time.sleep(0.2)
        raise TimeoutError(f"the system did not make {updates} updates within {START_TIMEOUT_S:.0f} s")

    def pause(self) -> None:
        """Rest until `measure`."""
        self._ask("/pause", "POST")
        time.sleep(1.0)

    def measure(self, seconds: float) -> Rate:
        """Go on for so long, and pause again."""
        began = self._ask("")["update"] + 2 * REPORT_UPDATES  # what is told before covers the pause
        self._ask("/resume", "POST")
        time.sleep(seconds)
        self.pause()
        series = self._ask(f"/metrics?names=updates_per_s,processor_share&start={began}&max_points=1000")["series"]
        rate, processor = (statistics.median(curve["values"]) for curve in series)
        return Rate(rate, 1000 * processor / rate)

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.terminate()
        self._process.wait(timeout=30)

    def _ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(
            self._address + path, method=method, headers={"Authorization": f"Bearer {self._token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


class Bare:
    """Algorithm and replay memory alone, filled with what the system has collected."""

    def __init__(self, data: Path) -> None:
        import torch

        keep_freed_memory()  # as a trainer's engine does, or the bare loop would be the slower one by that
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        store = RunStore(Layout(data))
        try:
            plain = store.get(RUN).spec
            config = run_config(store.revision(RUN).config)
        finally:
            store.close()
        if plain is None:
            raise ValueError(f"the run {RUN} has no environment yet")
        spec = EnvSpec.from_plain(plain)
        self._options = config.algorithm
        self._replay = Replay(spec, config.replay.capacity)
        log = SampleLog(Layout(data).run_log(RUN))
        for record in log.read(0, 2**40):
            message = decode(record.body)
            if isinstance(message, ChunkMessage) and message.purpose == "train":
                self._replay.append(open_chunk(message))
        log.close()
        self._algorithm = make_algorithm(config.algorithm, config.network, spec, seed=0)
        self._random = np.random.default_rng(0)

    def measure(self, seconds: float) -> Rate:
        """Update for so long."""
        rates, updates = [], 0
        ends, processor = time.perf_counter() + seconds, time.process_time()
        while time.perf_counter() < ends:
            started = time.perf_counter()
            for _ in range(REPORT_UPDATES):
                options = self._options
                batch = self._replay.sample(options.batch_size, self._random, options.n_step, options.gamma)
                self._algorithm.update(batch)
            rates.append(REPORT_UPDATES / (time.perf_counter() - started))
            updates += REPORT_UPDATES
        return Rate(statistics.median(rates), 1000 * (time.process_time() - processor) / updates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="pairs of neighbouring measurements (default: 15)")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each measurement (default: 4)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmrld-overhead-") as folder:
        data, copied = Path(folder) / "data", Path(folder) / "copy"
        system = System(data)
        try:
            system.wait_for(500)
            system.pause()
            shutil.copytree(data, copied)
            bare = Bare(copied)
            bare.measure(2.0)
            system.measure(4.0)
            pairs = _pairs(system, bare, options.pairs, options.seconds)
        finally:
            system.stop()
    print_report(
        "up_overhead",
        [
            {
                "metric": "system_vs_bare",
                "value": statistics.median(running.updates_per_s / alone.updates_per_s for running, alone in pairs),
                "unit": "ratio",
                "target": TARGET,
                "peers": {
                    "system_updates_per_s": statistics.median(running.updates_per_s for running, _ in pairs),
                    "bare_updates_per_s": statistics.median(alone.updates_per_s for _, alone in pairs),
                },
            },
            {
                "metric": "processor_time_bare_vs_system",
                "value": statistics.median(alone.processor_ms / running.processor_ms for running, alone in pairs),
                "unit": "ratio",
                "target": TARGET,
                "peers": {
                    "system_ms_per_update": statistics.median(running.processor_ms for running, _ in pairs),
                    "bare_ms_per_update": statistics.median(alone.processor_ms for _, alone in pairs),
                },
            },
        ],
    )


def _pairs(system: System, bare: Bare, count: int, seconds: float) -> list[tuple[Rate, Rate]]:
    """Measurements of the two in turn, in an order that alternates; printed as they come."""
    print(f"{'system':>10} {'bare':>10} {'ratio':>7} {'processor time per update':>28} {'taken away':>11}")
    pairs = []
    for pair in range(count):
        stolen, total = _processor_times()
        if pair % 2:
            running, alone = system.measure(seconds), bare.measure(seconds)
        else:
            alone, running = bare.measure(seconds), system.measure(seconds)
        later, elapsed = _processor_times()
        taken = (later - stolen) / max(elapsed - total, 1)
        pairs.append((running, alone))
        print(
            f"{running.updates_per_s:8.1f}/s {alone.updates_per_s:8.1f}/s {running.updates_per_s / alone.updates_per_s:7.3f} "
            f"{running.processor_ms:11.2f} ms, {alone.processor_ms:8.2f} ms {taken:11.0%}",
            flush=True,
        )
    return pairs


def _processor_times() -> tuple[int, int]:
    """Ticks that the host gave to other guests instead of this machine, and all ticks; zeros where the system does not tell."""
    statistics_file = Path("/proc/stat")
    if not statistics_file.exists():
        return 0, 0
    ticks = [int(value) for value in statistics_file.read_text().splitlines()[0].split()[1:]]
    return ticks[7], sum(ticks[:8])


if __name__ == "__main__":
    main()
