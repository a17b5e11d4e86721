"""`tmrld track`: tracks of the game, recorded and kept on this machine's shelf or a relay's, and those of the simulator."""

from __future__ import annotations

from typing import Any

from tmrld.commands.track import recording, relayed, shelved, showing, simulated


def add(commands: Any) -> None:
    """Add `tmrld track` to the command line."""
    track = commands.add_parser(
        "track",
        help="tracks: record one in the game, list, show, import, export, upload; new ones of the simulator",
        description="Tracks of the game, kept by name on this machine's shelf, and those of the simulator.",
    )
    actions = track.add_subparsers(required=True, metavar="ACTION")
    recording.add(actions)
    showing.add(actions)
    shelved.add(actions)
    relayed.add(actions)
    simulated.add(actions)
