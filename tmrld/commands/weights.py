"""`tmrld weights`: the versions of a run's policy, listed and downloaded; through the control API of a relay."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, moment, number, print_json, print_table
from tmrld.errors import Conflict, StorageError


def add(commands: Any) -> None:
    """Add `tmrld weights` to the command line."""
    weights = commands.add_parser("weights", help="weights of a run: list, pull", description="The versions of a run's policy.")
    actions = weights.add_subparsers(required=True, metavar="ACTION")
    listing = add_action(actions, "list", _list, help="all stored versions with their evaluation")
    listing.add_argument("run", metavar="RUN", help="name of the run")
    pull = add_action(actions, "pull", _pull, help="download a version as a safetensors file")
    pull.add_argument("run", metavar="RUN", help="name of the run")
    pull.add_argument("version", nargs="?", default="latest", metavar="latest|best|N", help="which one (default: latest)")
    pull.add_argument("--output", type=Path, metavar="FILE", help="where to (default: RUN-vN.safetensors here)")
    pull.add_argument("--force", action="store_true", help="replace a file that is there")


def _list(client: Client, options: argparse.Namespace) -> int:
    answer = client.get("runs", options.run, "weights")
    if options.json:
        print_json(answer)
        return 0
    rows = []
    for each in answer["items"]:
        found = each["evaluation"]
        evaluation = ("–", "–", "–")
        if found:
            lap = found["median_lap_s"]
            evaluation = (
                f"{found['finished']} of {found['episodes']}",
                "–" if lap is None else f"{lap:.2f} s",
                number(found["mean_return"]),
            )
        pinned = " (pinned)" if each["pinned"] else ""
        rows.append((f"{each['version']}{pinned}", f"{each['update']:,}", moment(each["created"]), *evaluation))
    columns = ("version", "update", "received", "finished", "median lap", "mean return")
    print_table(columns, rows, f"{options.run} has no weights yet: nothing was learned")
    return 0


def _pull(client: Client, options: argparse.Namespace) -> int:
    data, location = client.download("runs", options.run, "weights", options.version)
    version = location.rpartition("/")[2] or options.version
    path: Path = options.output or Path(f"{options.run}-v{version}.safetensors")
    partial = path.with_name(f"{path.name}.part")
    if path.exists() and not options.force:
        raise Conflict(f"{path} exists already: name another file with --output, or replace it with --force")
    try:
        partial.write_bytes(data)
        partial.replace(path)  # a whole file or none
    except OSError as error:
        raise StorageError(f"the weights cannot be written to {path}: {error.strerror or error}") from error
    if options.json:
        print_json({"run": options.run, "version": version, "file": str(path), "size_bytes": len(data)})
    else:
        print(f"version {version} of {options.run} is in {path} ({len(data):,} bytes)")
    return 0
