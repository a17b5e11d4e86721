"""The daemons that a relay has ever met, and which runs they were ever asked to work for."""

from __future__ import annotations

from dataclasses import dataclass

from tmrld.storage.database import Database
from tmrld.storage.relay_schema import run_id


@dataclass(frozen=True)
class KnownNode:
    """A daemon in one role, and when it was seen (seconds since 1970)."""

    name: str
    role: str
    first_seen: float
    last_seen: float


class Nodes:
    """All nodes that were ever seen.  Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seen(self, name: str, role: str, at: float) -> None:
        """Note that this node was there."""
        with self._database.transaction(hurried=True) as change:
            change.execute(
                """
                INSERT INTO nodes (name, role, first_seen, last_seen) VALUES (?, ?, ?, ?)
                ON CONFLICT (name, role) DO UPDATE SET last_seen = excluded.last_seen
                """,
                (name, role, at, at),
            )

    def left(self, name: str, role: str, at: float) -> None:
        """Note when a node was last there; does nothing for one that was renamed or forgotten meanwhile."""
        with self._database.transaction(hurried=True) as change:
            change.execute("UPDATE nodes SET last_seen = ? WHERE name = ? AND role = ?", (at, name, role))

    def serves(self, name: str, role: str, run: str) -> None:
        """Note that a node is asked to work for a run.  Raises NotFound for a run that does not exist."""
        if not self.has_served(name, role, run):
            with self._database.transaction() as change:
                change.execute("INSERT OR IGNORE INTO served VALUES (?, ?, ?)", (name, role, run_id(change, run)))

    def has_served(self, name: str, role: str, run: str) -> bool:
        """Whether a node was ever asked to work for this run; False for a run that does not exist."""
        with self._database.reading() as view:
            found = "SELECT 1 FROM served JOIN runs ON runs.id = served.run WHERE node = ? AND role = ? AND runs.name = ?"
            return view.execute(found, (name, role, run)).fetchone() is not None

    def knows(self, name: str) -> bool:
        """Whether a node of this name was ever seen, in any role."""
        with self._database.reading() as view:
            return view.execute("SELECT 1 FROM nodes WHERE name = ?", (name,)).fetchone() is not None

    def rename(self, name: str, new: str) -> None:
        """Call a node something else in all its roles; what was known of another one of that name is forgotten."""
        with self._database.transaction() as change:
            change.execute("UPDATE OR REPLACE nodes SET name = ? WHERE name = ?", (new, name))
            change.execute("UPDATE OR REPLACE assignments SET node = ? WHERE node = ?", (new, name))
            change.execute("DELETE FROM served WHERE node = ?", (new,))
            change.execute("UPDATE served SET node = ? WHERE node = ?", (new, name))

    def all(self) -> list[KnownNode]:
        """By name and role."""
        with self._database.reading() as view:
            rows = view.execute("SELECT name, role, first_seen, last_seen FROM nodes ORDER BY name, role")
            return [KnownNode(*row) for row in rows]

    def is_known(self, name: str, role: str) -> bool:
        """Whether there ever was a node of this name in this role."""
        return any((node.name, node.role) == (name, role) for node in self.all())

    def forget(self, name: str) -> bool:
        """Forget a node in all its roles; False for one that is unknown."""
        with self._database.transaction() as change:
            change.execute("DELETE FROM assignments WHERE node = ?", (name,))
            change.execute("DELETE FROM served WHERE node = ?", (name,))
            return change.execute("DELETE FROM nodes WHERE name = ?", (name,)).rowcount > 0
