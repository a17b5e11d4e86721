"""`tmrld track record`: somebody drives a lap in the game, and its line goes on the shelf."""

from __future__ import annotations

import argparse
from typing import Any

from tmrld.commands.asking import print_json
from tmrld.commands.flags import add_settings_flags, load_settings
from tmrld.commands.track.files import plain
from tmrld.errors import Conflict
from tmrld.local import shelf_of
from tmrld.storage.shelf import check_name


def add(actions: Any) -> None:
    """Add `record`."""
    record = actions.add_parser(
        "record",
        help="record the line of a track while you drive it in the game",
        description="Record the line of a track: drive it in TrackMania from start to finish, with keyboard or gamepad.  The plugin "
        "in the game tells where the car is; nothing is sent to the game.  A restart of the race begins the recording anew, Ctrl-C "
        "ends it and keeps nothing.",
    )
    record.add_argument("name", metavar="NAME", help="what the track is called from then on")
    add_settings_flags(record)
    record.add_argument("--force", action="store_true", help="replace a track of this name")
    record.add_argument("--json", action="store_true", help="print JSON, for scripts")
    record.set_defaults(command=_record)


def _record(options: argparse.Namespace, _began: float) -> int:
    from tmrld import shelving
    from tmrld.commands.track.listening import recorded

    settings = load_settings(options)
    shelf = shelf_of(settings)
    check_name("tracks", options.name)
    if not options.force and any(item.name == options.name for item in shelf.items("tracks")):
        raise Conflict(f"there is a track {options.name!r} already: choose another name, or replace it with --force")
    recorder = recorded(settings.run.environment.trackmania, aside=options.json)
    data = shelving.track_file(recorder.line)
    about = {**shelving.about("tracks", data), "source": "recorded", "lap_time_s": round(recorder.run_s, 3)}
    item = shelf.put("tracks", options.name, data, about, replace=options.force)
    if options.json:
        print_json(plain(item))
    else:
        print(
            f"{item.name} is on the shelf: {about['length_m']:,.0f} m, {about['points']:,} points, lap about {recorder.run_s:.2f} s"
        )
        print(f"to drive it in the game, set run.environment.track = {item.name!r}; `tmrld track show {item.name}` draws it")
    return 0
