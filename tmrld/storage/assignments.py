"""Which run a person has chosen for which node; all others are placed by the relay.  `Nodes` renames and forgets them."""

from __future__ import annotations

from tmrld.storage.database import Database
from tmrld.storage.relay_schema import run_id


class Assignments:
    """One run per node at most; an assignment goes with its run.  Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, node: str, run: str | None) -> None:
        """Assign a node to a run, or (None) leave it to the relay.  Raises NotFound for a run that does not exist."""
        with self._database.transaction() as change:
            change.execute("DELETE FROM assignments WHERE node = ?", (node,))
            if run is not None:
                change.execute("INSERT INTO assignments (node, run) VALUES (?, ?)", (node, run_id(change, run)))

    def all(self) -> dict[str, str]:
        """The run of every node that has one."""
        with self._database.reading() as view:
            rows = view.execute("SELECT node, runs.name FROM assignments JOIN runs ON runs.id = assignments.run")
            return dict(rows.fetchall())
