"""``kill -9`` of every process in turn, and then the books are compared: nothing acknowledged is missing, nothing is there twice,
every batch was made of what happened.  (What else can happen, and that the books would tell of bugs: `tests.chaos`.)

The environment itself keeps the ledger (`tests.support.ledger_env`); `tests.support.books` compares.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.support.books import violations
from tests.support.cluster import REAL_TIME_RUN, Cluster, await_that
from tests.support.planted import HUNG
from tests.support.progress import (
    assert_checkpoint_counts_the_log,
    assert_weights_went_round,
    await_progress,
    wind_up,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_books_agree_whatever_is_killed(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_relay()
        for name in ("w1", "w2"):
            cluster.start("worker", name)
        cluster.start("trainer", "t")
        await_progress(cluster)
        victims = [
            "relay",
            "t",
            "engine of t",
            "w1",
            "engine of w1",
            "w2, politely",
            "t, politely",
            "relay, t",
            "w1, w2, relay",
        ]
        random.Random(8).shuffle(victims)
        for victim in victims:
            strike(cluster, victim)
            await_progress(cluster)
        books = wind_up(cluster)
        assert list(violations(books)) == []
        assert_weights_went_round(books)
        assert_checkpoint_counts_the_log(cluster, books)


def test_the_books_agree_though_a_worker_drives_several_cars(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        four = {"TMRLD_WORKER__ENVIRONMENTS": "4"}
        cluster.start_relay()
        cluster.start("worker", "w1", environment=four)
        cluster.start("trainer", "t")
        await_progress(cluster)
        for victim in ("engine of w1", "relay", "t"):
            strike(cluster, victim)
            await_progress(cluster)
        cluster.programs["w1"].kill()
        cluster.start("worker", "w1", environment=four)
        await_progress(cluster)
        books = wind_up(cluster)
        assert list(violations(books)) == []
        assert_weights_went_round(books)
        assert_checkpoint_counts_the_log(cluster, books)


def test_a_trainers_engine_may_be_killed_while_samples_keep_coming(tmp_path: Path) -> None:
    with Cluster(tmp_path, REAL_TIME_RUN) as cluster:
        cluster.start_relay()
        cluster.start("worker", "w1")
        cluster.start("trainer", "t")
        for _ in range(3):
            await_progress(cluster)
            strike(cluster, "engine of t")
        await_progress(cluster)
        books = wind_up(cluster)
        assert list(violations(books)) == []
        assert_checkpoint_counts_the_log(cluster, books)


def test_a_relay_that_dies_between_commit_and_acknowledgement_stores_nothing_twice(tmp_path: Path) -> None:
    """It is killed when it has stored chunks and nobody knows; their worker sends them again to the next one."""
    with Cluster(tmp_path) as cluster:
        relay = cluster.start_relay(planted="die_after_commit")
        cluster.start("worker", "w1")
        cluster.start("trainer", "t")
        await_that(lambda: relay.process.poll() is not None, "the relay dies")
        assert relay.process.returncode == -signal.SIGKILL
        cluster.start_relay()
        await_progress(cluster)
        assert list(violations(wind_up(cluster))) == []


def test_a_relay_whose_disk_hangs_acknowledges_nothing_that_it_loses(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        relay = cluster.start_relay(planted="hang_before_commit")
        cluster.start("worker", "w1")
        cluster.start("trainer", "t")
        await_hanging_disk(cluster)
        relay.kill()
        cluster.start_relay()
        await_progress(cluster)
        assert list(violations(wind_up(cluster))) == []


# How it is done


def strike(cluster: Cluster, victim: str) -> None:
    """Kill what is named, and start again what does not start by itself."""
    what = victim.removesuffix(", politely")
    if what.startswith("engine of "):
        os.kill(cluster.programs[what.removeprefix("engine of ")].engine(), signal.SIGKILL)
        return
    names = what.split(", ")
    for name in names:
        program = cluster.programs[name]
        if what != victim:
            program.stop()
            assert program.process.returncode == 0
        else:
            program.kill()
    for name in names:
        if name == "relay":
            cluster.start_relay()
        else:
            cluster.start("trainer" if name == "t" else "worker", name)


def await_hanging_disk(cluster: Cluster) -> None:
    """Wait until the fault `hang_before_commit` has come."""
    await_that((cluster.ledger / HUNG).exists, "the relay's disk hangs")
