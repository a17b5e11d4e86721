"""What a race is remembered by: twenty times a second where the car was and what was held; written as one JSON file per replay."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path

from tmrld.envs.sim.car import ROUNDING
from tmrld.envs.standin.inputs import Held
from tmrld.envs.trackmania.interface import Moment
from tmrld.errors import NotFound, StorageError

EVERY_S = 0.05
LONGEST_S = 3600.0
"""Of a longer race, the last part is remembered."""
COLUMNS = ("time_s", "gas", "brake", "steer", "x", "y", "z", "heading", "speed")


class Recording:
    """One race, from the moment at which the car may go."""

    def __init__(self, track: str) -> None:
        self._track = track
        self._rows: deque[tuple[float, ...]] = deque(maxlen=round(LONGEST_S / EVERY_S))
        self._due_s = 0.0
        self.lap_time_s: float | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, time_s: float, held: Held, moment: Moment) -> None:
        """What is so at that time of the race; most of it is left out."""
        if time_s < self._due_s - ROUNDING:
            return
        self._due_s = max(self._due_s + EVERY_S, time_s)
        row = (time_s, held.gas, held.brake, held.steer, moment.x, moment.y, moment.z, moment.heading, moment.speed)
        self._rows.append(tuple(round(value, 4) for value in row))

    def save(self, folder: Path) -> Path:
        """Write it into a file of its own, whole or not at all; returns the path.

        Raises NotFound where nothing was driven, and StorageError.
        """
        if not self._rows:
            raise NotFound("a replay was asked for before anything was driven: there is none to save")
        content = {"track": self._track, "lap_time_s": self.lap_time_s, "columns": COLUMNS, "rows": list(self._rows)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = _free_name(folder, f"{self._track}-{time.strftime('%Y%m%d-%H%M%S')}")
            partial = path.with_name(f".{path.name}.part")
            partial.write_text(json.dumps(content) + "\n", "utf-8")
            partial.replace(path)
        except OSError as error:
            raise StorageError(
                f"the replay cannot be written into {folder} ({error.strerror or error}): name another folder"
            ) from error
        return path


def _free_name(folder: Path, stem: str) -> Path:
    """A path that no file has; further ones of the same second are numbered."""
    path, number = folder / f"{stem}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.json"
    return path
