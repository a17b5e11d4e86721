"""A disk that is full while a daemon starts."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.hardware import Hardware, needs_linux
from tests.chaos.stage import TRAINER, Stage
from tests.support.cluster import ROOT, Program, await_that
from tests.support.progress import await_progress

pytestmark = needs_linux

STORES = """
import sys
from pathlib import Path
from tmrld.errors import DiskFull
from tmrld.security.tokens import TokenStore
from tmrld.storage.layout import Layout, open_data_folder
from tmrld.storage.runs import RunStore
from tmrld.storage.sample_log import SampleLog

layout = Layout(Path(sys.argv[1]))
for open_it in (lambda: open_data_folder(layout.root), lambda: RunStore(layout), lambda: SampleLog(layout.spool),
                lambda: TokenStore(layout.tokens_db)):
    try:
        open_it().close()
        print("opened")
    except DiskFull:
        print("full")
"""
AWAY = ("--set", "peers.relay=wss://127.0.0.1:1", "--set", f"peers.pin=sha256:{64 * '0'}")
SERVE = {"relay": ("--set", "relay.port=0", "--set", "control.port=0"), "worker": AWAY, "trainer": AWAY}
STARTED = {"relay": "the control API is at", **dict.fromkeys(("worker", "trainer"), "cannot be reached")}


def opened(hardware: Hardware, folder: Path) -> set[str]:
    """What comes of opening every store, each time in a new process."""
    command = [sys.executable, "-c", STORES, str(folder)]
    environment = {**os.environ, **hardware.environment}
    return set(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.split())


def test_a_store_that_finds_no_room_says_so_and_is_whole_afterwards(hardware: Hardware, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    hardware.fill()
    assert opened(hardware, folder) == {"full"}
    hardware.free()
    assert opened(hardware, folder) == {"opened"}
    hardware.fill()
    assert opened(hardware, folder) == {"full"}
    hardware.free()
    assert opened(hardware, folder) == {"opened"}


@pytest.mark.parametrize("role", SERVE)
def test_a_daemon_waits_for_room_and_then_starts(hardware: Hardware, tmp_path: Path, role: str) -> None:
    hardware.fill()
    environment = {"LEDGER_FOLDER": str(tmp_path), "TMRLD_PEERS__TOKEN": "any", **hardware.environment}
    arguments = ["serve", "--role", role, "--data", str(tmp_path / "disk"), *SERVE[role]]
    daemon = Program(tmp_path, role, arguments, environment, launcher="tests.chaos.daemon")
    try:
        await_that(lambda: "starts as soon as there is room" in daemon.errors, "the daemon tells of the full disk")
        assert daemon.process.poll() is None
        hardware.free()
        await_that(lambda: STARTED[role] in daemon.errors, "the daemon starts")
        assert daemon.errors.count("the disk is full") == 1
    finally:
        daemon.kill()


WAITS = "training waits for room"


def tells(trainer: Program, times: int) -> bool:
    return trainer.errors.count(WAITS) >= times


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_training_whose_disk_is_full_waits_and_goes_on_with_all_that_came_meanwhile(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        stage.start_all()
        await_progress(stage)
        engine, trainer = stage.engine_of(TRAINER), stage.programs[TRAINER]
        for turn in (1, 2):
            stage.hardware[TRAINER].fill()
            await_that(partial(tells, trainer, turn), "the trainer tells of the full disk")
            stage.hardware[TRAINER].free()
            await_progress(stage)
            assert trainer.errors.count(WAITS) == turn
        assert stage.engine_of(TRAINER) == engine
        assert "crashed" not in trainer.errors
        assert stage.violations(stage.wind_up()) == []
