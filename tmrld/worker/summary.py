"""What an episode's summary tells, gathered while it is driven.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tmrld.errors import WorldError
from tmrld.payloads import MIXED, Array, EpisodeSummary

TRAJECTORY_POINTS = 256

Point = tuple[float, float, float, float]


class _Trajectory:
    """The driven line, evenly thinned so that it stays small however long the episode is."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._last: Point | None = None
        self._stride = 1
        self._seen = 0

    def add(self, point: Point) -> None:
        """Every ``stride``-th point is kept; when there are too many, every second one goes."""
        self._last = point
        if self._seen % self._stride == 0:
            self._points.append(point)
            if len(self._points) > 4 * TRAJECTORY_POINTS:
                del self._points[1::2]
                self._stride *= 2
        self._seen += 1

    def points(self) -> Array:
        """At most TRAJECTORY_POINTS of them, from the first to the last: (n, 4) float32."""
        kept = self._points
        if self._last is not None and kept[-1] is not self._last:
            kept = [*kept, self._last]
        points = np.asarray(kept, np.float32).reshape(-1, 4)
        if len(points) > TRAJECTORY_POINTS:
            points = points[np.linspace(0, len(points) - 1, TRAJECTORY_POINTS).round().astype(np.int64)]
        return points


class Summary:
    """Gathers what the episode's summary tells."""

    def __init__(self) -> None:
        self._return = 0.0
        self._actors: set[str] = set()
        self._weights_version = -1
        self._trajectory = _Trajectory()

    def add(self, actor: str, weights_version: int, reward: float, time_s: float, info: Mapping[str, Any]) -> None:
        """A step, who chose its action, and what came of it.  Raises WorldError for a place that is no number."""
        self._return += reward
        self._actors.add(actor)
        self._weights_version = weights_version
        if "x" in info and "z" in info:
            x, z, speed = (number_of(name, info.get(name)) for name in ("x", "z", "speed"))
            self._trajectory.add((x, z, speed, time_s))

    def finish(self, steps: int, info: Mapping[str, Any]) -> EpisodeSummary:
        """The summary, after so many steps and with the last info."""
        lap_time = info.get("lap_time_s")
        return EpisodeSummary(
            steps=steps,
            episode_return=self._return,
            finished=bool(info.get("finished", False)),
            lap_time_s=None if lap_time is None else float(lap_time),
            progress=number_of("progress", info.get("progress")),
            actor=next(iter(self._actors)) if len(self._actors) == 1 else MIXED,
            weights_version=self._weights_version,
            trajectory=self._trajectory.points(),
        )


def number_of(name: str, value: Any) -> float:
    """An info value as a float: None becomes NaN (the value does not apply to this step).  Raises WorldError for what is none."""
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError) as error:
        shown = repr(value)[:80]
        raise WorldError(
            f"the environment's info has {name!r} = {shown}, expected a number: leave it out of what the run keeps"
        ) from error
