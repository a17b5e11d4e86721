"""Waiting for a cluster to get on, and for its end, after which its books can be opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.books import Books, read_books, rows_of
from tests.support.cluster import Cluster, Program, await_that
from tests.support.launch import ACKNOWLEDGED
from tests.support.recording_algorithm import INGESTED, UPDATE
from tmrld.payloads import ACTOR_KINDS
from tmrld.storage.layout import Layout
from tmrld.trainer.checkpoints import CheckpointFolder


def await_progress(cluster: Cluster) -> None:
    """Wait until every worker has had chunks acknowledged, and the trainer has ingested new ones and made updates."""
    workers = [program for name, program in cluster.programs.items() if name.startswith("w")]
    for measure, least, what in (
        *((acknowledged_of(cluster, worker), 5, f"chunks of {worker.name} are acknowledged") for worker in workers),
        (lambda: written(cluster, "*.ingested", INGESTED.itemsize), 5, "the trainer takes in what was collected"),
        (lambda: written(cluster, "*.updates", UPDATE.itemsize), 100, "the trainer makes updates"),
    ):
        await_growth(cluster, measure, least, what)


def await_growth(cluster: Cluster, measure: Callable[[], int], least: int, what: str) -> None:
    before = measure()

    def grown() -> bool:
        for program in cluster.programs.values():
            assert program.process.poll() is None, f"{program.name} has ended:\n{program.errors}"
        return measure() >= before + least

    await_that(grown, what)


def written(cluster: Cluster, pattern: str, size: int) -> int:
    """How many rows there are in these files of the ledger."""
    return sum(path.stat().st_size // size for path in cluster.ledger.glob(pattern))


def acknowledged_of(cluster: Cluster, worker: Program) -> Callable[[], int]:
    return lambda: written(cluster, f"*-{worker.pid}.acks", ACKNOWLEDGED.itemsize)


def wind_up(cluster: Cluster) -> Books:
    """Stop the workers, let the trainer take in all that is in the log, stop the rest, and open the books."""
    for name, program in cluster.programs.items():
        if name.startswith("w"):
            program.stop()
    await_that(
        lambda: last_ingested(max(cluster.ledger.glob("*.ingested"))) >= end_of_log(cluster),
        "the trainer takes in the whole log",
    )
    for name in ("t", "relay"):
        cluster.programs[name].stop()
        assert cluster.programs[name].process.returncode == 0
        assert "ended with an error" not in cluster.programs[name].errors
    return read_books(cluster.ledger, cluster.log_folder)


def last_ingested(path: Path) -> int:
    """How far in the log that life of a trainer's engine has come."""
    rows = rows_of(path, INGESTED)
    return int(rows["next_offset"][-1]) if len(rows) else 0


def end_of_log(cluster: Cluster) -> int:
    """Where the next record of the log will be."""
    newest = max(cluster.log_folder.glob("*.segment"))
    return int(newest.stem) + newest.stat().st_size


def assert_weights_went_round(books: Books) -> None:
    """Workers drove with weights of the trainer, with newer and newer ones."""
    versions = [
        int(version)
        for entry in books.log
        for version, actor in zip(entry.chunk.columns["weights"], entry.chunk.columns["actor"], strict=True)
        if ACTOR_KINDS[actor] == "policy"
    ]
    assert len(set(versions)) > 3


def assert_checkpoint_counts_the_log(cluster: Cluster, books: Books) -> None:
    """The trainer has counted each training transition of the log once, in spite of all its lives."""
    checkpoint = CheckpointFolder(Layout(cluster.data("t")).trainer_checkpoints("demo")).newest()
    assert checkpoint is not None
    in_log = sum(
        entry.chunk.steps
        for entry in books.log
        if entry.chunk.purpose == "train" and entry.record.next_offset <= checkpoint.offset
    )
    assert checkpoint.plain["counters"]["transitions"] == in_log
