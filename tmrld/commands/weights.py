"""`tmrld weights`: the versions of a run's policy at a relay, and the weights on the shelf, that runs refer to by name."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, connect, moment, number, print_json, print_table
from tmrld.commands.shelf import Kind, add_actions, add_list, list_shelf, put, tell, write_file
from tmrld.errors import BadInput

WEIGHTS = Kind(
    "weights",
    "weights",
    "`tmrld weights pull RUN best --save NAME` brings some",
    "a run starts from them with training.start_from = '{name}', and is driven by them with collection.policy = '{name}'",
    ("environment", "of the run", "version", "updates", "since"),
    lambda each: (
        str(each["environment"]),
        f"{each['run']}{' (tmrld brings it)' if each.get('bundled') else ''}",
        str(each["version"]),
        f"{each['update']:,}",
        moment(each["made"]),
    ),
)


def add(commands: Any) -> None:
    """Add `tmrld weights` to the command line."""
    weights = commands.add_parser(
        "weights",
        help="policies as files: list, pull, upload",
        description="The versions of a run's policy, and policies on the shelf.",
    )
    actions = weights.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all stored versions of a run with their evaluation, or what is on the shelf")
    add_list(listing)
    listing.add_argument("run", nargs="?", metavar="RUN", help="name of a run (default: list this machine's shelf)")
    listing.set_defaults(command=_list)
    pull = add_action(actions, "pull", _pull, help="download a version as a safetensors file, or onto the shelf")
    pull.add_argument("run", metavar="RUN", help="name of the run")
    pull.add_argument("version", nargs="?", default="latest", metavar="latest|best|N", help="which one (default: latest)")
    pull.add_argument("--output", type=Path, metavar="FILE", help="where to (default: RUN-vN.safetensors here)")
    pull.add_argument("--save", metavar="NAME", help="put it on this machine's shelf instead, where runs call it so")
    pull.add_argument("--force", action="store_true", help="replace a file that is there")
    add_actions(actions, WEIGHTS)


def _list(options: argparse.Namespace, _began: float) -> int:
    if options.run is None:
        return list_shelf(options, WEIGHTS)
    if options.relay:
        raise BadInput("--relay lists the relay's shelf: leave it out, or the name of the run")
    answer = connect(options).get("runs", options.run, "weights")
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


def checked_version(text: str) -> str:
    """Which version of a run's weights is meant.  Raises BadInput for what can be none."""
    if text not in ("latest", "best") and not re.fullmatch("[0-9]{1,18}", text):
        raise BadInput(f"{text!r} is no version of weights: give latest, best, or a number that `tmrld weights list RUN` shows")
    return text


def _pull(client: Client, options: argparse.Namespace) -> int:
    if options.save is not None and options.output is not None:
        raise BadInput("--save puts the weights on the shelf, and --output into a file: give one of them")
    data, location = client.download("runs", options.run, "weights", checked_version(options.version))
    if options.save is not None:
        return tell(options, WEIGHTS, put(options, WEIGHTS, options.save, data, replace=options.force))
    version = location.rpartition("/")[2] or options.version
    path: Path = options.output or Path(f"{options.run}-v{version}.safetensors")
    write_file(path, data, replace=options.force, flag="--output")
    if options.json:
        print_json({"run": options.run, "version": version, "file": str(path), "size_bytes": len(data)})
    else:
        print(f"version {version} of {options.run} is in {path} ({len(data):,} bytes)")
    return 0
