"""Compares what really happened (the environment's ledgers) with what the system made of it: its log, its batches.

Every check yields a sentence for each violation, so that a test can also ask for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.launch import ACKNOWLEDGED, TAKEN
from tests.support.ledger_env import ACTION_BUFFER, IDENTITY_HISTORY, NOISE_HISTORY, ROW, SPEC
from tests.support.recording_algorithm import INGESTED, UPDATE
from tmrld.payloads import Array, Chunk
from tmrld.protocol.codec import decode, open_chunk
from tmrld.protocol.messages import ChunkMessage
from tmrld.storage.records import StoredRecord, scanned
from tmrld.storage.sample_log import SampleLog

Identity = tuple[int, int, int]
"""(instance, episode, step) of a frame."""

PRUNED = "pruned"
"""The folder beside the ledgers in which segments of the log are kept that were pruned."""

COLUMNS = ("identity", "noise", "newest", "action", "reward", "terminated", "truncated")


@dataclass(frozen=True)
class Entry:
    """A record of the sample log, opened."""

    record: StoredRecord
    chunk: Chunk

    @property
    def first_row(self) -> int:
        """The row of the episode that stands first in the columns."""
        return self.chunk.first_step - self.chunk.lead + 1


@dataclass(frozen=True)
class Taken:
    """A chunk that a worker's outbox took: which process that was, and what is in it."""

    pid: int
    spooled: bool
    identities: tuple[Identity, ...]


@dataclass(frozen=True)
class Books:
    """All that was written down of a run.

    ``instances`` are the rows of each environment, in order; ``taken`` is what outboxes took.  ``updates`` and ``ingested`` hold one
    array for each life of the trainer's engine, in order.  ``killed`` are workers that were killed, ``wiped`` those whose store was
    removed later: what a killed one had in memory alone, and a wiped one at all, may be missing unless it was acknowledged.
    """

    ledger: dict[Identity, Any]
    instances: list[list[Identity]]
    taken: dict[tuple[str, int], Taken]
    acknowledged: set[tuple[str, int]]
    log: list[Entry]
    updates: list[Array]
    ingested: list[Array]
    killed: frozenset[int] = frozenset()
    wiped: frozenset[int] = frozenset()

    @cached_property
    def forgiven(self) -> dict[tuple[str, int], Taken]:
        """What was taken, and is rightly not in the log."""
        stored = {(entry.chunk.incarnation, entry.chunk.number) for entry in self.log}
        return {
            name: taken
            for name, taken in self.taken.items()
            if name not in stored
            and name not in self.acknowledged
            and (taken.pid in self.wiped or (taken.pid in self.killed and not taken.spooled))
        }

    @cached_property
    def forgiven_steps(self) -> set[Identity]:
        """The steps in it."""
        return {identity for taken in self.forgiven.values() for identity in taken.identities}


def read_books(
    folder: Path, log_folder: Path, killed: frozenset[int] = frozenset(), wiped: frozenset[int] = frozenset()
) -> Books:
    """Read everything.  Nobody may have the log open; whoever wrote the rest may have been killed in the middle of a row.

    Segments of the log that were pruned are read where they were kept: in the folder ``pruned``.
    """
    rows = [list(rows_of(path, ROW)) for path in sorted(folder.glob("*.ledger"))]
    return Books(
        {identity_of(row["identity"]): row for instance in rows for row in instance},
        [[identity_of(row["identity"]) for row in instance] for instance in rows],
        read_taken(folder),
        read_acknowledged(folder),
        [*read_pruned(folder / PRUNED), *read_log(log_folder)],
        [rows_of(path, UPDATE) for path in sorted(folder.glob("*.updates"))],
        [rows_of(path, INGESTED) for path in sorted(folder.glob("*.ingested"))],
        killed,
        wiped,
    )


def read_taken(folder: Path) -> dict[tuple[str, int], Taken]:
    """What workers' outboxes have taken, by incarnation and number."""
    return {
        (row["incarnation"].decode(), int(row["number"])): Taken(
            int(path.stem.partition("-")[2]),
            bool(row["spooled"]),
            steps_before(identity_of(row["last"]), int(row["steps"])),
        )
        for path in folder.glob("*.taken")
        for row in rows_of(path, TAKEN)
    }


def read_acknowledged(folder: Path) -> set[tuple[str, int]]:
    """What workers were told that the relay has, by incarnation and number."""
    return {
        (row["incarnation"].decode(), int(row["number"]))
        for path in folder.glob("*.acks")
        for row in rows_of(path, ACKNOWLEDGED)
    }


