"""`tmrld invite`: lines that let new machines join; `tmrld open`: the page, signed in."""

from __future__ import annotations

import argparse
import math
import sys
import time
import webbrowser
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, moment, print_json, print_table
from tmrld.errors import BadInput

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def add(commands: Any) -> None:
    """Add the commands to the program's."""
    invite = add_action(commands, "invite", _invite, help="make a line that lets one new machine join this relay")
    what = invite.add_mutually_exclusive_group(required=True)
    what.add_argument("--role", choices=("worker", "trainer"), help="what the new machine will do")
    what.add_argument("--list", action="store_true", help="the invites of the last days, instead of making one")
    what.add_argument("--revoke", metavar="ID", help="make an invite worthless, instead of making one")
    invite.add_argument("--name", help="what it will be called (default: as the machine is)")
    invite.add_argument("--expires", type=_duration, default=3600.0, metavar="TIME", help="how long it works: 90s, 30m, 1h, 2d")
    invite.add_argument("--address", metavar="HOST[:PORT]", help="where that machine finds the relay (default: relay.address)")
    opening = add_action(commands, "open", _open, help="open the page in a browser, signed in", scripts=False)
    opening.add_argument("--no-browser", action="store_true", help="only print the address, which works once and soon")


def _duration(text: str) -> float:
    unit = UNITS.get(text[-1:])
    try:
        seconds = float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= 30 * 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no time from 1s to 30d, such as 90s, 30m, 1h or 2d")
    return seconds


def _invite(client: Client, options: argparse.Namespace) -> int:
    if options.list:
        return _list(client, options)
    if options.revoke:
        client.delete("invites", options.revoke)
        print(f"the invite {options.revoke} is worthless from now on")
        return 0
    if options.name == "":
        raise BadInput("--name is empty: leave it out to let the machine choose")
    body = {"role": options.role, "name": options.name, "expires_s": options.expires, "address": options.address}
    made = client.post("invites", body=body)
    if options.json:
        print_json(made)
        return 0
    print(made["command"])
    print(f"run this on the new machine, once, until {moment(made['expires'])}", file=sys.stderr)
    if made["warning"]:
        print(f"mind: {made['warning']}", file=sys.stderr)
    return 0


def _list(client: Client, options: argparse.Namespace) -> int:
    items = client.get("invites")["items"]
    if options.json:
        print_json(items)
        return 0
    rows = [[each["id"], each["role"], each["name"] or "–", moment(each["created"]), _state(each)] for each in items]
    print_table(("id", "role", "name", "made", "state"), rows, "there are no invites: `tmrld invite --role worker` makes one")
    return 0


def _state(invite: dict[str, Any]) -> str:
    if invite["used_by"]:
        return f"used by {invite['used_by']}"
    return f"{'until' if invite['expires'] > time.time() else 'ran out'} {moment(invite['expires'])}"


def _open(client: Client, options: argparse.Namespace) -> int:
    address = f"{client.url}/#code={client.post('codes')['code']}"
    print(address, flush=True)
    if not options.no_browser:
        webbrowser.open(address)
    return 0
