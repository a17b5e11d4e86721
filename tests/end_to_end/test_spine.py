"""The whole system in real processes, as people use it: it learns, stops at once, goes on where it was, and says no clearly."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.books import Entry, last_chunk, read_books, read_log, rows_of, violations
from tests.support.cluster import Cluster, Program, await_that
from tests.support.data_folder import files_of, kind_of
from tests.support.recording_algorithm import UPDATE
from tmrld.configuration import run_config
from tmrld.payloads import ACTOR_KINDS, Array, EnvSpec, WeightsManifest
from tmrld.rl import weights
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.replay import Replay
from tmrld.storage.layout import Layout
from tmrld.trainer.checkpoints import Journal, JournalEntry
from tmrld.trainer.loop import TrainingLoop

pytestmark = pytest.mark.timeout(300)

NIMBLE_S = 0.7
"""How long importing the program takes on an ordinary machine that does nothing else."""


# tmrld up


def test_up_learns_stops_at_once_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        up = cluster.start_up()
        await_that(lambda: driven_by_weights(cluster), "weights have gone round")
        slowness = how_slow_this_machine_is()
        assert up.stop(signal.SIGINT) < 3.0 * slowness
        assert up.process.returncode == 0
        assert up.errors == ""
        summary = json.loads(up.output.splitlines()[-1])
        assert summary["updates"] > 0
        assert summary["problem"] == ""

        again = cluster.start_up()
        await_that(lambda: len(lives(cluster)) == 2 and len(lives(cluster)[1]), "it makes updates again")
        again.stop(signal.SIGINT)
        assert_goes_on(*lives(cluster))
        assert {kind_of(path, cluster.data("relay")).content for path in files_of(cluster.data("relay"))} >= {
            "runs",
            "log",
            "cache",
        }
        books = read_books(cluster.ledger, cluster.log_folder)
        assert list(violations(books)) == []
        assert policy_versions(books.log)


def test_nodes_find_their_relay_in_whatever_order_they_start(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_relay()
        cluster.programs["relay"].stop()
        cluster.start("worker", "w")
        cluster.start("trainer", "t")
        for name in ("w", "t"):
            await_that(lambda name=name: "trying again" in cluster.programs[name].errors, f"{name} finds no relay")  # type: ignore[misc]
        cluster.start_relay()
        await_that(lambda: driven_by_weights(cluster), "weights have gone round")


# Refusals


def test_a_peer_that_is_refused_ends_with_a_sentence(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_relay()
        cases = {
            "does not know the token": cluster.start("worker", "a", token="A" * 43),
            "is not the pinned one": cluster.start("trainer", "b", pin="sha256:" + "0" * 64),
            "upgrade": cluster.start("worker", "c", environment={"SPEAKS": "tmrld.v2"}),
            "was made for worker": cluster.start("trainer", "d", token=cluster.token("worker", "d")),
        }
        for words, peer in cases.items():
            assert_refused(peer, words)


def test_a_peer_without_a_token_or_pin_is_told_what_to_do(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        assert_refused(cluster.start("worker", "a", pin="", relay="wss://127.0.0.1:9"), "peers.pin")
        assert_refused(cluster.start_tmrld("b", ["serve", "--role", "worker", "--set", "name=b"]), "tmrld token new")


def assert_refused(peer: Program, words: str) -> None:
    peer.process.wait(60.0)
    assert peer.process.returncode == 2, peer.errors
    assert "Traceback" not in peer.errors
    last = peer.errors.splitlines()[-1]
    assert last.startswith("tmrld: ")
    assert words in last


# Bit for bit


def test_a_trainer_that_was_killed_has_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    """The journal is replayed here from the very beginning, without checkpoint and kill: that is the trainer that was not killed."""
    with Cluster(tmp_path, SIM_RUN) as cluster:
        cluster.start_relay()
        cluster.start("worker", "w")
        trainer = cluster.start("trainer", "t")
        layout = Layout(cluster.data("t"))
        await_that(lambda: list(layout.trainer_checkpoints("demo").glob("*.checkpoint")), "a checkpoint is written")
        await_that(lambda: newest(cluster).update >= 375, "weights of later updates are published")
        trainer.kill()
        shutil.copy(layout.trainer_journal("demo"), tmp_path / "journal")
        before = published(cluster)
        cluster.start("trainer", "t")
        await_that(lambda: newest(cluster).version > max(before), "the resumed trainer publishes weights")
        for name in ("w", "t", "relay"):
            cluster.programs[name].stop()
        resumed = published(cluster)[max(before) + 1]
        last = before[max(before)]
        with closing(Journal(tmp_path / "journal")) as journal:
            schedule = journal.after(0, 0)
        assert resumed[0].update == schedule[-1].update >= last[0].update
        reference = dict(replayed(schedule, read_log(cluster.log_folder), last[0].spec))
        for manifest, tensors in (last, resumed):
            assert tensors.keys() == reference[manifest.update].keys()
            for name, tensor in tensors.items():
                assert tensor.tobytes() == reference[manifest.update][name].tobytes()


SIM_RUN: dict[str, Any] = {
    "algorithm": {"batch_size": 16, "warm_up": 100},
    "network": {"hidden": [16]},
    "replay": {"capacity": 300},
    "training": {
        "slack_transitions": 200,
        "weights_interval_updates": 25,
        "checkpoint_interval_updates": 600,
        "max_updates": 550,
        "evaluation_episodes": 0,
    },
    "collection": {"chunk_steps": 20},
}
"""The embedded simulator and Soft Actor-Critic, small.

