"""`tmrld storage`: what takes room on a relay's disk, and what is not needed any more."""

from __future__ import annotations

import argparse
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, add_relay_flags, connect, print_json, print_table

ORDER = (
    "What goes, in this order: leftovers of killed processes; samples that neither a trainer nor a kept checkpoint needs; weights, "
    "then checkpoints, beside the newest, the best and the pinned; samples that only these checkpoints needed. What is pinned or "
    "needed to resume stays."
)
OTHERS = {
    "database_bytes": "database",
    "shelf_bytes": "shelf",
    "leftovers_bytes": "leftovers",
    "logs_bytes": "log files",
    "spool_bytes": "worker's spool",
    "cache_bytes": "trainer's cache",
    "files_bytes": "copies of files",
}


def add(commands: Any) -> None:
    """Add `tmrld storage` to the command line."""
    storage = commands.add_parser(
        "storage",
        help="what takes room on a relay's disk, and cleaning up",
        description="What each run takes on the relay's disk, by kind, and what all may take together.",
    )
    add_relay_flags(storage)
    storage.add_argument("--json", action="store_true", help="print JSON, for scripts")
    storage.set_defaults(command=lambda options, _began: _show(connect(options), options))
    actions = storage.add_subparsers(required=False, metavar="ACTION")
    clean = add_action(actions, "clean", _clean, help="free what is neither pinned nor needed to resume", description=ORDER)
    clean.add_argument("run", metavar="RUN", nargs="?", help="name of the run (default: all)")
    clean.add_argument("--dry-run", action="store_true", help="say what would go, and let nothing go")


def _show(client: Client, options: argparse.Namespace) -> int:
    answer = client.get("storage")
    if options.json:
        print_json(answer)
        return 0
    rows = [
        [run["run"], *(size(run[f"{kind}_bytes"]) for kind in ("log", "weights", "checkpoints", "total"))]
        for run in answer["runs"]
    ]
    rows += [[f"({name})", "", "", "", size(answer[key])] for key, name in OTHERS.items() if answer[key]]
    print_table(("run", "samples", "weights", "checkpoints", "all"), rows, "nothing is stored yet")
    print(
        f"\n{size(answer['used_bytes'])} of {size(answer['quota_bytes'])} that all runs may take (relay.total_bytes); "
        f"{size(answer['free_bytes'])} are free on the disk"
    )
    return 0


def _clean(client: Client, options: argparse.Namespace) -> int:
    answer = client.post("storage", "clean", body={"run": options.run, "dry_run": options.dry_run})
    if options.json:
        print_json(answer)
        return 0
    rows = [[each["run"] or "–", each["kind"], each["what"], size(each["size_bytes"])] for each in answer["items"]]
    print_table(("run", "kind", "what", "size"), rows, "everything that is here is pinned or needed")
    if rows:
        print(f"\n{size(answer['freed_bytes'])} {'would be' if options.dry_run else 'are'} free again")
    return 0


def size(count: int) -> str:
    """A number of bytes for people: 512 B, 3.4 MiB, 20.0 GiB."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{count / 2**power:,.1f} {unit}"
    return f"{count} B"
