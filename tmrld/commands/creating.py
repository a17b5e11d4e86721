"""`tmrld new`: folders to begin with.  Asks no relay."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any

from tmrld.errors import BadInput, Conflict
from tmrld.storage.files import explaining

ENDING = ".template"
"""Of every file of a template: what is left without it is the file's name."""
RENAMED = {"gitignore": ".gitignore"}
_TEAM = re.compile(r"[^\W_](?:[\w .,!&+'()-]{0,58}[\w.!)])?")


def add(commands: Any) -> None:
    """Add `tmrld new` to the command line."""
    new = commands.add_parser("new", help="a folder to begin with: league-entry", description="Makes a folder to begin with.")
    kinds = new.add_subparsers(required=True, metavar="KIND")
    entry = kinds.add_parser(
        "league-entry",
        help="an entry for the TMRL Roborace League",
        description="Makes a project with a policy that drives, its world, its tests, and a script that evaluates it by the rules of "
        "the TMRL Roborace League.",
    )
    entry.add_argument("folder", type=Path, metavar="FOLDER", help="where; it must be empty, or not there yet")
    entry.add_argument("--name", metavar="TEAM", help="what the entry is called (default: the folder's name)")
    entry.set_defaults(command=_league_entry)


def _league_entry(options: argparse.Namespace, _began: float) -> int:
    folder: Path = options.folder.expanduser().absolute()
    team = checked_team(options.name if options.name is not None else folder.name)
    package = package_name(team)
    _check_empty(folder)
    write("league_entry", folder, {"TEAM": team, "PACKAGE": package, "PROJECT": package.replace("_", "-")})
    print(f"{folder} has an entry of {team}, whose policy drives already. Go on there with:")
    for command in ("python -m pip install -e .", "python -m pytest", "python evaluate.py"):
        print(f"    {command}")
    return 0


def checked_team(name: str) -> str:
    """The name itself, if an entry may be called so; otherwise BadInput."""
    if not _TEAM.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} cannot be the name of an entry: use 1 to 60 letters, digits, blanks and . , ! & + ' ( ) -. Where the "
            "folder is called otherwise, say it with --name"
        )
    return name


def package_name(team: str) -> str:
    """What the entry's Python package is called: the team's letters and digits, and nothing that there is already."""
    ascii = team.lower().encode("ascii", "ignore").decode()
    words = "_".join(re.findall("[a-z0-9]+", ascii))
    name = words if words[:1].isalpha() else f"entry_{words}".rstrip("_")
    taken = keyword.iskeyword(name) or importlib.util.find_spec(name) is not None
    return f"{name}_entry" if taken else name


def write(template: str, folder: Path, words: dict[str, str]) -> None:
    """Write a template into a folder; ``@WORD@`` in its files and WORD as a name of a file or folder stand for these words.

    Raises StorageError.
    """
    for source, place in _files(files("tmrld") / "templates" / template, PurePosixPath()):
        text = source.read_text("utf-8")
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        path = folder.joinpath(*(words.get(part, part) for part in place.parts))
        with explaining("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="\n")


def _files(folder: Traversable, place: PurePosixPath) -> Iterator[tuple[Traversable, PurePosixPath]]:
    """The files of a template, and where each belongs."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, place / entry.name)
        elif entry.name.endswith(ENDING):
            name = entry.name.removesuffix(ENDING)
            yield entry, place / RENAMED.get(name, name)


def _check_empty(folder: Path) -> None:
    with explaining("look into", folder):
        if folder.exists() and not folder.is_dir():
            raise Conflict(f"{folder} is a file: name a folder that is empty, or not there yet")
        if folder.exists() and any(folder.iterdir()):
            raise Conflict(f"{folder} is not empty: nothing was written; name a folder that is empty, or not there yet")
