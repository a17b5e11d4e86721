"""How long it takes to look at the game: grabbing its window and making of it what a flavour sees, against grabbing alone.

Windows whose pictures change are opened on an X11 display: on a virtual one (Xvfb) that ends with the benchmark, or with --here on
the one that DISPLAY names.  mss alone grabs the same pixels.  All take turns in random order, so that a busy moment of the machine
hits all alike: first one right after the other, which is what the metrics compare; then at a pace, as in the real-time loop, where
everything is slower, because the processor has done other things meanwhile.

On a virtual display grabbing is a copy in memory, as quick as it can be; a desktop with a graphics card takes milliseconds for it.
So the ratios are the worst there are.  That of images cannot be lower here: grabbing their small window takes little longer than the
two calls of OpenCV that make an image of it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import mss
from report import print_report

from tmrld.envs.options import FULL_ID, LIDAR_ID, EnvironmentOptions
from tmrld.envs.trackmania import windows
from tmrld.envs.trackmania.eyes import eye_of
from tmrld.envs.trackmania.screen import WindowScreen
from tmrld.errors import GameError

TARGET = 1.3
FLAVOURS = {"capture_lidar_958x488_vs_mss": LIDAR_ID, "capture_full_256x128_vs_mss": FULL_ID}
"""Of each metric: which flavour it measures, in the window that the flavour wants."""
SCREEN = (1280, 800)
FRAME_S = 1 / 60
"""The window's picture changes that often."""
START_S = 30.0
"""How long the window may take to open."""
WARM_UP = 20
"""Rounds that do not count."""


@contextlib.contextmanager
def virtual_display() -> Iterator[None]:
    """Xvfb, while the block runs; DISPLAY names it."""
    ready, tell = os.pipe()
    size = f"{SCREEN[0]}x{SCREEN[1]}x24"
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(tell), "-screen", "0", size, "-nolisten", "tcp", "-noreset"],
        pass_fds=(tell,),
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(tell)
        with os.fdopen(ready) as line:
            number = line.readline().strip()
        if not number:
            sys.exit(f"Xvfb ended with {server.wait()}: it opens the display to measure on")
        os.environ["DISPLAY"] = f":{number}"
        yield
    finally:
        server.terminate()
        server.wait()


def show(title: str, left: int, width: int, height: int) -> None:
    """A process: a window in which gray bars move over a bright ground."""
    from Xlib import display

    connection = display.Display()
    screen = connection.screen()
    window = screen.root.create_window(left, 0, width, height, 0, screen.root_depth, background_pixel=0xC0C0C0)
    window.set_wm_name(title)
    window.map()
    bars = window.create_gc(foreground=0x404040)
    for frame in itertools.count():
        window.clear_area()
        for bar in range(0, width, 64):
            window.fill_rectangle(bars, (bar + frame) % width, 0, 16, height)
        connection.sync()
        time.sleep(FRAME_S)


@contextlib.contextmanager
def opened(left: int, width: int, height: int) -> Iterator[windows.GameWindow]:
    """The window of `show`."""
    title = f"tmrld capture {width}x{height}"
    process = multiprocessing.get_context("spawn").Process(target=show, args=(title, left, width, height), daemon=True)
    process.start()
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                window = windows.find(title)
                break
            except GameError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield window
        window.close()
    finally:
        process.terminate()
        process.join()


def looking(window: windows.GameWindow, flavour: str) -> Callable[[], Any]:
    """As the environment looks: its screen, then its eye."""
    screen, eye = WindowScreen(window), eye_of(EnvironmentOptions(id=flavour))
    return lambda: eye(screen.grab())


def grabbing(window: windows.GameWindow) -> Callable[[], Any]:
    """What mss alone does for the same pixels."""
    capture, area = mss.MSS(), window.area()
    box = {"left": area.left, "top": area.top, "width": area.width, "height": area.height}
    return lambda: capture.grab(box)


def timed(runs: dict[str, Callable[[], Any]], rounds: int, pause_s: float) -> dict[str, list[float]]:
    """Sorted milliseconds of each run.  They take turns in random order: what one leaves in the caches, the next one finds."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    order, orders = list(runs), random.Random(0)
    for round in range(WARM_UP + rounds):
        orders.shuffle(order)
        for name in order:
            if pause_s:
                time.sleep(pause_s)
            began = time.perf_counter()
            runs[name]()
            if round >= WARM_UP:
                took[name].append((time.perf_counter() - began) * 1000)
    return {name: sorted(values) for name, values in took.items()}


def percentile(values: list[float], share: float) -> float:
    """Of sorted values."""
    return round(values[int(share * len(values))], 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000, help="looks of each kind (default: %(default)s)")
    parser.add_argument("--paced", type=int, default=300, help="looks of each kind at a pace (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=0.01, help="idle seconds before each of those (default: %(default)s)")
    parser.add_argument("--here", action="store_true", help="use the display that DISPLAY names")
    arguments = parser.parse_args()

    with contextlib.ExitStack() as stack:
        if not arguments.here:
            stack.enter_context(virtual_display())
        runs: dict[str, Callable[[], Any]] = {}
        left = 0
        for metric, flavour in FLAVOURS.items():
            width, height = EnvironmentOptions(id=flavour).window
            window = stack.enter_context(opened(left, width, height))
            runs[f"{metric} mss"], runs[metric] = grabbing(window), looking(window, flavour)
            left += width
        took = timed(runs, arguments.rounds, 0.0)
        paced = timed(runs, arguments.paced, arguments.pause)

    print_report(
        "capture",
        [
            {
                "metric": metric,
                "value": round(percentile(took[metric], 0.5) / percentile(took[f"{metric} mss"], 0.5), 3),
                "unit": "times",
                "target": TARGET,
                "peers": {
                    "ms, median": percentile(took[metric], 0.5),
                    "ms, 99 %": percentile(took[metric], 0.99),
                    "mss alone, ms, median": percentile(took[f"{metric} mss"], 0.5),
                    "mss alone, ms, 99 %": percentile(took[f"{metric} mss"], 0.99),
                    "paced, ms, median": percentile(paced[metric], 0.5),
                    "paced, ms, 99 %": percentile(paced[metric], 0.99),
                    "mss alone, paced, ms, median": percentile(paced[f"{metric} mss"], 0.5),
                    "mss alone, paced, ms, 99 %": percentile(paced[f"{metric} mss"], 0.99),
                },
            }
            for metric in FLAVOURS
        ],
    )


if __name__ == "__main__":
    main()
