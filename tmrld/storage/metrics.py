"""The metric history of runs: named curves over updates.

New points are rows.  Whenever a curve has a thousand of them, the oldest become a *block*: 512 points packed into one value, with
a summary beside it, the least and greatest of every 64.  So a chart of a million points reads two thousand summaries, a chart of
fewer reads whole blocks, and rows stay few.

Thread-safe.  Readers and writers do not wait for each other.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tmrld.errors import BadInput
from tmrld.payloads import Array
from tmrld.storage.database import Database
from tmrld.storage.downsampling import POINT, summary, thinned
from tmrld.storage.lineages import Span, reached, visible_chain
from tmrld.storage.relay_schema import run_id

BLOCK_POINTS = 512
_PACK_AT = 2 * BLOCK_POINTS
STRETCH_POINTS = 64
_SUMMARIES_FROM = STRETCH_POINTS
"""With more points than this times the points asked for, summaries are fine enough: two stretches or more per place shown."""
_LEAST_POINTS = 4
MAX_UPDATE = 2**63 - 1
MAX_NAMES = 1000
"""Of the curves of one run."""
MAX_NAME_LENGTH = 200


@dataclass(frozen=True)
class Metric:
    """Numbers at one point of a training: ``values`` maps names to floats; NaN and infinities are allowed."""

    lineage: int
    update: int
    transitions: int
    received_at: float
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Curve:
    """A metric over updates: five arrays of one length.  Ordered by update; superseded lineages come one after another."""

    name: str
    lineages: Array
    updates: Array
    transitions: Array
    received_at: Array
    values: Array


class Metrics:
    """The curves of all runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: Counter[tuple[int, int]] = Counter()
        """About how many points of each (series, lineage) are rows; guarded by the database's transaction."""

    def add(self, run: str, metrics: Sequence[Metric]) -> None:
        """Store points, all or none; a later point replaces an earlier one of the same name, lineage and update.

        Raises NotFound when the run or a lineage does not exist, BadInput for a negative update, and for names that are too many
        or too long.
        """
        newest: dict[int, int] = {}
        for metric in metrics:
            if not 0 <= metric.update <= MAX_UPDATE or not 0 <= metric.transitions <= MAX_UPDATE:
                raise BadInput(f"A metric cannot be at update {metric.update} and transition {metric.transitions}.")
            newest[metric.lineage] = max(metric.update, newest.get(metric.lineage, 0))
        try:
            with self._database.transaction() as change:
                run_key = run_id(change, run)
                for lineage, update in newest.items():
                    reached(change, run_key, lineage, update)
                self._insert(
                    change, _series_keys(change, run_key, {name for metric in metrics for name in metric.values}), metrics
                )
        except BaseException:
            self._rows.clear()  # what was counted in this transaction is not there
            raise

    def names(self, run: str) -> list[str]:
        """The names of all metrics of a run, sorted."""
        with self._database.reading() as view:
            query = "SELECT name FROM series WHERE run = ? ORDER BY name"
            return [name for (name,) in view.execute(query, (run_id(view, run),))]

    def read(
        self,
        run: str,
        names: Sequence[str],
        start: int = 0,
        stop: int = MAX_UPDATE,
        max_points: int | None = None,
        *,
        include_superseded: bool = False,
    ) -> dict[str, Curve]:
        """The curves with these names between two updates, both included; one that does not exist is empty.

        ``max_points`` (at least 4) bounds the points of each curve: extremes, first and last are kept.  Only the visible
        chain is shown, unless ``include_superseded``: then every lineage, whole.
        """
        if max_points is not None and max_points < _LEAST_POINTS:
            raise BadInput(f"max_points is {max_points}; it must be at least {_LEAST_POINTS}.")
        with self._database.reading() as view:
            run_key = run_id(view, run)
            series = _known_series(view, run_key)
            spans = _all_spans(view, run_key) if include_superseded else visible_chain(view, run_key)[::-1]
            curves: dict[str, Curve] = {}
            for name in names:
                pieces = [_Piece(series[name], span, start, stop) for span in spans] if name in series else []
                curves[name] = _curve(name, view, pieces, max_points)
            return curves

    def latest(self, run: str) -> dict[str, float]:
        """The newest visible value of each metric."""
        with self._database.reading() as view:
            run_key = run_id(view, run)
            spans = visible_chain(view, run_key)
            latest: dict[str, float] = {}
            for name, series in _known_series(view, run_key).items():
                for span in spans:
                    points = _Piece(series, span, 0, MAX_UPDATE).newest(view)
                    if len(points):
                        latest[name] = float(points["value"][-1])
                        break
            return latest

    def _insert(self, change: sqlite3.Connection, series: Mapping[str, int], metrics: Sequence[Metric]) -> None:
        rows = [
            (series[name], metric.lineage, metric.update, metric.transitions, metric.received_at, value)
            for metric in metrics
            for name, value in metric.values.items()
        ]
        change.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?)", rows)
        for curve, count in Counter(row[:2] for row in rows).items():
            self._count(change, curve, count)

    def _count(self, change: sqlite3.Connection, curve: tuple[int, int], more: int) -> None:
        """Count new rows of a curve, and pack its oldest rows into blocks when there are enough."""
        if curve not in self._rows:
            (stored,) = change.execute("SELECT count(*) FROM points WHERE series = ? AND lineage = ?", curve).fetchone()
            self._rows[curve] = stored
        else:
            self._rows[curve] += more
        if self._rows[curve] >= _PACK_AT:
            self._rows[curve] = _pack(change, *curve)


