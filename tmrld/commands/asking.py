"""What all commands share that ask a running relay: flags, the relay's address, the token, and how answers are printed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tmrld.client import LOOPBACK, Client
from tmrld.errors import BadInput
from tmrld.settings import Settings, load
from tmrld.storage.layout import Layout, control_of

API_VARIABLE = "TMRLD_API"
TOKEN_VARIABLE = "TMRLD_TOKEN"  # noqa: S105 - the variable's name

UNFOLDED = 10_000
"""Width of a table that no terminal shows: whatever reads it wants whole lines."""

Action = Callable[[Client, argparse.Namespace], int]


def add_action(
    actions: Any, name: str, does: Action, *, help: str, description: str | None = None, scripts: bool = True
) -> argparse.ArgumentParser:
    """A command ``name`` among ``actions`` that asks a relay; ``scripts`` gives it ``--json``."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=help, description=description or f"{help[:1].upper()}{help[1:]}."
    )
    add_relay_flags(parser)
    if scripts:
        parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.set_defaults(command=lambda options, _began: does(connect(options), options))
    return parser


def add_relay_flags(parser: argparse.ArgumentParser) -> None:
    """Those that `connect` reads."""
    group = parser.add_argument_group("which relay")
    group.add_argument("--api", metavar="URL", help=f"its control API (default: {API_VARIABLE}, or as the settings here say)")
    group.add_argument(
        "--token", help=f"your token there (default: {TOKEN_VARIABLE}, or this machine's own where the relay runs)"
    )
    group.add_argument("--config", type=Path, metavar="FILE", help="settings file (default: TMRLD_CONFIG, or tmrld.toml here)")
    group.add_argument("--data", metavar="FOLDER", help="data folder of the relay, if it is on this machine")


def connect(options: argparse.Namespace) -> Client:
    """A client of the relay that the flags, the environment or the settings name."""
    settings = load(options.config, {"data": options.data} if options.data else {})
    url = options.api or os.environ.get(API_VARIABLE) or ""
    token = options.token or os.environ.get(TOKEN_VARIABLE) or ""
    if not token and _is_here(url):
        token = _local_token(settings)
    return Client(url or _local_address(settings), token)


def connect_here(settings: Settings) -> Client:
    """A client of the relay of this machine with these settings."""
    return Client(_local_address(settings), _local_token(settings))


def _is_here(url: str) -> bool:
    """Whether that is a relay of this machine: nobody else is ever sent this machine's own token.  "" is the one of the settings."""
    return not url or urlsplit(url).hostname in LOOPBACK


def _local_address(settings: Settings) -> str:
    """Where the relay of this data folder said that it is, or else where the settings would have it."""
    told = control_of(Layout(settings.data.expanduser().absolute()))
    if told:
        return told
    control = settings.control
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(control.host, control.host)  # noqa: S104 - compared
    scheme = "https" if control.certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{control.port or 7400}"


def _local_token(settings: Settings) -> str:
    """The token that a relay leaves for this machine's command line; "" where there is none."""
    path = Layout(settings.data.expanduser().absolute()).control_token
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BadInput(f"the token in {path} cannot be read ({error.strerror}): give one with --token") from error


# Printing


def print_json(answer: Any) -> None:
    """One JSON value on one line."""
    print(json.dumps(answer))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """A table for people; ``empty`` is said where there are no rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else UNFOLDED)
    if not table.row_count:
        console.print(empty)
    else:
        console.print(table)


def moment(seconds: float) -> str:
    """A time of the relay's as this machine's clock would have it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def number(value: float | None, digits: int = 2) -> str:
    """A number for people; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"
