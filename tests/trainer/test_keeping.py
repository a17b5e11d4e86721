"""Whatever happens to a trainer's machine or its disk, there is a checkpoint to go on from, and it is the newest that can be."""

from __future__ import annotations

import logging
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.checkpoint_writer import checkpoint_at
from tests.support.cluster import ROOT
from tests.trainer.runs import a_log, a_loop, ingest_until
from tests.trainer.test_checkpoints import assert_equal
from tmrld.errors import Damaged
from tmrld.trainer.checkpoints import KEEP_LOCAL, Checkpoint, CheckpointFolder, pack, unpack

# Killed while it writes


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whenever_its_writer_is_killed_there_is_a_checkpoint_as_new_as_the_last_that_was_saved(tmp_path: Path) -> None:
    chance = random.Random(5)
    writes = halves = saved = 0
    while writes < 200:
        begun, saved = killed(tmp_path, chance, saved)
        writes += begun
        names = [path.name for path in tmp_path.iterdir()]
        half = [name for name in names if name.endswith(".new")]
        halves += len(half)
        assert len(half) <= 1, "the writer has removed what the one before it left"
        found = CheckpointFolder(tmp_path).newest()
        if found is None:
            assert saved == 0
            continue
        assert found.update in (saved, saved + 1), "the one that was being written may be there, whole, or not"
        assert_equal(found, checkpoint_at(found.update))
        assert not list(tmp_path.glob("*.damaged"))
        saved = found.update
    assert halves > 0, "none was killed at work"
    CheckpointFolder(tmp_path).save(saved + 1, 0, pack(checkpoint_at(saved + 1)))
    newest = range(saved + 2 - KEEP_LOCAL, saved + 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{update:012d}.checkpoint" for update in newest]


def killed(folder: Path, chance: random.Random, saved: int) -> tuple[int, int]:
    """Let a process write there, and kill it at work; returns how many writes it began, and the last that it had saved."""
    command = [sys.executable, "-m", "tests.support.checkpoint_writer", str(folder)]
    writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert writer.stdout is not None
    begun, wanted, last_s, began = 0, chance.randint(1, 12), 0.0, 0.0
    while begun < wanted:
        word, number = writer.stdout.readline().split()
        if word == b"writes":
            begun, began = begun + 1, time.monotonic()
        else:
            saved, last_s = int(number), time.monotonic() - began
    select.select([], [], [], chance.uniform(0.0, 1.2 * last_s))  # somewhere in this write, or just behind it
    writer.kill()
    rest, _ = writer.communicate()
    for line in rest.splitlines():
        word, number = line.split()
        begun += word == b"writes"
        saved = int(number) if word == b"saved" else saved
    return begun, saved


# Damaged on the disk


def a_training(updates: int) -> bytes:
    """A checkpoint of a real training."""
    loop = a_loop()
    ingest_until(loop, a_log(5), 50)
    while loop.counters.updates < updates:
        loop.update()
    arrays, plain = loop.state()
    return pack(Checkpoint("demo", updates, 0, 1, 50, 0, arrays, plain))


BEFORE, NEWEST = a_training(2), a_training(3)
HEADER = 8 + int.from_bytes(NEWEST[:8], "little")
REGIONS = {
    "the length of the header": (0, 8),
    "the table of arrays, and the plain values as JSON": (8, HEADER),
    "the arrays": (HEADER, len(NEWEST)),
}


@pytest.mark.parametrize("region", REGIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_bit_that_flips_leads_back_to_the_checkpoint_before_which_is_said(region: str, data: st.DataObject) -> None:
    first, end = REGIONS[region]
    damaged = bytearray(NEWEST)
    damaged[data.draw(st.integers(first, end - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert_falls_back(bytes(damaged))


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.integers(0, len(NEWEST) - 1), st.sampled_from([0, 7, 8, HEADER - 1, HEADER, len(NEWEST) - 1])))
def test_a_file_that_is_cut_short_leads_back_to_the_checkpoint_before_which_is_said(length: int) -> None:
    assert_falls_back(NEWEST[:length])


def test_there_is_no_byte_of_which_the_checksum_knows_nothing() -> None:
    for position in (*range(HEADER), *range(HEADER, len(NEWEST), 41)):
        damaged = bytearray(NEWEST)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(Damaged):
            unpack(bytes(damaged), "it")


def assert_falls_back(damaged: bytes) -> None:
    """With this as its newest checkpoint, a folder says so and gives the one before."""
    heard: list[str] = []
    listener = logging.Handler(logging.ERROR)
    listener.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tmrld.trainer.checkpoints")
    logger.addHandler(listener)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / f"{2:012d}.checkpoint").write_bytes(BEFORE)
            (folder / f"{3:012d}.checkpoint").write_bytes(damaged)
            found = CheckpointFolder(folder).newest()
            assert found is not None
            assert_equal(found, unpack(BEFORE, "the one before"))
            assert sorted(path.name for path in folder.iterdir()) == [f"{2:012d}.checkpoint", f"{3:012d}.damaged"]
    finally:
        logger.removeHandler(listener)
    (sentence,) = heard
    assert f"{3:012d}.checkpoint" in sentence
    assert sentence.endswith("Falling back to the checkpoint before it.")