def _pack(change: sqlite3.Connection, series: int, lineage: int) -> int:
    """Make blocks of the oldest rows of a curve, leaving at least a block's worth; tells how many rows are left."""
    query = "SELECT count(*) FROM points WHERE series = ? AND lineage = ?"
    stored = int(change.execute(query, (series, lineage)).fetchone()[0])
    packed = (stored - BLOCK_POINTS) // BLOCK_POINTS * BLOCK_POINTS
    if packed <= 0:
        return stored
    query = f"{_POINTS} WHERE series = ? AND lineage = ? ORDER BY at_update LIMIT ?"
    points = np.array(change.execute(query, (series, lineage, packed)).fetchall(), dtype=POINT)
    blocks = [points[at : at + BLOCK_POINTS] for at in range(0, packed, BLOCK_POINTS)]
    change.executemany(
        "INSERT INTO blocks (series, lineage, first_update, last_update, count, extremes, points) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                series,
                lineage,
                int(block["update"][0]),
                int(block["update"][-1]),
                len(block),
                summary(block, STRETCH_POINTS).tobytes(),
                block.tobytes(),
            )
            for block in blocks
        ],
    )
    change.execute(
        "DELETE FROM points WHERE series = ? AND lineage = ? AND at_update <= ?",
        (series, lineage, int(points["update"][packed - 1])),
    )
    return stored - packed


_POINTS = "SELECT at_update, transitions, received_at, value FROM points"
_BLOCKS = "FROM blocks WHERE series = ? AND lineage = ? AND first_update <= ? AND last_update >= ?"


