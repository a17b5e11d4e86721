"""What `tmrld up` shows while it runs: a live table on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tmrld.printable import printable
from tmrld.progress import Progress

LINE_INTERVAL_S = 5.0
LONGEST_PROBLEM = 400


class Display:
    """Shows a `Progress` on ``output`` (None: standard output); use it as a context manager."""

    def __init__(self, *, live: bool, output: TextIO | None = None) -> None:
        self._console = Console(file=output, highlight=False, markup=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False) if live else None
        self.interval_s = 0.25 if live else 1.0
        """How often `update` should be called at least."""
        self._drawn_at = 0.0
        self._problem = ""
        self._recovered = ""
        self._profile = ""

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def greet(self, addresses: Mapping[str, str], data: Path, notice: str = "") -> None:
        """Say where everything is, and what else there is to know."""
        self._console.print(f"tmrld is running: control API at {addresses['control']}, peers at {addresses['peers']}")
        self._console.print(f"watch and steer it in a browser, once with this address: {addresses['page']}")
        self._console.print(f"everything is kept in {data}; Ctrl-C stops, and the next start goes on from there")
        if notice:
            self._console.print(f"note: {notice}", style="yellow")

    def update(self, progress: Progress, *, last: bool = False) -> None:
        """Draw, if it is time to."""
        if progress.problem and progress.problem != self._problem:
            self._problem = progress.problem
            self._console.print(f"problem: {_short(progress.problem)}", style="yellow")
        if progress.recovered != self._recovered:
            self._recovered = progress.recovered
            if self._recovered:
                self._console.print(f"over: {_short(self._recovered)}", style="green")
        if progress.profile != self._profile:
            self._profile = progress.profile
            self._console.print(f"profile: {_short(self._profile)}")
        now = time.monotonic()
        if self._live is not None:
            if last or now - self._drawn_at >= self.interval_s:
                self._drawn_at = now
                self._live.update(_table(progress), refresh=True)
        elif last or now - self._drawn_at >= LINE_INTERVAL_S:
            self._drawn_at = now
            self._console.print(printable(progress.line()))


def _short(text: str) -> str:
    """The beginning of a long text; all of it is in the log file."""
    line = " ".join(printable(text).split())
    return line if len(line) <= LONGEST_PROBLEM else f"{line[:LONGEST_PROBLEM]}… (more in the log file)"


def _table(progress: Progress) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(style="bold cyan", justify="right")
    table.add_column()
    for name, value in progress.rows():
        table.add_row(name, printable(value))
    return table
