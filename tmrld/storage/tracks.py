"""The line of the track that a run is driven on, as its workers told it: for maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tmrld.errors import Damaged, NotFound
from tmrld.npy import read_npy
from tmrld.payloads import Array
from tmrld.storage.database import Database
from tmrld.storage.relay_schema import run_id


@dataclass(frozen=True, eq=False)
class Track:
    """``points`` are x and z in metres from start to finish, float32 (n, 2); ``width_m`` is None where it is unknown."""

    name: str
    width_m: float | None
    points: Array


def thinned(name: str, data: bytes, max_points: int) -> Track:
    """A track of the shelf for a map: at most so many of its points, first and last included.  Raises Damaged."""
    try:
        line = read_npy(data)
        kept = np.linspace(0, len(line) - 1, min(len(line), max_points)).round().astype(np.int64)
        with np.errstate(over="ignore", invalid="ignore"):  # what no single precision holds is found below
            points = line[kept][:, [0, 2]].astype(np.float32)
        if not np.isfinite(points).all():
            raise ValueError("it has points that lie nowhere")
        return Track(name, None, points)
    except (ValueError, TypeError, IndexError) as error:
        raise Damaged(f"the track {name!r} on the shelf is damaged ({error}): delete it, and upload it again") from error


class Tracks:
    """The newest line of each run.  Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, run: str, track: Track) -> None:
        """Store the line of a run; it takes the place of the one before."""
        points = np.ascontiguousarray(track.points, "<f4").tobytes()
        with self._database.transaction() as change:
            values = (run_id(change, run), track.name, track.width_m, points)
            change.execute("INSERT OR REPLACE INTO tracks (run, name, width_m, points) VALUES (?, ?, ?, ?)", values)

    def get(self, run: str) -> Track:
        """The line of a run.  Raises NotFound while no worker has told it."""
        with self._database.reading() as view:
            key = run_id(view, run)
            row = view.execute("SELECT name, width_m, points FROM tracks WHERE run = ?", (key,)).fetchone()
        if row is None:
            raise NotFound(f"The track of the run {run!r} is not known: no worker has told it yet.")
        name, width_m, points = row
        return Track(name, width_m, np.frombuffer(points, "<f4").reshape(-1, 2).astype(np.float32))
