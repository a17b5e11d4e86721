"""A training that was stopped by force and went on, with a relay that sent its log again in other pieces, ends as one that never was:
networks, optimizers, random states and counters are the same to the last bit.

In the fast tests the engine runs in a thread and the test is its relay, which hands it one record after another: so the undisturbed
training takes in the same data between the same updates.  The slow test has real processes, and a log that is there from the start.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
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
from tmrld.protocol.codec import encode, seal_chunk
from tmrld.protocol.messages import CheckpointMessage, Command, Consumed, Metrics, Resume, Resumed, WeightsMessage
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
            "collection": {"chunk_steps": 5},
            "training": training,
        }
    ).model_dump(mode="json")


def due(records: list[StoredRecord]) -> int:
    """Updates that are made once these are in the memory."""
    return max(0, steps(records) - WARM_UP)


def at(update: int) -> Callable[[Metrics], bool]:
    return lambda metrics: metrics.update == update


def up_to(offset: int) -> Callable[[Consumed], bool]:
    return lambda consumed: consumed.offset == offset


def feed_one_by_one(life: Life, log: list[StoredRecord], begin: int, end: int) -> None:
    """Hand over records ``begin`` to ``end``, each when all updates were made that are due with those before it."""
    for index in range(begin, end):
        life.feed(log[index : index + 1])
        if (wanted := due(log[: index + 1])) > due(log[:index]):
            life.hear(Metrics, at(wanted))


def end(life: Life) -> Checkpoint:
    """Stop it, and return its last checkpoint."""
    life.tell(Command(0, "stop"))
    life.ended()
    sent = [message for message in life.heard if isinstance(message, CheckpointMessage)]
    return unpack(sent[-1].payload, "the last checkpoint")


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
    begin = 0
    for life_number, cut in enumerate([*cuts, len(log)]):
        if life_number:
            cache(folder, log[:begin])
        with Life(folder, config) as life:
            offset = life.hear(Resume).offset
            life.tell(Resumed("demo", 0, 100 * life_number))
            if life_number:
                feed_again(life, [record for record in log[:begin] if record.offset >= offset], chance)
                wanted = due(log[:begin])
                if life.hear(WeightsMessage).update < wanted:  # published when it has resumed
                    life.hear(Metrics, at(wanted))
            feed_one_by_one(life, log, begin, cut)
            if cut == len(log):
                assert_same(end(life), right)
                return
            life.feed(log[cut : cut + 1])  # and in the midst of the updates that it brings, the end comes
            life.hear(Consumed, up_to(log[cut].next_offset))
            for _ in range(chance.randint(0, due(log[: cut + 1]) - due(log[:cut]))):
                life.hear(Metrics)
            begin = cut + 1


def feed_again(life: Life, log: list[StoredRecord], chance: random.Random) -> None:
    """All of these in pieces of random sizes, some records twice."""
    begin = 0
    while begin < len(log):
        piece = chance.randint(1, 6)
        life.feed(log[begin : begin + piece])
        begin += chance.randint(1, piece)


def assert_same(found: Checkpoint, right: Checkpoint) -> None:
    """To the last bit; a training that resumed has published more often, and its versions count on."""
    for checkpoint in (found, right):
        del checkpoint.plain["counters"]["weights_version"]
    assert (found.update, found.offset, found.window) == (right.update, right.offset, right.window)
    assert found.plain == right.plain
    assert found.arrays.keys() == right.arrays.keys()
    for name, array in right.arrays.items():
        assert found.arrays[name].tobytes() == array.tobytes(), name


# Real processes


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_with_engine_trainer_and_relay_killed_at_work_the_final_weights_are_the_same_bytes(
    tmp_path: Path, log: list[StoredRecord], algorithm: str
) -> None:
    chance = random.Random(algorithm)
    moments = sorted(chance.sample(range(200, UPDATES - 400), 2))

    def kill_engine_and_relay(cluster: Cluster) -> None:
        os.kill(cluster.programs["t"].engine(), signal.SIGKILL)
        cluster.programs["relay"].kill()
        cluster.start_relay()

    def kill_trainer_and_its_cache(cluster: Cluster) -> None:
        cluster.programs["t"].kill()
        cluster.programs["relay"].kill()
        shutil.rmtree(Layout(cluster.data("t")).trainer_cache("demo"))
        cluster.start_relay()
        cluster.start("trainer", "t")

    strikes = list(zip(moments, (kill_engine_and_relay, kill_trainer_and_its_cache), strict=True))
    right, right_weights = trained(tmp_path / "undisturbed", log, algorithm, [])
    found, found_weights = trained(tmp_path / "disturbed", log, algorithm, strikes)
    assert found.update == UPDATES
    assert_same(found, right)
    assert found_weights == right_weights


UPDATES = 3003


def trained(
    folder: Path, log: list[StoredRecord], algorithm: str, strikes: Sequence[tuple[int, Callable[[Cluster], None]]]
) -> tuple[Checkpoint, dict[str, bytes]]:
    """Train from this log to the end, and strike when so many updates have been checkpointed.

    All that is in the log is taken in before the first update: so the schedule is the same whoever trains.
    """
    folder.mkdir()
    config = configuration(algorithm)
    config["algorithm"] |= {"warm_up": steps(log) - UPDATES // 40 - 1, "update_to_data": 40.0}
    config["training"] |= {"max_updates": UPDATES, "checkpoint_interval_updates": 100, "metrics_interval_updates": 100}
    config["replay"]["capacity"] = steps(log)
    with Cluster(folder, config) as cluster:
        layout = Layout(cluster.data("relay"))
        layout.relay.mkdir(parents=True, mode=0o700)
        store = RunStore(layout)
        store.create("demo", config, "test", time.time(), "running")
        store.set_spec("demo", LedgerEnv.tmrld_spec.to_plain())
        store.close()
        sample_log = SampleLog(layout.run_log("demo"))
        sample_log.append([Record(**vars_of(record.facts), body=record.body) for record in log])
        sample_log.close()
        cluster.start_relay()
        cluster.start("trainer", "t")
        checkpoints = Layout(cluster.data("t")).trainer_checkpoints("demo")
        for moment, strike in strikes:
            reached = partial(lambda least: any(int(path.stem) >= least for path in checkpoints.glob("*.checkpoint")), moment)
            await_that(reached, f"{moment} updates are made")
            strike(cluster)
        client = Client(
            cluster.programs["relay"].said("control"), (cluster.data("relay") / "control.token").read_text().strip()
        )
        await_that(lambda: client.get("runs", "demo")["state"] == "finished", "the run is finished", 200.0)
        data, _ = client.download("runs", "demo", "weights", "latest")
        cluster.programs["t"].stop()
        last = CheckpointFolder(checkpoints).newest()
        assert last is not None
        return last, {name: tensor.tobytes() for name, tensor in unpack_weights(data)[1].items()}