The replay memory has to let go of chunks before the only checkpoint, an early one: with a second one, the journal would forget its
beginning.
"""


def published(cluster: Cluster) -> dict[int, tuple[WeightsManifest, dict[str, Array]]]:
    """All weights at the relay, by version."""
    folder = Layout(cluster.data("relay")).run_weights("demo")
    return {int(path.stem): weights.unpack(path.read_bytes()) for path in folder.glob("*.safetensors")}


def newest(cluster: Cluster) -> WeightsManifest:
    """What the newest of them say of themselves; there are some."""
    path = max(Layout(cluster.data("relay")).run_weights("demo").glob("*.safetensors"))
    return weights.unpack(path.read_bytes())[0]


def replayed(schedule: list[JournalEntry], log: list[Entry], spec: EnvSpec) -> Iterator[tuple[int, dict[str, Array]]]:
    """Train from the beginning by a journal; yields the policy at each update that the journal names."""
    config = run_config(SIM_RUN)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        algorithm = make_algorithm(config.algorithm, config.network, spec, config.training.seed)
        loop = TrainingLoop(algorithm, Replay(spec, config.replay.capacity), config.algorithm, config.training)
        waiting = iter(log)
        for entry in schedule:
            while loop.counters.updates < entry.update:
                loop.update()
            yield entry.update, algorithm.policy_tensors()
            while loop.counters.offset < entry.offset:
                found = next(waiting)
                chunk = found.chunk if found.chunk.purpose == "train" else None
                loop.ingest(chunk, found.record.offset, found.record.next_offset)
    finally:
        torch.set_flush_denormal(False)


# What tests look at


def lives(cluster: Cluster) -> list[Array]:
    """The updates that the recording algorithm made, one array for each life of the trainer's engine."""
    return [rows_of(path, UPDATE) for path in sorted(cluster.ledger.glob("*.updates"))]


def assert_goes_on(first: Array, second: Array) -> None:
    """The second life's first update follows the first life's last, and builds on all of its batches."""
    last, following = first[-1], second[0].copy()
    digest = following["digest"].tobytes()
    assert following["update"] == last["update"] + 1
    following["update"], following["digest"] = 0, 0
    assert sha256(last["digest"].tobytes() + following.tobytes()).digest() == digest


def driven_by_weights(cluster: Cluster) -> bool:
    """Whether the newest chunk in the log was driven by weights of the trainer: collected, learned from, published, driven."""
    newest = last_chunk(cluster.log_folder)
    return newest is not None and int(newest.columns["weights"].max()) >= 1


def policy_versions(log: list[Entry]) -> set[int]:
    """With which versions of the weights was driven."""
    return {
        int(version)
        for entry in log
        for version, actor in zip(entry.chunk.columns["weights"], entry.chunk.columns["actor"], strict=True)
        if ACTOR_KINDS[actor] == "policy"
    }


def how_slow_this_machine_is() -> float:
    """At least 1: how many times longer than on an idle machine things take now."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import tmrld.daemon"], check=True)
    return max(1.0, (time.monotonic() - began) / NIMBLE_S)
