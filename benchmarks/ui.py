"""How fast the page is: from its address to a drawn curve, from something that happens to the pixel, and its size.

A real relay serves a run with a million metric points to a real browser (Debian's chromium, without a display).  The page is not
asked when it has drawn: the browser's canvas is, whose strokes along a path are the curves.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import math
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright
from report import print_report

import tmrld.control
from tmrld.configuration import RunConfig
from tmrld.daemon import Daemon
from tmrld.settings import load
from tmrld.storage.layout import open_data_folder
from tmrld.storage.metrics import Metric
from tmrld.storage.runs import RunStore

RUN = "demo"
SHOWN = ("training_return", "evaluation_return", "training_lap_s", "evaluation_lap_s")
OTHERS = 16
BATCH = 2000
PAGE = Path(tmrld.control.__file__).parent / "page"

NOTE_STROKES = """
window.strokes = [];
const stroke = CanvasRenderingContext2D.prototype.stroke;
CanvasRenderingContext2D.prototype.stroke = function (...path) {
  if (path.length && this.canvas.closest(".plot")) window.strokes.push(performance.timeOrigin + performance.now());
  return stroke.apply(this, path);
};
"""


def fill(data: Path, points: int) -> None:
    """A run with so many points in all."""
    folder = open_data_folder(data)
    with folder:
        store = RunStore(folder.layout)
        try:
            store.create(RUN, RunConfig().model_dump(mode="json"), "benchmark", time.time())
            names = [*SHOWN, *(f"other_{number}" for number in range(OTHERS))]
            length = points // len(names)
            random = np.random.default_rng(0)
            for start in range(0, length, BATCH):
                batch = []
                for update in range(start, min(start + BATCH, length)):
                    values = {
                        name: 100 * (1 - math.exp(-update / length)) + float(noise)
                        for name, noise in zip(names, random.normal(0, 5, len(names)), strict=True)
                    }
                    batch.append(Metric(0, 100 * update, 1000 * update, time.time(), values))
                store.metrics.add(RUN, batch)
        finally:
            store.close()


class Relay:
    """A relay in a thread of its own."""

    def __init__(self, data: Path) -> None:
        settings = {"roles": ["relay"], "data": str(data), "relay": {"port": 0}, "control": {"port": 0}}
        self._daemon = Daemon(load(flags=settings, environment={}))
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), name="relay")

    async def _serve(self) -> None:
        async with self._daemon as daemon:
            self._ready.set()
            await daemon.wait()

    @property
    def addresses(self) -> dict[str, str]:
        """Where it listens."""
        return self._daemon.addresses

    def publish(self, update: int, value: float) -> float:
        """Tell a metric, as the relay does when one has come; returns when, in milliseconds since 1970."""
        data: dict[str, Any] = {"update": update, "transitions": 10 * update, "lineage": 0, "values": {SHOWN[0]: value}}
        told: list[float] = []
        done = threading.Event()

        def tell() -> None:
            told.append(1000 * time.time())
            self._daemon.feed.publish("metrics", data, RUN)
            done.set()

        self._loop.call_soon_threadsafe(tell)
        done.wait()
        return told[0]

    @contextmanager
    def running(self) -> Iterator[Relay]:
        """While it runs."""
        self._thread.start()
        if not self._ready.wait(30):
            raise TimeoutError("the relay did not start within 30 s")
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._daemon.stop)
            self._thread.join(30)


def sign_in(browser: Browser, address: str) -> Any:
    """Open the one-time address; returns the cookies."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.get_by_role("link", name=RUN).first.wait_for()
    state = context.storage_state()
    context.close()
    return state


def cold_loads(browser: Browser, state: Any, address: str, repeats: int) -> list[float]:
    """Seconds from an empty cache to a drawn curve."""
    seconds = []
    for _ in range(repeats):
        context = browser.new_context(storage_state=state, bypass_csp=True)
        page = context.new_page()
        page.add_init_script(NOTE_STROKES)
        page.goto(address, wait_until="commit")
        page.wait_for_function("window.strokes.length > 0")
        seconds.append(page.evaluate("(window.strokes[0] - performance.timeOrigin) / 1000"))
        context.close()
    return seconds


def live_delays(browser: Browser, state: Any, address: str, relay: Relay, updates: int, events: int) -> list[float]:
    """Milliseconds from an event at the relay to the next stroke of the curve."""
    context = browser.new_context(storage_state=state, bypass_csp=True)
    page = context.new_page()
    page.add_init_script(NOTE_STROKES)
    page.goto(address)
    page.wait_for_function("window.strokes.length > 0")
    page.wait_for_timeout(1500)
    delays = []
    for number in range(events):
        told = relay.publish(updates + 100 * (number + 1), 100.0 + number % 7)
        page.wait_for_function("told => window.strokes.at(-1) >= told", arg=told, timeout=5000)
        delays.append(page.evaluate("told => window.strokes.find(at => at >= told) - told", told))
        page.wait_for_timeout(150)
    context.close()
    return delays


def bundle_gzip_kb() -> float:
    """Scripts and styles as they travel."""
    return sum(len(gzip.compress(file.read_bytes(), 9)) for file in PAGE.rglob("*") if file.suffix in (".js", ".css")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000, help="metric points of the run (default: a million)")
    parser.add_argument("--repeats", type=int, default=7, help="cold loads (default: 7)")
    parser.add_argument("--events", type=int, default=60, help="live events (default: 60)")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="path of the browser")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmrld-ui-") as folder:
        data = Path(folder) / "data"
        fill(data, options.points)
        length = 100 * options.points // (len(SHOWN) + OTHERS)
        with Relay(data).running() as relay, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
            state = sign_in(browser, relay.addresses["page"])
            address = f"{relay.addresses['control']}/#/runs/{RUN}"
            loads = cold_loads(browser, state, address, options.repeats)
            delays = live_delays(browser, state, address, relay, length, options.events)
            browser.close()
    print_report(
        "ui",
        [
            {
                "metric": "cold_load_s",
                "value": statistics.median(loads),
                "unit": "s",
                "target": 1.5,
                "peers": {"fastest": min(loads), "slowest": max(loads)},
            },
            {
                "metric": "live_to_pixel_p95_ms",
                "value": float(np.percentile(delays, 95)),
                "unit": "ms",
                "target": 300,
                "peers": {"median": statistics.median(delays)},
            },
            {"metric": "bundle_gzip_kb", "value": bundle_gzip_kb(), "unit": "KiB", "target": 150, "peers": {}},
        ],
    )


if __name__ == "__main__":
    main()
