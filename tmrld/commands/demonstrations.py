"""`tmrld demonstration`: what was recorded to learn from, on this machine's shelf and on a relay's; also by an earlier run."""

from __future__ import annotations

import argparse
import time
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, moment, print_json, print_table
from tmrld.commands.flags import positive
from tmrld.commands.shelf import Kind, add_actions, add_list, list_shelf
from tmrld.commands.track.files import add_local_flags, local_shelf, plain
from tmrld.errors import Conflict

POLL_S = 0.5

DEMONSTRATIONS = Kind(
    "demonstrations",
    "demonstrations",
    "`tmrld env run ID --policy human --save NAME` records some",
    'a run learns from them with replay.demonstrations = ["{name}"]',
    ("environment", "track", "episodes", "finished", "transitions", "since"),
    lambda each: (
        str(each["environment"]),
        str(each["track"]),
        f"{each['episodes']:,}",
        f"{each['finished']:,}",
        f"{each['transitions']:,}",
        moment(each["made"]),
    ),
)


def add(commands: Any) -> None:
    """Add `tmrld demonstration` to the command line."""
    parser = commands.add_parser(
        "demonstration",
        help="recorded driving to learn from: list, show, upload, from a run",
        description="Episodes to learn from, that were recorded with `tmrld env run --save` or driven by an earlier run.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="those on this machine's shelf")
    add_list(listing)
    listing.set_defaults(command=lambda options, _began: list_shelf(options, DEMONSTRATIONS))
    show = actions.add_parser("show", help="every episode of some, and who drove it")
    show.add_argument("name", metavar="NAME", help="on this machine's shelf")
    add_local_flags(show)
    show.add_argument("--json", action="store_true", help="print JSON, for scripts")
    show.set_defaults(command=_show)
    _add_from_run(actions)
    add_actions(actions, DEMONSTRATIONS)


def _add_from_run(actions: Any) -> None:
    parser = add_action(
        actions,
        "from-run",
        _from_run,
        help="put what a run has driven in training on the relay's shelf",
        description="Put episodes that a run has driven in training on its relay's shelf, for other runs to learn from. A file has "
        "at most 256 MiB, and 2,048 MiB when it is opened.",
    )
    parser.add_argument("run", metavar="RUN", help="name of the run")
    parser.add_argument("name", metavar="NAME", help="what runs are to call them")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--last", type=positive, metavar="N", help="the last episodes only (default: all that the relay has)")
    which.add_argument("--first", type=positive, metavar="N", help="the first ones only")
    which.add_argument("--best-laps", type=positive, metavar="N", help="those of the fastest laps only")
    parser.add_argument("--finished-only", action="store_true", help="leave out what did not reach the finish")
    parser.add_argument("--force", action="store_true", help="replace what has this name there")


def _show(options: argparse.Namespace, _began: float) -> int:
    from tmrld.protocol.demonstrations import unpack

    item, data = local_shelf(options).load("demonstrations", options.name)
    found = unpack(data)
    episodes = [
        {
            "episode": chunk.episode,
            "track": chunk.track,
            "actor": chunk.summary.actor,
            "steps": chunk.summary.steps,
            "return": chunk.summary.episode_return,
            "lap_time_s": chunk.summary.lap_time_s,
        }
        for chunk in found.chunks
        if chunk.summary is not None
    ]
    if options.json:
        print_json({**plain(item), "episodes": episodes})
        return 0
    print(f"{item.name}: {item.about['transitions']:,} transitions in {found.spec.id} on {found.track}")
    rows = [
        (
            str(each["track"]),
            str(each["actor"]),
            f"{each['steps']:,}",
            f"{each['return']:.2f}",
            "–" if each["lap_time_s"] is None else f"{each['lap_time_s']:.2f} s",
        )
        for each in episodes
    ]
    print_table(("track", "driven by", "steps", "return", "lap"), rows, "")
    print(DEMONSTRATIONS.use.format(name=item.name))
    return 0


def _from_run(client: Client, options: argparse.Namespace) -> int:
    """Have them made, and say how far that is until they are."""
    choice = {key: getattr(options, key) for key in ("first", "last", "best_laps", "finished_only")}
    view = client.post("runs", options.run, "demonstrations", body={"name": options.name, "replace": options.force, **choice})
    told = 0.0
    while view["state"] == "making":
        if view["done"] >= told + 0.1 and not options.json:
            told = view["done"]
            print(f"{told:.0%} of the samples are read", flush=True)
        time.sleep(POLL_S)
        view = client.get("runs", options.run, "demonstrations")
    if view["state"] == "failed":
        raise Conflict(view["detail"])
    item = client.get("demonstrations", options.name)
    if options.json:
        print_json({**item, "missing": view["missing"]})
        return 0
    missing = f" ({view['missing']:,} more are not whole in its sample log any more)" if view["missing"] else ""
    print(f"{item['about']['transitions']:,} transitions of {view['episodes']:,} episodes of {options.run}{missing}")
    print(f"{item['name']} is on the relay's shelf: {DEMONSTRATIONS.use.format(name=item['name'])}")
    return 0
