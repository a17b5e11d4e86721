"""The daemons that a relay has ever met."""

from __future__ import annotations

from dataclasses import dataclass

from tmrld.storage.database import Database


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
        with self._database.transaction() as change:
            change.execute(
                """
                INSERT INTO nodes (name, role, first_seen, last_seen) VALUES (?, ?, ?, ?)
                ON CONFLICT (name, role) DO UPDATE SET last_seen = excluded.last_seen
                """,
                (name, role, at, at),
            )

    def left(self, name: str, role: str, at: float) -> None:
        """Note when a node was last there; does nothing for one that was renamed or forgotten meanwhile."""
        with self._database.transaction() as change:
            change.execute("UPDATE nodes SET last_seen = ? WHERE name = ? AND role = ?", (at, name, role))

    def rename(self, name: str, new: str) -> None:
        """Call a node something else in all its roles; what was known of another one of that name is forgotten."""
        with self._database.transaction() as change:
            change.execute("UPDATE OR REPLACE nodes SET name = ? WHERE name = ?", (new, name))
            change.execute("UPDATE OR REPLACE assignments SET node = ? WHERE node = ?", (new, name))

    def all(self) -> list[KnownNode]:
        """By name and role."""
        with self._database.reading() as view:
            rows = view.execute("SELECT name, role, first_seen, last_seen FROM nodes ORDER BY name, role")
            return [KnownNode(*row) for row in rows]

    def forget(self, name: str) -> bool:
        """Forget a node in all its roles; False for one that is unknown."""
        with self._database.transaction() as change:
            change.execute("DELETE FROM assignments WHERE node = ?", (name,))
            return change.execute("DELETE FROM nodes WHERE name = ?", (name,)).rowcount > 0
