"""`tmrld demonstration`: what was recorded to learn from, on this machine's shelf and on a relay's."""

from __future__ import annotations

import argparse
from typing import Any

from tmrld.commands.asking import moment, print_json, print_table
from tmrld.commands.shelf import Kind, add_actions, add_list, list_shelf
from tmrld.commands.track.files import add_local_flags, local_shelf, plain

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
        help="recorded driving to learn from: list, show, upload",
        description="Episodes that were recorded with `tmrld env run --save`, to learn from.",
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
    add_actions(actions, DEMONSTRATIONS)


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
