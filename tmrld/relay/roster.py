"""Who is connected, as what, and who works for which run: pure bookkeeping, no socket and no task."""

from __future__ import annotations

from collections.abc import Sequence
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

    def seats(self, active_runs: Sequence[str]) -> list[tuple[M, Seat]]:
        """Who does what.  ``active_runs`` are in order of age.

        A run has one trainer; a trainer too many waits with an empty seat until it is needed.  Workers are shared out evenly;
        the first of each run drives its evaluation episodes.  Everybody keeps their seat as long as that allows: another run
        costs a node a new engine.
        """
        self._seat_trainers(active_runs)
        self._seat_workers(active_runs)
        evaluated: set[str] = set()
        seats = []
        for entry in self._entries:
            evaluates = entry.role == "worker" and bool(entry.run) and entry.run not in evaluated
            if evaluates:
                evaluated.add(entry.run)
            seats.append((entry.member, Seat(entry.run, evaluates)))
        return seats

    def _seat_trainers(self, active_runs: Sequence[str]) -> None:
        trainers = [entry for entry in self._entries if entry.role == "trainer"]
        taken = {entry.run for entry in trainers}
        free = iter([run for run in active_runs if run not in taken])
        for entry in trainers:
            if entry.run not in active_runs:
                entry.run = next(free, "")

    def _seat_workers(self, active_runs: Sequence[str]) -> None:
        seated: dict[str, list[_Entry[M]]] = {run: [] for run in active_runs}
        standing: list[_Entry[M]] = []
        for entry in self._entries:
            if entry.role == "worker":
                seated.get(entry.run, standing).append(entry)
        for entry in standing:
            entry.run = min(seated, key=lambda run: len(seated[run]), default="")
            if entry.run:
                seated[entry.run].append(entry)
        while seated:
            fewest, most = (choose(seated, key=lambda run: len(seated[run])) for choose in (min, max))
            if len(seated[most]) - len(seated[fewest]) <= 1:
                return
            entry = seated[most].pop()
            entry.run = fewest
            seated[fewest].append(entry)
