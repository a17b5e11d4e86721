"""What a training told its judge, as a CSV file: reports and chunks in the order in which they came.

A row is one or the other: a report has its ``update`` and its measurements, a chunk its ``worker`` and what it shows.  ``time_s`` is
when, in seconds since the training began.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

from tmrld.trainer.health import Report
from tmrld.trainer.symptoms import Driven

MEASURED = ("loss_critic", "q", "q_target", "loss_actor", "entropy", "loss_temperature", "alpha")
SHOWN = tuple(field.name for field in fields(Driven))

Entry = tuple[float, Report | Driven]


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Numbers are rounded to five digits: they are to be judged, not to be trained on."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("time_s", "update", *MEASURED, *SHOWN), lineterminator="\n")
        writer.writeheader()
        for time_s, entry in entries:
            values = {"update": entry.update, **entry.values} if isinstance(entry, Report) else asdict(entry)
            shown = {name: f"{value:.5g}" if isinstance(value, float) else value for name, value in values.items()}
            writer.writerow({"time_s": f"{time_s:.2f}", **shown})


def read(path: Path) -> Iterator[Entry]:
    """The inverse of `write`."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield float(row["time_s"]), _report(row) if row["update"] else _driven(row)


def _report(row: dict[str, str]) -> Report:
    return Report(int(row["update"]), {name: float(row[name]) for name in MEASURED if row[name]})


def _driven(row: dict[str, str]) -> Driven:
    kinds = get_type_hints(Driven)
    read: dict[object, Callable[[str], Any]] = {str: str, float: float, int: int, bool: lambda text: text == "True"}
    return Driven(**{name: read.get(kinds[name], _maybe)(row[name]) for name in SHOWN})


def _maybe(text: str) -> float | None:
    return float(text) if text else None
