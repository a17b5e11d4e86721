"""`tmrld token`: make, list and revoke tokens.

On the relay's machine this works on the relay's own file, so that it needs no relay that runs; one that does notices at once.
With ``--api`` it asks a relay elsewhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tmrld.commands.asking import API_VARIABLE, TOKEN_VARIABLE, connect, moment, print_json, print_table
from tmrld.commands.flags import add_settings_flags, load_settings
from tmrld.errors import NotFound

if TYPE_CHECKING:
    from tmrld.security.tokens import TokenStore

SCOPES = ("worker", "trainer", "viewer", "operator", "admin")


def add(commands: Any) -> None:
    """Add the command to the program's."""
    token = commands.add_parser("token", help="make, list and revoke tokens")
    actions = token.add_subparsers(required=True, metavar="ACTION")
    new = _action(actions, "new", _new, "make a token and print it, once")
    new.add_argument("--role", required=True, choices=SCOPES, help="worker or trainer for a node; the others for people")
    new.add_argument("--name", help="whom it is for; a node must call itself so (default: the role)")
    new.add_argument("--replace", action="store_true", help="make the name's former token worthless")
    listing = _action(actions, "list", _list, "all tokens, without their secrets")
    listing.add_argument("--json", action="store_true", help="as JSON")
    _action(actions, "revoke", _revoke, "make a token worthless").add_argument("name")


def _action(actions: Any, name: str, does: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
    add_settings_flags(parser)
    parser.add_argument("--api", metavar="URL", help=f"ask the relay with this control API instead (or {API_VARIABLE})")
    parser.add_argument("--token", help=f"your token there (or {TOKEN_VARIABLE})")
    parser.set_defaults(command=lambda options, _began: does(options))
    return parser


def _is_elsewhere(options: argparse.Namespace) -> bool:
    return bool(options.api or os.environ.get(API_VARIABLE))


@contextmanager
def _store(options: argparse.Namespace, *, makes: bool = False) -> Iterator[TokenStore]:
    """The token store of the relay on this machine.  ``makes`` it if there is none yet, and says so; otherwise raises NotFound."""
    from tmrld.security.tokens import TokenStore
    from tmrld.storage.files import make_folder
    from tmrld.storage.layout import Layout

    layout = Layout(load_settings(options).data.expanduser().absolute())
    new = not layout.tokens_db.exists()
    if new and not makes:
        raise NotFound(f"no relay has run in {layout.root} yet, so there are no tokens: name its data folder with --data")
    make_folder(layout.relay)
    store = TokenStore(layout.tokens_db)
    try:
        yield store
    finally:
        store.close()
    if new:
        print(f"note: no relay has run in {layout.root} yet: this is a token of the one that will", file=sys.stderr)


def _new(options: argparse.Namespace) -> int:
    name = options.name or options.role
    if _is_elsewhere(options):
        client = connect(options)
        if options.replace and any(each["name"] == name for each in client.get("tokens")["items"]):
            client.delete("tokens", name)
        print(client.post("tokens", body={"name": name, "scope": options.role})["token"])
        return 0
    with _store(options, makes=True) as store:
        print(store.issue(name, options.role, replace=options.replace))
    return 0


def _list(options: argparse.Namespace) -> int:
    if _is_elsewhere(options):
        items = connect(options).get("tokens")["items"]
    else:
        with _store(options) as store:
            items = [asdict(record) for record in store.list()]
    if options.json:
        print_json(items)
        return 0
    rows = [[each["name"], each["scope"], moment(each["created"])] for each in items]
    print_table(("name", "scope", "made"), rows, "there are no tokens: `tmrld token new --role viewer` makes one")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    if _is_elsewhere(options):
        connect(options).delete("tokens", options.name)
    else:
        with _store(options) as store:
            store.revoke(options.name)
    print(f"the token of {options.name} is worthless from now on")
    return 0
