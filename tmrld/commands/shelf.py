"""What the commands share that move weights and demonstrations: between files, this machine's shelf and a relay's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, add_relay_flags, connect, print_json, print_table
from tmrld.commands.track.files import add_local_flags, local_shelf, plain
from tmrld.errors import Conflict
from tmrld.storage.files import explaining, read_file, replace_file
from tmrld.storage.shelf import Item

Row = Callable[[dict[str, Any]], tuple[str, ...]]


@dataclass(frozen=True)
class Kind:
    """A kind of file as its commands speak of it.

    ``one`` is one of them in a sentence, ``made_by`` how they come to be.  ``use`` says what they are for; {name} stands for the
    name.  ``columns`` and ``row`` make a table of their facts.
    """

    name: str
    one: str
    made_by: str
    use: str
    columns: tuple[str, ...]
    row: Row


def add_actions(actions: Any, kind: Kind) -> None:
    """Add `import`, `export`, `delete`, `upload` and `download`."""

    def local(action: str, does: Callable[[argparse.Namespace, Kind], int], help: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(action, help=help, description=f"{help[:1].upper()}{help[1:]}.")
        add_local_flags(parser)
        parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
        parser.set_defaults(command=lambda options, _began: does(options, kind))
        return parser

    def relayed(action: str, does: Callable[[Client, argparse.Namespace, Kind], int], help: str) -> argparse.ArgumentParser:
        return add_action(actions, action, lambda client, options: does(client, options, kind), help=help)

    bring = local("import", _import, f"put {kind.one} from a file on this machine's shelf")
    bring.add_argument("file", type=Path, metavar="FILE", help="as `export` writes it")
    bring.add_argument("name", metavar="NAME", nargs="?", help="what runs call it (default: as the file)")
    bring.add_argument("--force", action="store_true", help="replace what has this name")
    export = local("export", _export, f"write {kind.one} of this machine's shelf to a file")
    export.add_argument("name", metavar="NAME", help="on this machine's shelf")
    export.add_argument("file", type=Path, metavar="FILE", help="where to")
    export.add_argument("--force", action="store_true", help="replace a file that is there")
    delete = local("delete", _delete, f"remove {kind.one} from this machine's shelf")
    delete.add_argument("name", metavar="NAME", help="on this machine's shelf")
    upload = relayed("upload", _upload, f"copy {kind.one} of this machine's shelf to the relay's")
    upload.add_argument("name", metavar="NAME", help="on this machine's shelf")
    upload.add_argument("--force", action="store_true", help="replace what has this name there")
    download = relayed("download", _download, f"copy {kind.one} of the relay's shelf to this machine's")
    download.add_argument("name", metavar="NAME", help="on the relay's shelf")
    download.add_argument("--force", action="store_true", help="replace what has this name here")


def add_list(parser: argparse.ArgumentParser) -> None:
    """The flags of `list_shelf`."""
    add_relay_flags(parser)
    parser.add_argument("--relay", action="store_true", help="what is on the relay's shelf instead")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def list_shelf(options: argparse.Namespace, kind: Kind) -> int:
    """A table of what is on this machine's shelf, or on the relay's."""
    if options.relay:
        items = [{**each, **each.pop("about")} for each in connect(options).get(kind.name)["items"]]
    else:
        items = [plain(item) for item in local_shelf(options).items(kind.name)]
    if options.json:
        print_json({"items": items})
        return 0
    where = "on the relay's shelf" if options.relay else "on this machine's shelf"
    print_table(
        ("name", *kind.columns), ((each["name"], *kind.row(each)) for each in items), f"nothing is {where}: {kind.made_by}"
    )
    return 0


def put(options: argparse.Namespace, kind: Kind, name: str, data: bytes, *, replace: bool) -> Item:
    """Check a file, and put it on this machine's shelf.  Raises BadInput for one that is not as it has to be."""
    from tmrld import shelving

    return local_shelf(options).put(kind.name, name, data, shelving.about(kind.name, data), replace=replace)


def tell(options: argparse.Namespace, kind: Kind, item: Item) -> int:
    """Say that it is on this machine's shelf, and what for."""
    if options.json:
        print_json(plain(item))
    else:
        print(f"{item.name} is on this machine's shelf: {kind.use.format(name=item.name)}")
    return 0


def write_file(path: Path, data: bytes, *, replace: bool, flag: str = "") -> None:
    """A whole file or none; ``flag`` is what names another one.  Raises Conflict and StorageError."""
    if path.exists() and not replace:
        raise Conflict(f"{path} exists already: name another file{flag and f' with {flag}'}, or replace it with --force")
    partial = path.with_name(f"{path.name}.part")
    with explaining("write", path):
        partial.write_bytes(data)
        replace_file(partial, path)


def _import(options: argparse.Namespace, kind: Kind) -> int:
    name = options.name or options.file.stem.lower()
    return tell(options, kind, put(options, kind, name, read_file(options.file), replace=options.force))


def _export(options: argparse.Namespace, kind: Kind) -> int:
    item, data = local_shelf(options).load(kind.name, options.name)
    write_file(options.file, data, replace=options.force)
    if options.json:
        print_json({**plain(item), "file": str(options.file)})
    else:
        print(f"{item.name} is in {options.file} ({len(data):,} bytes)")
    return 0


def _delete(options: argparse.Namespace, kind: Kind) -> int:
    local_shelf(options).delete(kind.name, options.name)
    if options.json:
        print_json({"deleted": options.name})
    else:
        print(f"{options.name} is deleted")
    return 0


def _upload(client: Client, options: argparse.Namespace, kind: Kind) -> int:
    item, data = local_shelf(options).load(kind.name, options.name)
    answer = client.upload(kind.name, item.name, data=data, replace=options.force or None)
    if options.json:
        print_json(answer)
    else:
        print(f"{item.name} is on the relay's shelf: {kind.use.format(name=item.name)}")
    return 0


def _download(client: Client, options: argparse.Namespace, kind: Kind) -> int:
    data, _ = client.download(kind.name, options.name, "file")
    return tell(options, kind, put(options, kind, options.name, data, replace=options.force))
