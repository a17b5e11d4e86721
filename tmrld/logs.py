"""Logging set-up, called once, by the command line: lines to standard error and to a file in the data folder."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tmrld.storage.files import explaining, make_folder

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
FILE_BYTES = 10 * 2**20
FILES_KEPT = 3


def set_up(level: str, *, quiet: bool = False) -> None:
    """Log from ``level`` on to standard error; ``quiet`` leaves that to the file, because the terminal shows progress instead."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    logging.getLogger("tmrld").setLevel(level.upper())
    if quiet:
        root.addHandler(logging.NullHandler())
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    root.addHandler(handler)


def add_file(folder: Path) -> logging.Handler:
    """Log to ``tmrld.log`` in this folder as well; old files are kept up to FILES_KEPT.  Raises StorageError.

    `remove` the handler to stop.
    """
    path = make_folder(folder) / "tmrld.log"
    with explaining("write", path):
        handler = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger("tmrld").addHandler(handler)
    return handler


def remove(handler: logging.Handler) -> None:
    """Stop logging to a handler that `add_file` made."""
    logging.getLogger("tmrld").removeHandler(handler)
    handler.close()