def rows_of(path: Path, dtype: np.dtype[Any]) -> Array:
    """The whole rows in a file."""
    data = path.read_bytes()
    return np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)


def opened(record: StoredRecord) -> Entry:
    """What a record holds."""
    message = decode(record.body)
    assert isinstance(message, ChunkMessage)
    return Entry(record, open_chunk(message))


def read_pruned(folder: Path) -> list[Entry]:
    """All records of segments that were kept when they were pruned."""
    entries = []
    for path in sorted(folder.glob("*.segment")):
        for item in scanned(path.read_bytes(), int(path.stem)):
            assert isinstance(item, StoredRecord), f"{path} is damaged: {item}"
            entries.append(opened(item))
    return entries


def read_log(folder: Path) -> list[Entry]:
    """All records of a sample log that nobody has open."""
    log = SampleLog(folder)
    try:
        entries: list[Entry] = []
        offset = log.begin
        while records := log.read(offset, 1 << 24):
            entries += [opened(record) for record in records]
            offset = records[-1].next_offset
        assert not log.damages
        return entries
    finally:
        log.close()


def last_chunk(folder: Path) -> Chunk | None:
    """The last whole record of a sample log that somebody is writing to."""
    segments = sorted(folder.glob("*.segment"))
    found = scanned(segments[-1].read_bytes(), int(segments[-1].stem)) if segments else iter(())
    records = [item for item in found if isinstance(item, StoredRecord)]
    return opened(records[-1]).chunk if records else None


def identity_of(values: Any) -> Identity:
    """What the values of an ``identity`` frame say."""
    instance, episode, step = (int(value) for value in values)
    return instance, episode, step


def steps_before(last: Identity, steps: int) -> tuple[Identity, ...]:
    """The last so many steps of an episode up to this one."""
    instance, episode, end = last
    return tuple((instance, episode, step) for step in range(end - steps + 1, end + 1))


def violations(books: Books) -> Iterator[str]:
    """Everything that is wrong with a run, a sentence each."""
    yield from log_violations(books)
    yield from acknowledgement_violations(books)
    yield from ingestion_violations(books)
    yield from batch_violations(books)


def log_violations(books: Books) -> Iterator[str]:
    """The log holds what happened, each step once, episodes without holes, and each of them from one worker."""
    seen: Counter[Identity] = Counter()
    reached: dict[str, int] = {}
    episodes: dict[str, tuple[Any, ...]] = {}
    for entry in books.log:
        chunk = entry.chunk
        where = f"chunk {chunk.number} of {chunk.worker} ({chunk.incarnation}), episode {chunk.episode}"
        identities = [identity_of(values) for values in chunk.columns["identity"]]
        for index, identity in enumerate(identities):
            row = books.ledger.get(identity)
            if row is None:
                yield f"{where}: {identity} never happened"
                continue
            for column in COLUMNS:
                if not np.array_equal(chunk.columns[column][index], row[column]):
                    yield f"{where}: {column} of {identity} is {chunk.columns[column][index]}, it was {row[column]}"
            if identity[2] != entry.first_row + index:
                yield f"{where}: step {identity[2]} stands where step {entry.first_row + index} should"
        seen.update(identities[chunk.lead :])
        origin = (chunk.worker, chunk.incarnation, chunk.purpose, *identities[0][:2])
        if {identity[:2] for identity in identities} != {origin[3:]} or episodes.setdefault(chunk.episode, origin) != origin:
            yield f"{where}: it mixes episodes or workers"
        before = reached.get(chunk.episode, 0)
        skipped = steps_before((*identities[0][:2], chunk.first_step), chunk.first_step - before)
        lost = set(skipped) - books.forgiven_steps
        if chunk.first_step < before or lost:
            yield f"{where}: it begins after step {chunk.first_step}, and the log was at {before}"
        reached[chunk.episode] = chunk.first_step + chunk.steps
    yield from (f"{identity} is in the log {times} times" for identity, times in seen.items() if times > 1)
    if len({origin[3:] for origin in episodes.values()}) != len(episodes):
        yield "two episodes of the log are one of the ledger"


def acknowledgement_violations(books: Books) -> Iterator[str]:
    """What was acknowledged is in the log."""
    stored = {(entry.chunk.incarnation, entry.chunk.number) for entry in books.log}
    for incarnation, number in sorted(books.acknowledged - stored):
        yield f"chunk {number} of {incarnation} was acknowledged, and is not in the log"


