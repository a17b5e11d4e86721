"""`tmrld run`: runs of a relay listed, made, steered, watched and ended; through its control API."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import Action, add_action, moment, number, print_json, print_table
from tmrld.errors import BadInput, Conflict
from tmrld.settings import assignment, merged

MOVES = {
    "start": "start a run, or let one that is paused go on",
    "pause": "pause a run: nothing is driven or learned until it is resumed",
    "resume": "let a run go on that is paused",
    "stop": "stop a run; what it has learned and collected stays",
    "queue": "start a run as soon as a trainer has nothing to do",
}
WATCHED = "run,metrics,episode,weights,problem"
APPLIES = {
    "live": "at once",
    "restart": "with a new engine, from its last checkpoint",
    "new-run": "only in a new run",
}


def add(commands: Any) -> None:
    """Add `tmrld run` to the command line."""
    run = commands.add_parser("run", help="runs: list, make, steer, configure, watch", description="The runs of a relay.")
    actions = run.add_subparsers(required=True, metavar="ACTION")
    add_action(actions, "list", _list, help="all runs at a glance")
    add_action(actions, "presets", _presets, help="what a new run can begin from")
    new = add_action(actions, "new", _new, help="make a run")
    new.add_argument("name", metavar="RUN", help="its name")
    new.add_argument("--preset", help="what it begins from (default: the defaults); `tmrld run presets` lists them")
    new.add_argument(
        "--from", dest="file", type=Path, metavar="FILE", help="a settings file whose [run] changes its configuration"
    )
    _add_changes(new)
    _add_start(new)
    _of_run(actions, "show", _show, help="one run")
    for verb, help in MOVES.items():
        _of_run(actions, verb, _move(verb), help=help)
    clone = _of_run(actions, "clone", _clone, help="make a run with the configuration of another one")
    clone.add_argument("name", metavar="NAME", help="name of the new run")
    _add_changes(clone)
    _add_start(clone)
    _of_run(actions, "delete", _delete, help="delete a run that is stopped, with everything that it has brought")
    _of_run(actions, "watch", _watch, help="tell what happens in a run until Ctrl-C")
    _add_config(actions)


def _add_config(actions: Any) -> None:
    config = actions.add_parser(
        "config", help="a run's configuration: show, change, roll back", description="The configuration of a run."
    )
    words = config.add_subparsers(required=True, metavar="ACTION")
    show = _of_run(words, "show", _config_show, help="the configuration as JSON")
    show.add_argument("--revision", type=int, metavar="N", help="at this revision (default: the newest)")
    change = _of_run(words, "set", _config_set, help="change fields, e.g. algorithm.gamma=0.99; null is a field's default")
    change.add_argument("changes", nargs="+", metavar="KEY=VALUE", help="a field and its new value; lists are written as JSON")
    change.add_argument("--dry-run", action="store_true", help="only say what it would do")
    _of_run(words, "edit", _config_edit, help="change it as JSON in your editor (VISUAL or EDITOR)")
    _of_run(words, "history", _config_history, help="who changed what, and when")
    rollback = _of_run(words, "rollback", _config_rollback, help="go back to the configuration of an earlier revision")
    rollback.add_argument("to", type=int, metavar="N", help="the revision")


def _of_run(actions: Any, name: str, does: Action, *, help: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, does, help=help)
    parser.add_argument("run", metavar="RUN", help="name of the run")
    return parser


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a field of its configuration, e.g. algorithm.gamma=0.99",
    )


def _add_start(parser: argparse.ArgumentParser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--start", dest="start", action="store_const", const="now", default="no", help="start it at once")
    start.add_argument("--queue", dest="start", action="store_const", const="queue", help="start it when a trainer is free")


# Runs


def _list(client: Client, options: argparse.Namespace) -> int:
    answer = client.get("runs")
    if options.json:
        print_json(answer)
        return 0
    columns = ("run", "state", "updates", "per s", "transitions", "episodes", "best lap", "trainer", "workers")
    rows = [
        (
            run["name"],
            _state(run),
            f"{run['update']:,}",
            number(run["updates_per_s"], 1),
            f"{run['transitions']:,}",
            f"{run['episodes']:,}",
            _lap(run["best_lap_s"]),
            run["trainer"] or "–",
            ", ".join(run["workers"]) or "–",
        )
        for run in answer["items"]
    ]
    print_table(columns, rows, "there is no run yet: `tmrld run new NAME --preset demo --start` makes one")
    for run in answer["items"]:
        if run["problem"]:
            print(f"{run['name']} has a problem: {run['problem']}")
    return 0


def _state(run: Mapping[str, Any]) -> str:
    state = f"queued ({run['queued_position']})" if run["queued_position"] else str(run["state"])
    return f"{state}, with a problem" if run["problem"] else state


def _presets(client: Client, options: argparse.Namespace) -> int:
    answer = client.get("presets")
    if options.json:
        print_json(answer)
        return 0
    print_table(("preset", "what it is"), [(each["name"], each["description"]) for each in answer["items"]], "")
    return 0


def _new(client: Client, options: argparse.Namespace) -> int:
    config = merged(_run_of(options.file), _patch(options.set)) if options.file else _patch(options.set)
    body = {"name": options.name, "preset": options.preset, "config": config, "start": options.start}
    return _told(client, client.post("runs", body=body), options, made=True)


def _clone(client: Client, options: argparse.Namespace) -> int:
    body = {"name": options.name, "config": _patch(options.set), "start": options.start}
    return _told(client, client.post("runs", options.run, "clone", body=body), options, made=True)


def _move(verb: str) -> Action:
    def move(client: Client, options: argparse.Namespace) -> int:
        return _told(client, client.post("runs", options.run, verb), options)

    return move


def _told(client: Client, run: dict[str, Any], options: argparse.Namespace, *, made: bool = False) -> int:
    """Say how a run is after what was asked of it; of one that was ``made``, also how it starts."""
    if options.json:
        print_json(run)
    else:
        place = f", number {run['queued_position']} in the queue" if run["queued_position"] else ""
        begin = f": `tmrld run start {run['name']}` starts it" if made and run["state"] == "stopped" else ""
        state = f"started and {waits}" if (waits := _wait_for_a_trainer(client, run)) else run["state"]
        print(f"{run['name']} is {state}{place}{begin}")
    return 0


def _wait_for_a_trainer(client: Client, run: dict[str, Any]) -> str:
    """What a run waits for that all trainers leave alone; "" for one that has a trainer, or gets one at once."""
    if run["state"] != "running" or run["trainer"]:
        return ""
    trainers = [node for node in client.get("nodes")["items"] if node["role"] == "trainer" and node["connected"]]
    if not trainers:
        return "waits for a trainer: none is connected"
    if any(node["run"] in ("", run["name"]) for node in trainers):
        return ""
    return "waits for a trainer: " + ", ".join(f"{node['name']} works for {node['run']}" for node in trainers)


def _show(client: Client, options: argparse.Namespace) -> int:
    run = client.get("runs", options.run)
    if options.json:
        print_json(run)
        return 0
    rows = [
        ("state", run["state"]),
        *([("problem", run["problem"])] if run["problem"] else []),
        ("made", moment(run["created"])),
        ("configuration", f"revision {run['revision']}"),
        ("environment", f"{run['config']['environment']['id']}, track {run['config']['environment']['track']}"),
        *_files_of(run["config"]),
        ("trainer", run["trainer"] or _no_trainer(run)),
        ("workers", ", ".join(run["workers"]) or "none"),
        ("updates", f"{run['update']:,}, {number(run['updates_per_s'], 1)} per second"),
        ("transitions", f"{run['transitions']:,}"),
        ("episodes", f"{run['episodes']:,}, the last with a return of {number(run['last_return'])}"),
        ("best lap", _lap(run["best_lap_s"])),
        ("weights", f"version {run['weights_version']}" if run["weights_version"] else "none yet"),
    ]
    print_table((run["name"], ""), rows, "")
    return 0


def _files_of(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What on the shelf it refers to, as rows."""
    if start := config["training"].get("start_from"):
        yield "starts from", start
    if policy := config["collection"].get("policy"):
        yield "driven by", policy
    if names := config["replay"].get("demonstrations"):
        yield "demonstrations", f"{', '.join(names)}: {config['replay']['demonstration_share']:.0%} of each batch"


