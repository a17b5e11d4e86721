"""``kill -9`` of every process in turn, and then the books are compared: nothing acknowledged is missing, nothing is there twice,
every batch was made of what happened.  Bugs that are planted show that the books would have told.

The environment itself keeps the ledger (`tests.support.ledger_env`); `tests.support.books` compares.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.support.books import Books, acknowledgement_violations, violations
from tests.support.cluster import REAL_TIME_RUN, Cluster, await_that
from tests.support.planted import HUNG
from tests.support.progress import (
    acknowledged,
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
    assert list(violations(after_a_death_behind_the_commit(tmp_path, bug=""))) == []


def test_a_missing_deduplication_is_noticed(tmp_path: Path) -> None:
    found = list(violations(after_a_death_behind_the_commit(tmp_path, bug="forget_identities")))
    assert any("is in the log 2 times" in violation for violation in found), found


def after_a_death_behind_the_commit(folder: Path, bug: str) -> Books:
    """A relay is killed when it has stored chunks and nobody knows; their worker sends them again to the next one."""
    with Cluster(folder) as cluster:
        relay = cluster.start_relay(planted=f"die_after_commit,{bug}")
        cluster.start("worker", "w1")
        cluster.start("trainer", "t")
        await_that(lambda: relay.process.poll() is not None, "the relay dies")
        assert relay.process.returncode == -signal.SIGKILL
        cluster.start_relay(planted=bug)
        await_progress(cluster)
        return wind_up(cluster)


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


def test_an_acknowledgement_before_the_commit_is_noticed(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        relay = cluster.start_relay(planted="hang_before_commit,acknowledge_before_commit")
        cluster.start("worker", "w1")
        cluster.start("trainer", "t")
        await_hanging_disk(cluster)
        stored = int((cluster.ledger / HUNG).read_text())
        await_that(lambda: acknowledged(cluster) > stored, "chunks are acknowledged all the same")
        relay.kill()
        cluster.programs["w1"].kill()  # or it would hold back what the relay's next life lacks before it
        cluster.start_relay()
        cluster.start("worker", "w1")
        await_progress(cluster)
        found = list(acknowledgement_violations(wind_up(cluster)))
        assert any("was acknowledged, and is not in the log" in violation for violation in found), found


@pytest.mark.parametrize(
    ("bugs", "signs"),
    [
        ("history_off_by_one", ["was sampled"]),
        ("history_across_episodes", ["was sampled with another observation"]),
        ("skip_a_record,ingest_a_record_twice", ["leaving out", "for the second time"]),
    ],
)
def test_bugs_on_the_way_into_batches_are_noticed(tmp_path: Path, bugs: str, signs: list[str]) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_relay()
        cluster.start("worker", "w1")
        cluster.start("trainer", "t", planted=bugs)
        await_progress(cluster)
        found = list(violations(wind_up(cluster)))
        for sign in signs:
            assert any(sign in violation for violation in found), found


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
    hung = cluster.ledger / HUNG
    await_that(lambda: hung.exists() and hung.read_text().endswith("\n"), "the relay's disk hangs")
