"""Small records for the tests of the log."""

from __future__ import annotations

from dataclasses import asdict

from tmrld.storage.records import Record, StoredRecord


def record(
    number: int,
    *,
    worker: str = "driver",
    incarnation: str = "first",
    steps: int = 1,
    purpose: str = "train",
    body: bytes | memoryview | None = None,
) -> Record:
    """A record whose body tells its number."""
    content = f"body {worker} {number}".encode() * (1 + number % 3) if body is None else body
    return Record(worker, incarnation, number, steps, purpose, "episode", content)


def records(
    count: int, *, steps: int = 1, worker: str = "driver", purpose: str = "train", body: bytes | memoryview | None = None
) -> list[Record]:
    """Records 0 to count - 1."""
    return [record(number, worker=worker, steps=steps, purpose=purpose, body=body) for number in range(count)]


def as_record(stored: StoredRecord) -> Record:
    """What was handed in."""
    return Record(**asdict(stored.facts), body=stored.body)
