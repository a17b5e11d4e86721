"""Logging set-up, called once, by the command line: lines to standard error and to a file in the data folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tmrld.printable import among_lines
from tmrld.storage.files import explaining, make_folder, make_private

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
FILES_BYTES = 40 * 2**20
FILES_KEPT = 3
"""Beside the one that is written."""
ENGINE_LOGGER = "tmrld.engine"
"""Where daemons repeat what their engines say."""


class _Plainly(logging.Formatter):
    """One record cannot look like several, nor like nothing: part of what is logged was said by others."""

    def format(self, record: logging.LogRecord) -> str:
        return among_lines(super().format(record))


def set_up(level: str, *, quiet: bool = False) -> None:
    """Log from ``level`` on to standard error; ``quiet`` leaves that to the file, because the terminal shows progress instead."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    logging.getLogger("tmrld").setLevel(level.upper())
    if quiet:
        root.addHandler(logging.NullHandler())
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plainly(FORMAT))
    root.addHandler(handler)


class _PrivateFiles(RotatingFileHandler):
    """Log files that their owner alone can read.  Lines that the disk refuses are missing from them, which is said once."""

    _refused = False

    def _open(self) -> TextIOWrapper:
        make_private(Path(self.baseFilename))
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (as its base)
        """Called where a line could not be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._refused and sys.stderr is not None:
            self._refused = True
            sys.stderr.write(f"{self.baseFilename} lacks lines, because it cannot be written: {error}\n")


def add_file(folder: Path, most_bytes: int = FILES_BYTES) -> logging.Handler:
    """Log to ``tmrld.log`` in this folder as well; older files are kept as far as all take ``most_bytes``.  Raises StorageError.

    `remove` the handler to stop.
    """
    path = make_folder(folder) / "tmrld.log"
    with explaining("write", path):
        handler = _PrivateFiles(path, maxBytes=most_bytes // (FILES_KEPT + 1), backupCount=FILES_KEPT, encoding="utf-8")
    handler.setFormatter(_Plainly(FORMAT))
    logging.getLogger("tmrld").addHandler(handler)
    return handler


class Teller(logging.Handler):
    """Hands each record of ours to a function, in the event loop of whoever made it, as ``[monotonic s, level, logger, text]``.

    What engines say is left out: it is told under their own name.  So is what comes after the loop has ended.
    """

    def __init__(self, tell: Callable[[list[object]], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self.addFilter(lambda record: record.name != ENGINE_LOGGER)

    def emit(self, record: logging.LogRecord) -> None:
        """Called in any thread."""
        line = [time.monotonic(), record.levelname, record.name, self.format(record)]
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._tell, line)


def add_teller(tell: Callable[[list[object]], None]) -> logging.Handler:
    """Tell every line from here on, too; `remove` the handler to stop."""
    handler = Teller(tell)
    logging.getLogger("tmrld").addHandler(handler)
    return handler


def remove(handler: logging.Handler) -> None:
    """Stop logging to a handler that was made here."""
    logging.getLogger("tmrld").removeHandler(handler)
    handler.close()
