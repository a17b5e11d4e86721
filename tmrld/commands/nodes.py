"""`tmrld node`: the machines of a relay, from anywhere."""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, moment, number, print_json, print_table
from tmrld.commands.doctor import print_diagnoses
from tmrld.doctor.diagnosis import Diagnosis
from tmrld.errors import BadInput
from tmrld.printable import among_lines
from tmrld.storage.files import write_atomic

AUTOMATIC = "auto"


def add(commands: Any) -> None:
    """Add the command to the program's."""
    node = commands.add_parser("node", help="the machines of a relay")
    actions = node.add_subparsers(required=True, metavar="ACTION")
    add_action(actions, "list", _list, help="the machines that are known, and what they do")
    rename = add_action(actions, "rename", _rename, help="call a machine something else")
    rename.add_argument("name")
    rename.add_argument("new_name", metavar="NEW-NAME")
    revoke = add_action(actions, "revoke", _revoke, help="cut a machine off, and make its credential worthless", scripts=False)
    revoke.add_argument("name")
    for verb, help in (
        ("start", "start a machine's engine that was stopped"),
        ("stop", "stop a machine's engine until it is started again"),
        ("restart", "stop a machine's engine and start a new one"),
    ):
        add_action(actions, verb, _engine(verb), help=help).add_argument("name")
    assign = add_action(actions, "assign", _assign, help="choose the run that a machine works for")
    assign.add_argument("name")
    assign.add_argument("run", help=f"name of the run, or {AUTOMATIC} to let the relay choose")
    assign.add_argument("--take-over", action="store_true", help="have a trainer replace the one that trains the run now")
    doctor = add_action(actions, "doctor", _doctor, help="what is wrong with a machine, and what mends it")
    doctor.add_argument("name")
    doctor.add_argument("--newest", action="store_true", help="what was found last, instead of looking now")
    doctor.add_argument("--jpeg", type=Path, metavar="FILE", help="write what it sees of the game there")
    log = add_action(actions, "log", _log, help="the newest lines of a machine's log")
    log.add_argument("name", help="name of the machine; relay is the relay's own daemon")
    log.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many lines (default: 50)")


def _list(client: Client, options: argparse.Namespace) -> int:
    answer = client.get("nodes")
    if options.json:
        print_json(answer["items"])
        return 0
    rows = [
        [
            node["name"],
            node["role"],
            node["state"],
            node["run"] or "–",
            AUTOMATIC if node["assigned"] is None else node["assigned"],
            number(None if node["latency_s"] is None else 1000 * node["latency_s"], 1),
            "now" if node["connected"] else moment(node["last_seen"]),
            node["detail"],
        ]
        for node in answer["items"]
    ]
    columns = ("name", "role", "state", "run", "assigned", "latency ms", "seen", "")
    print_table(columns, rows, "no machine has joined yet: `tmrld invite --role worker` makes an invite")
    return 0


def _show(node: dict[str, Any], options: argparse.Namespace, sentence: str) -> int:
    if options.json:
        print_json(node)
    else:
        print(sentence)
    return 0


def _rename(client: Client, options: argparse.Namespace) -> int:
    node = client.patch("nodes", options.name, body={"name": options.new_name})
    return _show(node, options, f"{options.name} is called {node['name']} from now on")


def _revoke(client: Client, options: argparse.Namespace) -> int:
    client.delete("nodes", options.name)
    print(f"{options.name} is cut off; to come back it needs a new invite")
    return 0


def _engine(verb: str) -> Any:
    def act(client: Client, options: argparse.Namespace) -> int:
        node = client.post("nodes", options.name, verb)
        return _show(node, options, f"the engine of {node['name']} was told to {verb}: {node['state']}")

    return act


def _assign(client: Client, options: argparse.Namespace) -> int:
    run = None if options.run == AUTOMATIC else options.run
    node = client.put("nodes", options.name, "assignment", body={"run": run, "take_over": options.take_over})
    where = "whatever the relay chooses" if run is None else f"the run {run}"
    return _show(node, options, f"{options.name} works for {where}")


def _doctor(client: Client, options: argparse.Namespace) -> int:
    if not options.newest and not options.json and sys.stderr.isatty():
        print(f"{options.name} is being looked at, which takes up to a minute", file=sys.stderr)
    answer = client.get("nodes", options.name, "doctor") if options.newest else client.post("nodes", options.name, "doctor")
    picture = base64.b64decode(answer["picture"])
    if options.jpeg is not None:
        if not picture:
            raise BadInput(f"{options.name} sees nothing of the game that could be written to {options.jpeg}")
        write_atomic(options.jpeg.absolute(), picture)
    if options.json:
        print_json(answer)
    else:
        print_diagnoses([Diagnosis(**each) for each in answer["diagnoses"]])
    return 1 if answer["state"] == "wrong" else 0


def _log(client: Client, options: argparse.Namespace) -> int:
    lines = client.get("nodes", options.name, "log", limit=options.limit)["items"]
    if options.json:
        print_json(lines)
        return 0
    for line in lines:
        print(f"{moment(line['time'])} {line['level']:7} {line['source']}: {among_lines(line['text'])}")
    return 0
