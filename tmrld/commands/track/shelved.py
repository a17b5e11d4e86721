"""`tmrld track import`, `export` and `delete`: between files and this machine's shelf."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from tmrld.commands.asking import print_json
from tmrld.commands.track.files import add_local_flags, local_shelf, plain, write_line
from tmrld.errors import BadInput
from tmrld.storage.files import explaining


def add(actions: Any) -> None:
    """Add `import`, `export` and `delete`."""
    bring = actions.add_parser(
        "import",
        help="put a line from a file on the shelf: .npy, .csv, .txt, or TMRL's reward.pkl",
        description="Put a line on this machine's shelf.  A .pkl is read without running anything that it names.",
    )
    bring.add_argument("file", type=Path, metavar="FILE", help="x, y, z per point, in metres")
    bring.add_argument("name", metavar="NAME", nargs="?", help="what it is called (default: as the file)")
    add_local_flags(bring)
    bring.add_argument("--force", action="store_true", help="replace a track of this name")
    bring.add_argument("--json", action="store_true", help="print JSON, for scripts")
    bring.set_defaults(command=_import)

    export = actions.add_parser("export", help="write a track of the shelf to a file: .npy, .csv or .txt")
    export.add_argument("name", metavar="NAME", help="of a track on the shelf")
    export.add_argument("file", type=Path, metavar="FILE", help="where to")
    add_local_flags(export)
    export.add_argument("--force", action="store_true", help="replace a file that is there")
    export.add_argument("--json", action="store_true", help="print JSON, for scripts")
    export.set_defaults(command=_export)

    delete = actions.add_parser("delete", help="remove a track from the shelf")
    delete.add_argument("name", metavar="NAME", help="of a track on the shelf")
    add_local_flags(delete)
    delete.add_argument("--json", action="store_true", help="print JSON, for scripts")
    delete.set_defaults(command=_delete)


def _import(options: argparse.Namespace, _began: float) -> int:
    from tmrld import shelving

    data = shelving.track_file(read_points(options.file))
    name = options.name or name_from(options.file.stem)
    about = {**shelving.about("tracks", data), "source": "imported"}
    item = local_shelf(options).put("tracks", name, data, about, replace=options.force)
    if options.json:
        print_json(plain(item))
    else:
        print(f"{item.name} is on the shelf: {about['length_m']:,.0f} m, {about['points']:,} points")
        print(f"to drive it in the game, set run.environment.track = {item.name!r}")
    return 0


def read_points(path: Path) -> Any:
    """The points in a file, (n, 3), in any format that is known.  Raises BadInput and StorageError."""
    from tmrld.envs.trackmania.tracks import MAX_POINTS, parse
    from tmrld.tmrl.arrays import MAX_FILE_BYTES
    from tmrld.tmrl.arrays import read as read_pickled

    with explaining("read", path):
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path} is larger than {MAX_FILE_BYTES / 2**20:.0f} MiB: a line has at most {MAX_POINTS:,} points")
        data = path.read_bytes()
    if path.suffix.lower() in (".pkl", ".pickle"):
        return read_pickled(data, f"the file {path}")
    return parse(data, str(path), as_it_is=True)


def name_from(text: str) -> str:
    """A name that a track, weights or a run may have, as near to this text as can be."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64].rstrip("-._")
    if not name:
        raise BadInput(f"{text!r} cannot be made a name: give one of a-z, 0-9, '.', '_' and '-'")
    return name


def _export(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.trackmania.tracks import parse

    item, data = local_shelf(options).load("tracks", options.name)
    write_line(parse(data, f"the track {item.name!r}", as_it_is=True), options.file, "", replace=options.force)
    if options.json:
        print_json({**plain(item), "file": str(options.file)})
    else:
        print(f"{item.name} is in {options.file}")
    return 0


def _delete(options: argparse.Namespace, _began: float) -> int:
    local_shelf(options).delete("tracks", options.name)
    if options.json:
        print_json({"deleted": options.name})
    else:
        print(f"{options.name} is deleted")
    return 0
