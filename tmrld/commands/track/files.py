"""What the commands of `tmrld track` share: this machine's shelf, and the files that they write."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.errors import BadInput, Conflict, StorageError
from tmrld.local import shelf_of
from tmrld.settings import load
from tmrld.storage.files import replace_file
from tmrld.storage.shelf import Item, Shelf


def add_local_flags(parser: argparse.ArgumentParser) -> None:
    """``--config`` and ``--data``, which say where this machine's shelf is."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (default: TMRLD_CONFIG, or tmrld.toml here)")
    parser.add_argument("--data", metavar="FOLDER", help="data folder (setting `data`)")


def local_shelf(options: argparse.Namespace) -> Shelf:
    """The shelf that these flags mean."""
    return shelf_of(load(options.config, {} if options.data is None else {"data": options.data}))


def write_line(line: NDArray[np.float64], path: Path, flag: str, *, replace: bool) -> None:
    """A line as `tmrld.envs.trackmania.tracks.read` reads it: .npy as it is, .csv with commas, anything else with blanks.

    ``flag`` names the path in errors.  Raises BadInput, Conflict and StorageError.
    """
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise BadInput(f"{path} ends in {path.suffix}: pickles are never written, since reading one may run code; use .npy")
    _check_free(path, flag, replace=replace)
    data = io.BytesIO()
    if path.suffix.lower() == ".npy":
        np.save(data, line)
    else:
        np.savetxt(data, line, fmt="%.6f", delimiter="," if path.suffix.lower() == ".csv" else " ")
    partial = path.with_name(f"{path.name}.part")
    try:
        partial.write_bytes(data.getvalue())
        replace_file(partial, path)  # a whole file or none
    except OSError as error:
        raise StorageError(f"the line cannot be written to {path}: {error.strerror or error}") from error


def write_map(picture: NDArray[np.uint8], path: Path, *, replace: bool) -> None:
    """A map, RGB (height, width, 3), as a PNG.  Raises BadInput, Conflict and StorageError."""
    from tmrld.worker.pictures import write_png

    if path.suffix.lower() != ".png":
        raise BadInput(f"--png {str(path)!r} does not end in .png: maps are written as PNG alone")
    _check_free(path, "--png", replace=replace)
    write_png(path, picture)


def _check_free(path: Path, flag: str, *, replace: bool) -> None:
    if path.exists() and not replace:
        raise Conflict(f"{path} exists already: name another file{flag and f' with {flag}'}, or replace it with --force")


def plain(item: Item) -> dict[str, Any]:
    """A track of the shelf as JSON-able values."""
    return {"name": item.name, "size_bytes": item.size_bytes, "sha256": item.sha256, "made": item.made, **item.about}
