"""Nothing stays pressed, whatever is killed: `tmrld up` drives the stand-in by keyboard or gamepad, and its processes die."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.test_learning_in_the_game import line_of, settings
from tests.support import uinput
from tests.support.cluster import DEADLINE_S, Program, await_that
from tests.support.processes import await_end
from tests.support.standin import standing_in
from tests.support.uinput import ABS_RZ, Pad
from tests.support.x11 import keys_down
from tmrld.envs.trackmania.guarded import GUARD

pytestmark = pytest.mark.slow

AT_ONCE_S = 1.0
"""On however busy a machine; a step takes 0.05 s."""
SIZE = (320, 163)
"""Of the game's window: small, for this is not about what is seen."""
NOTHING = set[str]()


@pytest.fixture
def up(display: str, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts `tmrld up` on the game with these controls: its warm-up has the policy press something at random, for ever."""
    started: list[Program] = []
    with standing_in("--track", "short", "--size", "{}x{}".format(*SIZE)) as standin:

        def up(controls: str, variables: dict[str, str]) -> Program:
            width, height = SIZE
            port = standin.ready["telemetry_port"]
            flags = settings(
                line_of("short", tmp_path), port, trackmania__controls=controls, window_width=width, window_height=height
            )
            flags += ["--set", "run.algorithm.warm_up=1000000", "--set", "relay.port=0", "--set", "control.port=0"]
            arguments = ["up", "--headless", "--json", "--data", str(tmp_path / "data"), *flags]
            started.append(Program(tmp_path, "up", arguments, variables))
            return started[-1]

        yield up
        for program in started:
            program.kill()


def test_no_key_stays_pressed(up: Callable[..., Program]) -> None:
    daemon = up("keyboard", {})
    assert_nothing_stays_pressed(daemon, lambda: bool(keys_down() & {"Up", "Down"}), lambda: keys_down() == NOTHING)


def test_no_trigger_stays_pressed(up: Callable[..., Program], tmp_path: Path, uinput_library: Path) -> None:
    """The stand-in sees no pad, so its car stands still, which hinders nobody."""
    pad = Pad(tmp_path / "pad")

    def drives() -> bool:
        pad.look()
        return pad.axes[ABS_RZ] > 0

    def let_go() -> bool:
        pad.look()
        return pad.is_neutral

    daemon = up("gamepad", uinput.environment(uinput_library, tmp_path / "pad"))
    assert_nothing_stays_pressed(daemon, drives, let_go)
    pad.close()


def assert_nothing_stays_pressed(daemon: Program, drives: Callable[[], bool], let_go: Callable[[], bool]) -> None:
    """`kill -9` of what drives, which begins anew, and then of the daemon alone, with which everything ends."""
    await_that(drives, "it drives")
    engine = engine_of(daemon)
    kill_while(drives, engine)
    assert seconds_until(let_go) < AT_ONCE_S

    await_that(drives, "it drives again")
    assert engine_of(daemon) != engine
    started = psutil.Process(daemon.pid).children(recursive=True)
    kill_while(drives, daemon.pid)
    for process in started:
        await_end(process.pid, 30.0)
    assert let_go()  # and nobody is left to press anything


def engine_of(daemon: Program) -> int:
    """The process that drives: it has started the guard."""
    started = psutil.Process(daemon.pid).children(recursive=True)
    return next(process.ppid() for process in started if GUARD in process.cmdline())


def kill_while(drives: Callable[[], bool], pid: int) -> None:
    """`kill -9`, just when something is pressed."""
    seconds_until(drives)
    psutil.Process(pid).kill()


def seconds_until(condition: Callable[[], bool]) -> float:
    """Return when it holds, with how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < DEADLINE_S
        time.sleep(0.001)
    return time.monotonic() - began