def _no_trainer(run: Mapping[str, Any]) -> str:
    return "none yet: `tmrld node list` shows what the trainers do" if run["state"] == "running" else "none"


def _delete(client: Client, options: argparse.Namespace) -> int:
    client.delete("runs", options.run)
    if options.json:
        print_json({"deleted": options.run})
    else:
        print(f"{options.run} is deleted")
    return 0


def _watch(client: Client, options: argparse.Namespace) -> int:
    client.get("runs", options.run)  # a name that does not exist is told at once
    for message in client.live(WATCHED, options.run):
        if message["kind"] != "event" or message.get("run") != options.run:
            continue
        if options.json:
            print(json.dumps(message), flush=True)
        elif line := _line(message["topic"], message["data"]):
            print(f"{moment(message['time'])[11:]}  {line}", flush=True)
        if message["data"].get("deleted"):
            break
    return 0


def _line(topic: str, data: Mapping[str, Any]) -> str:
    """An event of a run as a line; "" for what says nothing to people."""
    match topic:
        case "run" if "state" in data:
            return f"the run is {data['state']}"
        case "run" if "revision" in data:
            return f"its configuration is at revision {data['revision']}"
        case "run" if "deleted" in data:
            return "the run is deleted"
        case "metrics" if (pace := data["values"].get("updates_per_s")) is not None:  # others are curves of episodes
            return f"update {data['update']:,}, {data['transitions']:,} transitions, {number(pace, 1)} updates per second"
        case "episode":
            lap = f", lap {_lap(data['lap_time_s'])}" if data["lap_time_s"] is not None else ""
            return f"{data['worker']} drove ({data['purpose']}): return {number(data['episode_return'])}, {data['steps']} steps{lap}"
        case "weights":
            return f"weights version {data['version']} at update {data['update']:,}"
        case "problem":
            return f"problem: {data.get('detail', '')}"
    return ""


