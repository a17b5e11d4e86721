"""A training that was stopped by force and went on, with a relay that sent its log again in other pieces, ends as one that never was:
networks, optimizers, random states and counters are the same to the last bit.

In the fast tests the engine runs in a thread and the test is its relay, which hands it one record after another: so the undisturbed
training takes in the same data between the same updates.  The slow test has real processes, and a log that is there from the start.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.test_trainer_engine import Life, keep_in_cache, steps, vars_of
from tests.support.cluster import LEDGER_ENV, Cluster, await_that
from tests.support.ledger_env import LedgerEnv
from tmrld.client import Client
from tmrld.configuration import run_config
from tmrld.payloads import Array
from tmrld.protocol.codec import encode, seal_chunk
from tmrld.protocol.messages import CheckpointMessage, Metrics, Resume, Resumed, WeightsMessage
from tmrld.rl.weights import unpack as unpack_weights
from tmrld.storage.layout import Layout
from tmrld.storage.records import Record, StoredRecord
from tmrld.storage.runs import RunStore
from tmrld.storage.sample_log import SampleLog
from tmrld.trainer.checkpoints import Checkpoint, CheckpointFolder, unpack
from tmrld.worker.episode import Choice, Episode, EpisodePlan
from tmrld.worker.options import CollectionOptions

ALGORITHMS: dict[str, dict[str, Any]] = {
    "sac": {"name": "sac"},
    "redq": {"name": "redq", "critics": 4, "critic_subset": 2, "policy_interval": 5},
}
"""REDQ draws the critics of each target at random: a random state of its own to be kept."""
WARM_UP = 20
State = tuple[Checkpoint, dict[str, Array]]
"""The last checkpoint, and the tensors of the policy that was published last."""


def a_log(folder: Path, records: int) -> list[StoredRecord]:
    """A sample log of some episodes of the ledger, driven at random."""
    environment = LedgerEnv(str(folder))
    drawn, driven = np.random.default_rng(0), list[Record]()
    while len(driven) < records:
        episode = Episode(
            environment, environment.tmrld_spec, EpisodePlan("demo", "w", "default"), CollectionOptions(chunk_steps=5)
        )
        while not episode.ended:
            chunk = episode.step(Choice(drawn.uniform(-1, 1, 2).astype(np.float32), "random"))
            if chunk is not None:
                body = encode(seal_chunk(replace(chunk, incarnation="i", number=len(driven))))
                driven.append(Record("w", "i", len(driven), chunk.steps, "train", chunk.episode, body))
    environment.close()
    log = SampleLog(folder / "log")
    log.append(driven[:records])
    stored = log.read(0, 1 << 30)
    log.close()
    return stored


# One record after another


def configuration(algorithm: str) -> dict[str, Any]:
    training = {
        "slack_transitions": 100,
        "metrics_interval_updates": 1,
        "weights_interval_updates": 11,
        "checkpoint_interval_updates": 23,
        "evaluation_interval_updates": 1000,
    }
    options = {"batch_size": 8, "warm_up": WARM_UP, "update_to_data": 1.0, "n_step": 3, **ALGORITHMS[algorithm]}
    return run_config(
        {
            "environment": {"id": LEDGER_ENV},
            "algorithm": options,
            "network": {"hidden": [8]},
            "replay": {"capacity": 90},
            "training": training,
        }
    ).model_dump(mode="json")


def due(records: list[StoredRecord]) -> int:
    """Updates that are made once these are in the memory."""
    return max(0, steps(records) - WARM_UP)


def feed_one_by_one(life: Life, log: list[StoredRecord], begin: int, end: int) -> None:
    """Hand over records ``begin`` to ``end``, each when all updates were made that are due with those before it."""
    for index in range(begin, end):
        life.feed(log[index : index + 1])
        if (wanted := due(log[: index + 1])) > due(log[:index]):
            life.hear(Metrics, lambda metrics, wanted=wanted: metrics.update == wanted)


def end(life: Life) -> Checkpoint:
    """Stop it, and return its last checkpoint."""
    life.stop()
    return unpack(next(m for m in reversed(life.heard) if isinstance(m, CheckpointMessage)).payload, "the last")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRecord]:
    return a_log(tmp_path_factory.mktemp("log"), 40)


def undisturbed(folder: Path, log: list[StoredRecord], algorithm: str) -> Checkpoint:
    with Life(folder, configuration(algorithm)) as life:
        assert life.hear(Resume).offset == 0
        life.tell(Resumed("demo", 0, 0))
        feed_one_by_one(life, log, 0, len(log))
        return end(life)


def untouched(folder: Path, log: list[StoredRecord]) -> None:
    """The cache is what it was."""


def deleted(folder: Path, log: list[StoredRecord]) -> None:
    shutil.rmtree(Layout(folder).trainer_cache("demo"))


def full_of_holes(folder: Path, log: list[StoredRecord]) -> None:
    keep_in_cache(folder, [record for number, record in enumerate(log) if number % 3])


def torn(folder: Path, log: list[StoredRecord]) -> None:
    """As after power loss: what was written last is cut off, and something in the middle is rubbish."""
    segment = max(Layout(folder).trainer_cache("demo").glob("*.segment"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data[:-100])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("cache", [untouched, deleted, full_of_holes, torn])
def test_killed_and_sent_the_log_again_in_other_pieces_it_ends_as_it_would_have(
    tmp_path: Path, log: list[StoredRecord], algorithm: str, cache: Callable[[Path, list[StoredRecord]], None]
) -> None:
    right = undisturbed(tmp_path / "undisturbed", log, algorithm)
    folder, config, chance = tmp_path / "disturbed", configuration(algorithm), random.Random(f"{algorithm} {cache.__name__}")
    cuts = sorted(chance.sample(range(10, len(log) - 1), 3))
    with Life(folder, config) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        feed_one_by_one(life, log, 0, cuts[0])
        life.feed(log[cuts[0] : cuts[0] + 1])  # and in the midst of the updates that it brings, the end comes
        life.hear(Metrics, lambda metrics: metrics.update > due(log[: cuts[0]]) - 3)
    for index, cut in enumerate([*cuts[1:], len(log)]):
        known = cuts[index] + 1
        cache(folder, log[:known])
        with Life(folder, config) as life:
            resume = life.hear(Resume)
            life.tell(Resumed("demo", 0, 100 * index))
            begin = next((at for at, record in enumerate(log) if record.offset >= resume.offset), known)
            while begin < known:
                piece = chance.randint(1, 6)
                life.feed(log[begin : min(begin + piece, known)])
                begin += chance.randint(1, piece)  # some come twice
            feed_on(life, log, known, cut)
            if cut == len(log):
                found = end(life)
            else:
                life.feed(log[cut : cut + 1])
                life.hear(WeightsMessage if chance.random() < 0.1 else Metrics)
    assert_same(found, right)


def feed_on(life: Life, log: list[StoredRecord], begin: int, end: int) -> None:
    """When it has caught up with what was there before, go on record by record."""
    life.hear(WeightsMessage)  # it has resumed
    if not any(isinstance(message, Metrics) and message.update >= due(log[:begin]) for message in life.heard):
        reached = max((m.update for m in life.heard if isinstance(m, WeightsMessage)), default=0)
        if reached < due(log[:begin]):
            life.hear(Metrics, lambda metrics: metrics.update >= due(log[:begin]))
    feed_one_by_one(life, log, begin, end)


def assert_same(found: Checkpoint, right: Checkpoint) -> None:
    """To the last bit; a training that resumed has published more often, and its versions count on."""
    for checkpoint in (found, right):
        del checkpoint.plain["counters"]["weights_version"]
    assert (found.update, found.offset, found.window) == (right.update, right.offset, right.window)
    assert found.plain == right.plain
    assert found.arrays.keys() == right.arrays.keys()
    for name, array in right.arrays.items():
        assert found.arrays[name].tobytes() == array.tobytes(), name
