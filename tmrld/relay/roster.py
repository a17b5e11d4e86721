"""Who is connected, as what, and who works for which run: pure bookkeeping, no socket and no task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar


@dataclass(frozen=True)
class Seat:
    """What one node is asked to do: the run ("" for none), and whether it drives the run's evaluation episodes."""

    run: str = ""
    evaluates: bool = False


M = TypeVar("M")


@dataclass
class _Entry(Generic[M]):
    name: str
    role: str
    member: M
    run: str = ""


class Roster(Generic[M]):
    """The connected nodes in order of arrival, and where each was last seated.

    One node per name and role: a newcomer takes the place, and the seat, of a half-open link.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry[M]] = []

    def admit(self, name: str, role: str, member: M) -> M | None:
        """Add a node; returns the member that it replaces (to be closed), if there was one of that name and role."""
        for entry in self._entries:
            if (entry.name, entry.role) == (name, role):
                previous, entry.member = entry.member, member
                return previous
        self._entries.append(_Entry(name, role, member))
        return None

    def leave(self, member: M) -> bool:
        """Remove a node; False if it was replaced or removed before."""
        before = len(self._entries)
        self._entries = [e for e in self._entries if e.member is not member]
        return len(self._entries) < before

    def members(self) -> list[M]:
        """Everybody, in order of arrival."""
        return [e.member for e in self._entries]

    def seats(self, active_runs: Sequence[str], assigned: Mapping[str, str] | None = None) -> list[tuple[M, Seat]]:
        """Who does what.  ``active_runs`` are in order of age; ``assigned`` has the run that a person has chosen for a node.

        A node that is assigned works for that run or for none.  A run has one trainer, an assigned one before others; a trainer
        too many waits with an empty seat until it is needed.  The other workers are shared out evenly; the first of each run
        drives its evaluation episodes.  Everybody keeps their seat as long as that allows: another run costs a node a new engine.
        """
        assigned = assigned or {}
        self._seat_trainers(active_runs, assigned)
        self._seat_workers(active_runs, assigned)
        evaluated: set[str] = set()
        seats = []
        for entry in self._entries:
            evaluates = entry.role == "worker" and bool(entry.run) and entry.run not in evaluated
            if evaluates:
                evaluated.add(entry.run)
            seats.append((entry.member, Seat(entry.run, evaluates)))
        return seats

    def idle_trainers(self, assigned: Mapping[str, str]) -> list[str | None]:
        """For each trainer that was seated nowhere, the run that it is assigned to (None for any)."""
        return [assigned.get(entry.name) for entry in self._entries if entry.role == "trainer" and not entry.run]

    def _seat_trainers(self, active_runs: Sequence[str], assigned: Mapping[str, str]) -> None:
        trainers = [entry for entry in self._entries if entry.role == "trainer"]
        taken: set[str] = set()
        rest: list[_Entry[M]] = []
        for entry in sorted(
            trainers, key=lambda entry: (entry.name not in assigned, not entry.run)
        ):  # who may choose least, first
            wanted = assigned.get(entry.name, entry.run)
            if wanted in active_runs and wanted not in taken:
                entry.run = wanted
                taken.add(wanted)
            else:
                entry.run = ""
                if entry.name not in assigned:
                    rest.append(entry)
        free = (run for run in active_runs if run not in taken)
        for entry, run in zip([entry for entry in trainers if entry in rest], free, strict=False):
            entry.run = run

    def _seat_workers(self, active_runs: Sequence[str], assigned: Mapping[str, str]) -> None:
        workers = [entry for entry in self._entries if entry.role == "worker"]
        seated: dict[str, list[_Entry[M]]] = {run: [] for run in active_runs}
        standing: list[_Entry[M]] = []
        placed: dict[str, int] = dict.fromkeys(active_runs, 0)
        for entry in workers:
            if entry.name in assigned:
                entry.run = assigned[entry.name] if assigned[entry.name] in seated else ""
                if entry.run:
                    placed[entry.run] += 1
            else:
                seated.get(entry.run, standing).append(entry)

        def workers_of(run: str) -> int:
            return placed[run] + len(seated[run])

        for entry in standing:
            entry.run = min(seated, key=workers_of, default="")
            if entry.run:
                seated[entry.run].append(entry)
        while movable := [run for run in seated if seated[run]]:
            fewest, most = min(seated, key=workers_of), max(movable, key=workers_of)
            if workers_of(most) - workers_of(fewest) <= 1:
                return
            entry = seated[most].pop()
            entry.run = fewest
            seated[fewest].append(entry)