def _lap(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f} s"


# Configuration


def _config_show(client: Client, options: argparse.Namespace) -> int:
    if options.revision is None:
        answer = client.get("runs", options.run, "config")
    else:
        answer = client.get("runs", options.run, "config", "revisions", str(options.revision))
    if options.json:
        print_json(answer)
    else:
        print(json.dumps(answer["config"], indent=2))
    return 0


def _config_set(client: Client, options: argparse.Namespace) -> int:
    newest = client.get("runs", options.run, "config")["revision"]
    patch = _patch(options.changes)
    edit = client.patch("runs", options.run, "config", body=patch, revision=newest, dry_run=options.dry_run)
    return _edited(edit, options, dry_run=options.dry_run)


def _config_edit(client: Client, options: argparse.Namespace) -> int:
    newest = client.get("runs", options.run, "config")
    edited = _in_editor(json.dumps(newest["config"], indent=2) + "\n")
    patch = difference(newest["config"], edited)
    return _edited(client.patch("runs", options.run, "config", body=patch, revision=newest["revision"]), options)


def _config_history(client: Client, options: argparse.Namespace) -> int:
    answer = client.get("runs", options.run, "config", "revisions")
    if options.json:
        print_json(answer)
        return 0
    rows = [
        (str(each["revision"]), moment(each["time"]), each["author"], "\n".join(_change(change) for change in each["changes"]))
        for each in answer["items"]
    ]
    print_table(("revision", "when", "who", "what"), rows, "")
    return 0


def _config_rollback(client: Client, options: argparse.Namespace) -> int:
    newest = client.get("runs", options.run, "config")["revision"]
    edit = client.post("runs", options.run, "config", "rollback", body={"to": options.to, "revision": newest})
    return _edited(edit, options)


def _edited(edit: dict[str, Any], options: argparse.Namespace, *, dry_run: bool = False) -> int:
    """Say what an edit has done."""
    if options.json:
        print_json(edit)
        return 0
    if not edit["changes"]:
        print("nothing differs")
        return 0
    for change in edit["changes"]:
        print(f"{_change(change)} ({APPLIES[change['applies']]})")
    print("nothing was changed: this was a dry run" if dry_run else f"{options.run} is at revision {edit['revision']}")
    return 0


def _change(change: Mapping[str, Any]) -> str:
    return f"{change['path']}: {json.dumps(change['before'])} → {json.dumps(change['after'])}"


def _patch(texts: list[str]) -> dict[str, Any]:
    """``KEY=VALUE`` after ``KEY=VALUE`` as a merge patch; keys are those of a run's configuration."""
    patch: dict[str, Any] = {}
    for text in texts:
        if "=" not in text:
            raise BadInput(f"{text!r} is not KEY=VALUE, for example algorithm.gamma=0.99")
        patch = merged(patch, assignment(f"run.{text}")["run"])
    return patch


def _run_of(file: Path) -> dict[str, Any]:
    """What a settings file says of a run, as a merge patch; its name is another's."""
    try:
        run = tomllib.loads(file.read_text("utf-8")).get("run")
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}): give the path of a settings file") from error
    except ValueError as error:
        raise BadInput(f"{file} is not valid TOML: {error}") from error
    if not isinstance(run, dict):
        raise BadInput(f"{file} says nothing of a run: there is no [run] in it")
    return {name: value for name, value in run.items() if name != "name"}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes the second document of the first: what was taken out becomes null."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            if below := difference(old, value):
                patch[key] = below
        elif key not in before or old != value:
            patch[key] = value
    return patch


def _in_editor(text: str) -> dict[str, Any]:
    """Let a person edit this JSON object.  Raises BadInput for what is none any more, Conflict when the editor fails."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if sys.platform == "win32" else "vi")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "configuration.json"
        path.write_text(text, "utf-8")
        try:
            done = subprocess.run([*shlex.split(editor, posix=sys.platform != "win32"), str(path)], check=False)  # noqa: S603
        except OSError as error:
            raise Conflict(f"the editor {editor!r} cannot be started ({error.strerror}): name another one in EDITOR") from error
        if done.returncode != 0:
            raise Conflict(f"nothing was changed: the editor {editor!r} ended with status {done.returncode}")
        try:
            edited = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise BadInput(f"nothing was changed: what you saved is not JSON ({error})") from error
    if not isinstance(edited, dict):
        raise BadInput("nothing was changed: a configuration is a JSON object")
    return edited