def delivery_violations(books: Books) -> Iterator[str]:
    """All that was driven is in the log once everything is over, but for what may be missing.

    Of what an outbox took that is what `Books.forgiven` says.  Of what no outbox had, it is what an environment did last before its
    engine ended: the steps that no chunk had yet, or that were on their way to a worker who was killed.
    """
    stored = {(entry.chunk.incarnation, entry.chunk.number) for entry in books.log}
    for (incarnation, number), taken in books.taken.items():
        if (incarnation, number) not in stored and (incarnation, number) not in books.forgiven:
            yield (
                f"chunk {number} of {incarnation}, {taken.identities[0]} to {taken.identities[-1]}, was taken by the worker "
                f"{taken.pid}, and is not in the log"
            )
    logged = {identity_of(values) for entry in books.log for values in entry.chunk.columns["identity"][entry.chunk.lead :]}
    for rows in books.instances:
        driven = [identity for identity in rows if identity[2] > 0]
        while driven and driven[-1] not in logged:
            driven.pop()
        for identity in driven:
            if identity not in logged and identity not in books.forgiven_steps:
                yield f"{identity} happened, and is not in the log, though later steps of its environment are"


def ingestion_violations(books: Books) -> Iterator[str]:
    """Each life of the trainer took record after record of the log, and left none out."""
    following = {entry.record.offset: entry.record.next_offset for entry in books.log}
    for life, ingested in enumerate(books.ingested):
        previous = None
        for offset, next_offset, expected in ingested.tolist():
            if previous is None and (left_out := [other for other in following if expected <= other < offset]):
                yield f"life {life} of the trainer began at {expected}, and left out the record at {min(left_out)}"
            if following.get(offset) != next_offset:
                yield f"life {life} of the trainer ingested a record at {offset}, where the log has none"
            if previous is not None and offset > previous:
                yield f"life {life} of the trainer ingested the record at {offset}, leaving out what begins at {previous}"
            elif previous is not None and offset < previous:
                yield f"life {life} of the trainer ingested the record at {offset} for the second time"
            previous = next_offset


def batch_violations(books: Books) -> Iterator[str]:
    """Each transition that was sampled happened just so, is in the log, and is meant for training."""
    trainable = {
        identity_of(values)
        for entry in books.log
        if entry.chunk.purpose == "train"
        for values in entry.chunk.columns["identity"][entry.chunk.lead :]
    }
    newest = slice(3 * (IDENTITY_HISTORY - 1), 3 * IDENTITY_HISTORY)
    good: set[tuple[Identity, bytes]] = set()
    for life, updates in enumerate(books.updates):
        for update in updates:
            for index in range(len(update["reward"])):
                columns = ("observation", "action", "reward", "next_observation", "terminated")
                found = [np.asarray(update[column][index]) for column in columns]
                identity = identity_of(found[3][newest])
                key = identity, b"".join(values.tobytes() for values in found)
                if key in good:
                    continue
                where = f"update {update['update']} in life {life} of the trainer: {identity}"
                if identity not in trainable:
                    yield f"{where} was sampled, and is no transition of the log that may be trained on"
                elif identity not in books.ledger or identity[2] < 1:
                    yield f"{where} was sampled, and never happened"
                else:
                    wrong = [
                        column
                        for column, values, expected in zip(columns, found, transition(books.ledger, identity), strict=True)
                        if values.tobytes() != expected.tobytes()
                    ]
                    if wrong:
                        yield f"{where} was sampled with another {' and '.join(wrong)} than it had"
                    else:
                        good.add(key)


def transition(ledger: dict[Identity, Any], identity: Identity) -> tuple[Any, ...]:
    """The transition that ends in this row, straight from the ledger: as `tmrld.payloads` says, row by row."""
    row = ledger[identity]
    return (
        observation(ledger, identity, -1),
        row["action"],
        row["reward"],
        observation(ledger, identity, 0),
        row["terminated"].astype(np.float32),
    )


def observation(ledger: dict[Identity, Any], identity: Identity, later: int) -> Array:
    """What was observed ``later`` rows after this one, as a flat vector."""
    instance, episode, step = identity

    def rows(history: int) -> list[Any]:
        """The newest ``history`` rows, oldest first; rows before row 0 repeat it."""
        return [ledger[instance, episode, max(0, step + later - back)] for back in reversed(range(history))]

    pieces = [
        *(row["identity"] for row in rows(IDENTITY_HISTORY)),
        *(row["noise"] for row in rows(NOISE_HISTORY)),
        *(row["newest"] for row in rows(1)),
        *(row["action"] for row in rows(ACTION_BUFFER)),
    ]
    return np.concatenate([np.atleast_1d(piece) for piece in pieces])


assert [part.name for part in SPEC.parts] == ["identity", "noise", "newest"]