@dataclass(frozen=True)
class _Piece:
    """What one lineage adds to a curve: its points from update ``start`` to ``stop``, as far as they are visible."""

    series: int
    span: Span
    start: int
    stop: int

    @property
    def last(self) -> int:
        return self.stop if self.span.last_update is None else min(self.stop, self.span.last_update)

    @property
    def _block_values(self) -> tuple[int, int, int, int]:
        return self.series, self.span.lineage, self.last, self.start

    def count(self, view: sqlite3.Connection) -> int:
        """How many points there are at most."""
        (packed,) = view.execute(f"SELECT coalesce(sum(count), 0) {_BLOCKS}", self._block_values).fetchone()
        return int(packed) + _PACK_AT

    def points(self, view: sqlite3.Connection) -> Array:
        """All points."""
        return self._merged(view.execute(f"SELECT id, points {_BLOCKS}", self._block_values).fetchall(), self._rows(view))

    def outline(self, view: sqlite3.Connection) -> Array:
        """The summaries of blocks that lie inside, and all points of the others."""
        whole = "first_update >= ? AND last_update <= ?"
        values = (*self._block_values, self.start, self.last)
        inside = view.execute(f"SELECT id, extremes {_BLOCKS} AND {whole}", values).fetchall()
        edges = view.execute(f"SELECT id, points {_BLOCKS} AND NOT ({whole})", values).fetchall()
        return self._merged(inside + edges, self._rows(view))

    def newest(self, view: sqlite3.Connection) -> Array:
        """Some of the points, the newest among them."""
        query = f"SELECT id, points {_BLOCKS} ORDER BY first_update DESC LIMIT 1"
        return self._merged(view.execute(query, self._block_values).fetchall(), self._rows(view))

    def _rows(self, view: sqlite3.Connection) -> Array:
        query = f"{_POINTS} WHERE series = ? AND lineage = ? AND at_update BETWEEN ? AND ?"
        return np.array(view.execute(query, (self.series, self.span.lineage, self.start, self.last)).fetchall(), dtype=POINT)

    def _merged(self, blocks: list[tuple[int, bytes]], rows: Array) -> Array:
        """Blocks and rows by update; of two points at one update, the one that was stored later."""
        packed = b"".join(blob for _, blob in sorted(blocks))  # newer blocks have larger ids, and rows are newer still
        points = np.concatenate([np.frombuffer(packed, POINT), rows])
        points = points[(points["update"] >= self.start) & (points["update"] <= self.last)]
        steps = np.diff(points["update"])
        if np.all(steps > 0):
            return points
        points = points[np.argsort(points["update"], kind="stable")]
        return points[np.r_[np.diff(points["update"]) > 0, True]]


def _curve(name: str, view: sqlite3.Connection, pieces: Sequence[_Piece], max_points: int | None) -> Curve:
    fine = max_points is None or sum(piece.count(view) for piece in pieces) <= _SUMMARIES_FROM * max_points
    found = [(piece.span.lineage, piece.points(view) if fine else piece.outline(view)) for piece in pieces]
    filled = [(lineage, points) for lineage, points in found if len(points)]
    parts = [points for _, points in filled]
    if max_points is not None:
        parts = thinned(parts, max_points)
    points = np.concatenate([np.zeros(0, POINT), *parts])
    lineages = np.repeat([lineage for lineage, _ in filled], [len(part) for part in parts]).astype(np.int64)
    columns = {column: np.ascontiguousarray(points[column]) for column in ("update", "transitions", "received_at", "value")}
    return Curve(name, lineages, columns["update"], columns["transitions"], columns["received_at"], columns["value"])


def _series_keys(change: sqlite3.Connection, run_key: int, names: set[str]) -> dict[str, int]:
    """The keys of these metrics; new names get one.  Raises BadInput."""
    known = _known_series(change, run_key)
    new = sorted(names - known.keys())
    if new and len(known) + len(new) > MAX_NAMES:
        raise BadInput(f"A run may have {MAX_NAMES} curves, and {len(new)} new ones came for one that has {len(known)}.")
    for name in new:
        if len(name) > MAX_NAME_LENGTH:
            raise BadInput(
                f"The name of a curve is {name[:40]!r}…, {len(name)} characters: at most {MAX_NAME_LENGTH} are allowed."
            )
        known[name] = int(change.execute("INSERT INTO series (run, name) VALUES (?, ?)", (run_key, name)).lastrowid or 0)
    return known


def _known_series(view: sqlite3.Connection, run_key: int) -> dict[str, int]:
    return dict(view.execute("SELECT name, id FROM series WHERE run = ?", (run_key,)).fetchall())


def _all_spans(view: sqlite3.Connection, run_key: int) -> list[Span]:
    rows = view.execute("SELECT number FROM lineages WHERE run = ? ORDER BY number", (run_key,))
    return [Span(number, None) for (number,) in rows]
