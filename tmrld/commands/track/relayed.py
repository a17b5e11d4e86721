"""`tmrld track upload` and `download`: between this machine's shelf and a relay's."""

from __future__ import annotations

import argparse
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, print_json
from tmrld.commands.track.files import local_shelf, plain
from tmrld.storage.shelf import Item


def add(actions: Any) -> None:
    """Add `upload` and `download`."""
    upload = add_action(actions, "upload", _upload, help="copy a track of this machine's shelf to the relay's")
    upload.add_argument("name", metavar="NAME", help="of a track on this machine's shelf")
    upload.add_argument("--force", action="store_true", help="replace the relay's track of this name")
    download = add_action(actions, "download", _download, help="copy a track of the relay's shelf to this machine's")
    download.add_argument("name", metavar="NAME", help="of a track on the relay's shelf")
    download.add_argument("--force", action="store_true", help="replace this machine's track of this name")


def _upload(client: Client, options: argparse.Namespace) -> int:
    item, data = local_shelf(options).load("tracks", options.name)
    answer = client.upload("tracks", item.name, data=data, replace=options.force or None, **told_of(item))
    if options.json:
        print_json(answer)
    else:
        print(f"{item.name} is on the relay's shelf: runs of game='trackmania' may name it in environment.track")
    return 0


def told_of(item: Item) -> dict[str, Any]:
    """What a relay cannot see in the file of a track."""
    return {name: item.about[name] for name in ("source", "lap_time_s") if item.about.get(name) is not None}


def _download(client: Client, options: argparse.Namespace) -> int:
    from tmrld import shelving

    about = client.get("tracks", options.name)["about"]
    data, _ = client.download("tracks", options.name, "file")
    facts = {**about, **shelving.about("tracks", data)}
    item = local_shelf(options).put("tracks", options.name, data, facts, replace=options.force)
    if options.json:
        print_json(plain(item))
    else:
        print(f"{item.name} is on this machine's shelf: {facts['length_m']:,.0f} m, {facts['points']:,} points")
    return 0
