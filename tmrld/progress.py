"""What a person in front of a terminal wants to know of a run, gathered from the feed, and when `--until` is reached."""

from __future__ import annotations

import math
import re
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from tmrld.errors import SettingsError
from tmrld.events import Event

TOPICS = ("metrics", "episode", "weights", "node", "problem")


@dataclass
class Progress:
    """The newest of everything.  ``began`` is monotonic seconds at the start of the program; ``problem`` the last one there was,
    ``recovered`` what has been well again since.
    """

    began: float = field(default_factory=time.monotonic)
    run: str = ""
    transitions: int = 0
    collected: int = 0
    """By this daemon's worker since it started: in real time, the trainer takes a while to have enough for its first report."""
    updates: int = 0
    updates_per_s: float = 0.0
    episodes: int = 0
    laps: int = 0
    best_lap_s: float | None = None
    first_lap_s: float | None = None
    last_return: float | None = None
    last_progress: float | None = None
    weights_version: int = 0
    evaluation_version: int = -1
    evaluation_laps: list[float | None] = field(default_factory=list)
    evaluation_returns: list[float] = field(default_factory=list)
    speed_factor: float = 0.0
    resuming: str = ""
    """What the trainer does again before it goes on, in its words."""
    profile: str = ""
    """That updates are traced, or where the profile lies, in the trainer's words."""
    problem: str = ""
    recovered: str = ""

    def take(self, event: Event) -> None:
        """Learn from an event."""
        data = event.data
        match event.topic:
            case "metrics":
                self.run, self.updates, self.transitions = event.run, data["update"], data["transitions"]
                self.updates_per_s = data["values"].get("updates_per_s", self.updates_per_s)
            case "episode":
                self._episode(data)
            case "weights":
                self.weights_version = data["version"]
            case "node" if data.get("role") == "worker":
                values = data.get("values", {})
                self.speed_factor = values.get("speed_factor", self.speed_factor)
                self.collected = int(values.get("produced", self.collected))
            case "node" if data.get("role") == "trainer" and "detail" in data:
                self._trainer(data)
            case "problem" if data.get("state") == "recovered":
                self.recovered = data.get("detail", "")
            case "problem":
                self.problem, self.recovered = data.get("detail", ""), ""
            case _:
                pass

    def _trainer(self, data: dict[str, Any]) -> None:
        """What it says of itself: while it does again what was lost, it sends no metrics."""
        self.resuming = data["detail"] if data["state"] == "resuming" else ""
        values = data.get("values", {})
        self.profile = values.get("profile", self.profile)
        if self.resuming:
            self.updates = max(self.updates, int(values.get("update", 0)))
            self.transitions = max(self.transitions, int(values.get("transitions", 0)))

    def _episode(self, data: dict[str, Any]) -> None:
        lap = data["lap_time_s"]
        if data["purpose"] == "evaluation":
            if data["weights_version"] != self.evaluation_version:
                self.evaluation_version = data["weights_version"]
                self.evaluation_laps, self.evaluation_returns = [], []
            self.evaluation_laps.append(lap)
            self.evaluation_returns.append(data["episode_return"])
        else:
            self.episodes += 1
            self.last_return, self.last_progress = data["episode_return"], data["progress"]
        if data["finished"] and data["actor"] == "policy":
            self.laps += 1
            if lap is not None and (self.best_lap_s is None or lap < self.best_lap_s):
                self.best_lap_s = lap
            if self.first_lap_s is None:
                self.first_lap_s = time.monotonic() - self.began

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the program."""
        return time.monotonic() - self.began

    def rows(self) -> list[tuple[str, str]]:
        """What is worth showing, as (name, value)."""
        drive = "" if self.last_return is None else f", the last one {_share(self.last_progress)}reward {self.last_return:.1f}"
        updates = f"{self.updates:,} ({self.updates_per_s:.0f}/s)"
        if self.resuming:
            updates = f"none new yet: the trainer {self.resuming}"
        elif not self.updates:
            updates = "none before there are enough transitions"
        elif not self.updates_per_s:  # nothing was reported since it was resumed
            updates = f"{self.updates:,}"
        speed = f"{self.speed_factor:.0f}" if self.speed_factor >= 9.95 else f"{self.speed_factor:.1f}"
        return [
            ("time", _clock(self.elapsed_s)),
            ("transitions", f"{max(self.transitions, self.collected):,}"),
            ("updates", updates),
            ("episodes", f"{self.episodes:,}{drive}"),
            ("laps", f"{self.laps:,}" + (f", best {self.best_lap_s:.2f} s" if self.best_lap_s is not None else "")),
            ("evaluation", self._evaluation() or "not yet"),
            ("driving", f"{speed} × real time"),
        ]

    def line(self) -> str:
        """The same on one line."""
        return " | ".join(f"{name} {value}" for name, value in self.rows())

    def _evaluation(self) -> str:
        if not self.evaluation_returns:
            return ""
        laps = sorted(lap for lap in self.evaluation_laps if lap is not None)
        finished = f"version {self.evaluation_version}: {len(laps)} of {len(self.evaluation_laps)} finished"
        if laps:
            return f"{finished}, median {statistics.median(laps):.2f} s"
        return f"{finished}, return {statistics.fmean(self.evaluation_returns):.1f}"

    def summary(self) -> dict[str, Any]:
        """The object of ``--json``."""
        laps = [lap for lap in self.evaluation_laps if lap is not None]
        return {
            "run": self.run,
            "elapsed_s": round(self.elapsed_s, 3),
            "transitions": self.transitions,
            "updates": self.updates,
            "updates_per_s": round(self.updates_per_s, 2),
            "episodes": self.episodes,
            "laps": self.laps,
            "first_lap_s": None if self.first_lap_s is None else round(self.first_lap_s, 3),
            "best_lap_s": self.best_lap_s,
            "weights_version": self.weights_version,
            "evaluation": {
                "weights_version": self.evaluation_version,
                "episodes": len(self.evaluation_laps),
                "finished": len(laps),
                "lap_times_s": laps,
                "returns": self.evaluation_returns,
            },
            "speed_factor": round(self.speed_factor, 1),
            "problem": self.problem,
        }


def _share(progress: float | None) -> str:
    """How far a drive came; nothing where there is no track."""
    return "" if progress is None or math.isnan(progress) else f"{progress:.0%} of the track, "


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass(frozen=True)
class Until:
    """When ``tmrld up`` ends by itself: ``kind`` is "first-lap", "updates" or "minutes"."""

    kind: str
    amount: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Until:
        """Read the value of ``--until``.  Raises SettingsError."""
        match = re.fullmatch(r"(first-lap)|(updates)=(\d+)|(minutes)=(\d+(?:\.\d+)?)", text, re.ASCII)
        if match is None:
            raise SettingsError(f"--until {text!r} cannot be used: expected first-lap, updates=N or minutes=N")
        return cls(match[1] or match[2] or match[4], float(match[3] or match[5] or 0))

    def reached(self, progress: Progress) -> bool:
        """Whether it is time to stop."""
        match self.kind:
            case "first-lap":
                return progress.first_lap_s is not None
            case "updates":
                return progress.updates >= self.amount
            case _:
                return progress.elapsed_s >= 60 * self.amount
