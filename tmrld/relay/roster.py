"""Who is connected, as what, and who works for which run: pure bookkeeping, no socket and no task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar


@dataclass(frozen=True)
class Seat:
    """What one node is asked to do: the run ("" for none), and whether it drives the run's evaluation episodes."""

    run: str = ""
    evaluates: bool = False


M = TypeVar("M")


@dataclass(frozen=True)
class _Entry(Generic[M]):
    name: str
    role: str
    member: M


class Roster(Generic[M]):
    """The connected nodes in order of arrival.  One node per name and role: a newcomer takes the place of a half-open link."""

    def __init__(self) -> None:
        self._entries: list[_Entry[M]] = []

    def admit(self, name: str, role: str, member: M) -> M | None:
        """Add a node; returns the member that it replaces (to be closed), if there was one of that name and role."""
        previous = self.find(name, role)
        entry = _Entry(name, role, member)
        if previous is None:
            self._entries.append(entry)
        else:
            self._entries = [entry if e.member is previous else e for e in self._entries]
        return previous

    def leave(self, member: M) -> bool:
        """Remove a node; False if it was replaced or removed before."""
        before = len(self._entries)
        self._entries = [e for e in self._entries if e.member is not member]
        return len(self._entries) < before

    def find(self, name: str, role: str) -> M | None:
        """The member of that name and role."""
        return next((e.member for e in self._entries if e.name == name and e.role == role), None)

    def members(self) -> list[M]:
        """Everybody, in order of arrival."""
        return [e.member for e in self._entries]

    def seats(self, active_runs: Sequence[str]) -> Iterable[tuple[M, Seat]]:
        """Who does what.  ``active_runs`` are in order of age.

        A run has one trainer: the first takes the oldest run, a second one the next, and a trainer too many waits with an
        empty seat until it is needed.  Workers are dealt to the runs in turn; the first of each run drives its evaluation episodes.
        """
        trainers = [e for e in self._entries if e.role == "trainer"]
        workers = [e for e in self._entries if e.role == "worker"]
        for index, entry in enumerate(trainers):
            yield entry.member, Seat(active_runs[index] if index < len(active_runs) else "")
        evaluated: set[str] = set()
        for index, entry in enumerate(workers):
            run = active_runs[index % len(active_runs)] if active_runs else ""
            yield entry.member, Seat(run, evaluates=bool(run) and run not in evaluated)
            evaluated.add(run)
