"""`tmrld track list` and `tmrld track show`: tracks of the shelf, of a relay, and of the simulator."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from tmrld.commands.asking import add_relay_flags, connect, moment, print_json, print_table
from tmrld.commands.track import simulated
from tmrld.commands.track.files import add_local_flags, local_shelf, plain, write_line, write_map
from tmrld.errors import NotFound, WorldError
from tmrld.storage.shelf import Item, Shelf

COLUMNS = ("track", "length", "points", "lap", "source", "since")


def add(actions: Any) -> None:
    """Add `list` and `show`."""
    listing = actions.add_parser("list", help="the tracks on this machine's shelf, and those that the simulator brings")
    add_relay_flags(listing)
    listing.add_argument("--relay", action="store_true", help="those on the relay's shelf instead")
    listing.add_argument("--json", action="store_true", help="print JSON, for scripts")
    listing.set_defaults(command=_list)
    show = actions.add_parser("show", help="what a track measures, and a sketch of it")
    show.add_argument("name", metavar="NAME", help="of a track on the shelf, or of the simulator's")
    add_local_flags(show)
    simulated.add_output(show)
    show.set_defaults(command=_show)


def _list(options: argparse.Namespace, _began: float) -> int:
    if options.relay:
        items = connect(options).get("tracks")["items"]
        if options.json:
            print_json({"items": items})
        else:
            empty = "the relay has no tracks yet: `tmrld track upload NAME` brings one of this machine's shelf"
            print_table(COLUMNS, (_row({**each, **each["about"]}) for each in items), empty)
        return 0
    items = [plain(item) for item in local_shelf(options).items("tracks")]
    figures = simulated.rows()
    if options.json:
        print_json({"shelf": items, "simulator": [asdict(each) for each in figures]})
        return 0
    empty = "there is none on this machine's shelf yet: `tmrld track record NAME` records one in the game"
    print_table(COLUMNS, map(_row, items), empty)
    print("\nof the simulator:")
    simulated.print_rows(figures)
    return 0


def _row(track: Mapping[str, Any]) -> tuple[str, ...]:
    lap = track.get("lap_time_s")
    return (
        str(track["name"]),
        f"{track['length_m']:,.0f} m",
        f"{track['points']:,}",
        "–" if lap is None else f"{lap:.2f} s",
        str(track.get("source", "–")),
        moment(track["made"]),
    )


def _show(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.sim.tracks import named

    shelf = local_shelf(options)
    try:
        item = shelf.get("tracks", options.name)
    except NotFound as missing:
        try:
            return simulated.present(named(options.name), options)
        except WorldError as error:
            raise WorldError(f"{error}; and {missing}") from None
    return _present(shelf, item, options)


def _present(shelf: Shelf, item: Item, options: argparse.Namespace) -> int:
    """A track of the shelf: figures, sketch, and what else is asked for."""
    from tmrld.envs.trackmania.portrait import portrait, sketch
    from tmrld.envs.trackmania.tracks import parse

    line = parse(shelf.read("tracks", item.name), f"the track {item.name!r}", as_it_is=True)
    about = plain(item)
    lap = about.get("lap_time_s")
    facts = ", ".join(_facts(about))
    if options.png is not None:
        write_map(portrait(line, item.name, lap), options.png, replace=options.force)
    if options.line is not None:
        write_line(line, options.line, "--line", replace=options.force)
    if options.json:
        print_json(about)
        return 0
    print(f"{item.name}: {facts}")
    if options.line is not None:
        print(f"its line is in {options.line}")
    if options.png is not None:
        print(f"its map is in {options.png}")
    print(f"to drive it in the game, set run.environment.track = {item.name!r}")
    print()
    print(sketch(line, min(shutil.get_terminal_size().columns, 100), simulated.SKETCH_ROWS))
    return 0


def _facts(about: Mapping[str, Any]) -> Iterable[str]:
    yield f"{about['length_m']:,.0f} m"
    yield f"{about['points']:,} points"
    if about.get("lap_time_s") is not None:
        yield f"lap {about['lap_time_s']:.2f} s"
    yield f"{about.get('source', 'put')} {moment(about['made'])}"
