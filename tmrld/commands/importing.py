"""`tmrld import-tmrl`: the line, the policies and the configuration that somebody has in TMRL's folder, as a run of ours."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.client import Client
from tmrld.commands.asking import add_relay_flags, connect, print_json, print_table
from tmrld.commands.track.files import local_shelf
from tmrld.commands.track.relayed import told_of
from tmrld.commands.track.shelved import name_from, read_points
from tmrld.errors import BadInput, Conflict, LinkLost, NotFound, Refused, StorageError
from tmrld.storage.files import explaining, replace_file
from tmrld.storage.layout import checked_run_name
from tmrld.storage.shelf import Item, Shelf

if TYPE_CHECKING:
    from tmrld.tmrl.config import Entry, Translation


def add(commands: Any) -> None:
    """Add `tmrld import-tmrl` to the command line."""
    bring = commands.add_parser(
        "import-tmrl",
        help="go on with what you have in TMRL: its line, its policies, its config.json",
        description="Take over TMRL's folder TmrlData: the recorded line and the policies (.tmod) go on this machine's shelf, and "
        "config.json becomes a run that drives as TMRL does and starts from the policy of its RUN_NAME.  The run is made on the "
        "relay, if one answers, and is written to a settings file otherwise.  Nothing in that folder is changed, and no program in "
        "it is run.",
    )
    bring.add_argument("folder", type=Path, metavar="FOLDER", help="TMRL's folder, usually TmrlData in your home")
    bring.add_argument("--name", metavar="RUN", help="name of the run, and of the track (default: from RUN_NAME)")
    start = bring.add_mutually_exclusive_group()
    start.add_argument("--start", dest="start", action="store_const", const="now", default="no", help="start the run at once")
    start.add_argument("--queue", dest="start", action="store_const", const="queue", help="start it when a trainer is free")
    bring.add_argument(
        "--output", type=Path, metavar="FILE", help="where the settings file goes without a relay (RUN.toml here)"
    )
    bring.add_argument("--force", action="store_true", help="replace tracks, weights and a file of the same names")
    bring.add_argument("--json", action="store_true", help="print JSON, for scripts")
    add_relay_flags(bring)
    bring.set_defaults(command=_import)


@dataclass
class Brought:
    """What has come over, and what has not."""

    translation: Translation
    run: str
    patch: dict[str, Any]
    track: Item | None = None
    weights: dict[str, Item] = field(default_factory=dict)
    """By the name of their file."""
    problems: list[str] = field(default_factory=list)


def _import(options: argparse.Namespace, _began: float) -> int:
    from tmrld.tmrl.config import MAX_BYTES, read

    folder: Path = options.folder.expanduser()
    file = folder / "config" / "config.json"
    if not file.is_file():
        raise BadInput(f"{folder} is no folder of TMRL's: there is no {file}. Give the folder TmrlData that TMRL has made")
    translation = read(_read_file(file, MAX_BYTES))
    run = checked_run_name(options.name or name_from(translation.run_name))
    brought = Brought(translation, run, translation.patch)
    shelf = local_shelf(options)
    _bring_track(brought, folder / "reward" / "reward.pkl", shelf, replace=options.force)
    _bring_weights(brought, folder / "weights", shelf, replace=options.force)
    where = _make_run(brought, shelf, options)
    if options.json:
        print_json(
            {
                **where,
                "track": brought.track and brought.track.name,
                "weights": {name: item.name for name, item in brought.weights.items()},
                "problems": brought.problems,
                "config": brought.patch,
                "keys": [asdict(entry) for entry in translation.entries],
            }
        )
    else:
        _report(brought, where)
    return 0


def _bring_track(brought: Brought, file: Path, shelf: Shelf, *, replace: bool) -> None:
    """The recorded line, on the shelf under the run's name."""
    from tmrld import shelving

    brought.patch = _with(brought.patch, "environment", track=brought.run)
    if not file.is_file():
        brought.problems.append(f"there is no {file}: record the track with `tmrld track record {brought.run}`")
        return
    try:
        data = shelving.track_file(read_points(file))
        about = {**shelving.about("tracks", data), "source": "imported"}
        brought.track = shelf.put("tracks", brought.run, data, about, replace=replace)
    except BadInput as error:
        brought.problems.append(f"{error}: record the track with `tmrld track record {brought.run}`")


def _bring_weights(brought: Brought, folder: Path, shelf: Shelf, *, replace: bool) -> None:
    """Every policy that fits the configuration, on the shelf under its file's name; the run starts from that of its own name."""
    from tmrld import shelving
    from tmrld.envs.options import EnvironmentOptions
    from tmrld.envs.trackmania.spec import flavour_spec
    from tmrld.tmrl import tmod, weights

    spec = flavour_spec(EnvironmentOptions(**brought.translation.patch["environment"]))
    networks = {}
    for file in sorted(folder.glob("*.tmod")):
        try:
            policy = weights.policy(
                tmod.read(_read_file(file, tmod.MAX_FILE_BYTES), f"the file {file}"), spec, f"the file {file}"
            )
            data = weights.weights(policy, spec, brought.run).data
            name = name_from(file.stem)
            known = next((item for item in shelf.items("weights") if item.name == name), None)
            if known is None or not weights.are_same(shelf.read("weights", name), data):
                known = shelf.put("weights", name, data, shelving.about("weights", data), replace=replace)
            brought.weights[file.stem] = known
            networks[file.stem] = policy.network
        except (BadInput, Conflict, StorageError) as error:
            brought.problems.append(str(error))
    run_name = brought.translation.run_name
    for stem in (run_name, f"{run_name}_t"):  # the worker's copy, or the trainer's
        if stem in networks:
            brought.patch = _with(brought.patch, "training", start_from=brought.weights[stem].name)
            brought.patch = {**brought.patch, "network": networks[stem].model_dump(mode="json")}
            return
    brought.problems.append(f"there is no policy {folder / run_name}.tmod that could be taken over: the run starts at random")


def _with(patch: dict[str, Any], group: str, **values: Any) -> dict[str, Any]:
    return {**patch, group: {**patch.get(group, {}), **values}}


def _read_file(file: Path, most_bytes: int) -> bytes:
    with explaining("read", file):
        if file.stat().st_size > most_bytes:
            raise BadInput(f"{file} is larger than {most_bytes:,} bytes, which no such file of TMRL's is")
        return file.read_bytes()


# The run


def _make_run(brought: Brought, shelf: Shelf, options: argparse.Namespace) -> dict[str, Any]:
    """Make it on the relay, or write it down where none answers; says where it is."""
    if brought.track is not None and not options.output:
        try:
            client = connect(options)
            client.get("runs")
        except (LinkLost, Refused) as error:
            brought.problems.append(f"the run was not made on a relay: {error}")
        else:
            return _on_relay(brought, shelf, client, options)
    path: Path = options.output or Path(f"{brought.run}.toml")
    if path.exists() and not options.force:
        raise Conflict(f"{path} exists already: name another file with --output, or replace it with --force")
    partial = path.with_name(f"{path.name}.part")
    with explaining("write", path):
        partial.write_text(_settings_file(brought), "utf-8")
        replace_file(partial, path)
    return {"run": brought.run, "file": str(path)}


def _on_relay(brought: Brought, shelf: Shelf, client: Client, options: argparse.Namespace) -> dict[str, Any]:
    """What the run needs goes to the relay's shelf, unless it is there; then the run is made."""
    needed = [brought.track] if brought.track else []
    needed += [item for item in brought.weights.values() if item.name == brought.patch["training"].get("start_from")]
    for item in needed:
        try:
            if client.get(item.kind, item.name)["sha256"] == item.sha256:
                continue
        except NotFound:
            pass
        facts = told_of(item) if item.kind == "tracks" else {}
        client.upload(item.kind, item.name, data=shelf.read(item.kind, item.name), replace=options.force or None, **facts)
    body = {"name": brought.run, "preset": None, "config": brought.patch, "start": options.start}
    made = client.post("runs", body=body)
    return {"run": brought.run, "state": made["state"]}


def _settings_file(brought: Brought) -> str:
    """The run as a settings file: of a new relay's first run, of `tmrld run new --from`, of the commands `tmrld env`."""
    lines = [
        f"# The run {brought.run}, made of TMRL's config.json by `tmrld import-tmrl`.",
        f"# On a relay: tmrld run new {brought.run} --from THIS_FILE; here alone: tmrld up --config THIS_FILE",
        "",
        "[run]",
        f"name = {json.dumps(brought.run)}",
        *_tables(brought.patch, "run"),
    ]
    return "\n".join(lines) + "\n"


def _tables(tree: dict[str, Any], path: str) -> list[str]:
    lines = []
    for name, value in tree.items():
        if isinstance(value, dict):
            lines += [
                "",
                f"[{path}.{name}]",
                *(f"{key} = {json.dumps(each)}" for key, each in value.items() if not isinstance(each, dict)),
            ]
            lines += _tables({key: each for key, each in value.items() if isinstance(each, dict)}, f"{path}.{name}")
    return lines


# What is told


def _report(brought: Brought, where: dict[str, Any]) -> None:
    print_table(("TMRL's key", "its value", "becomes", ""), map(_row, brought.translation.entries), "")
    print()
    if brought.track is not None:
        print(f"track {brought.track.name}: {brought.track.about['length_m']:,.0f} m, {brought.track.about['points']:,} points")
    for name, item in brought.weights.items():
        print(f"weights {item.name}: of {name}.tmod")
    for problem in brought.problems:
        print(f"note: {problem}")
    if "file" in where:
        print(
            f"the run is in {where['file']}: `tmrld run new {brought.run} --from {where['file']}` makes it on a relay, "
            f"`tmrld up --config {where['file']}` here"
        )
        if start := brought.patch.get("training", {}).get("start_from"):
            id = brought.patch["environment"]["id"]
            print(f"`tmrld env run {id} --policy {start} --config {where['file']}` drives with the policy as it is")
    else:
        begin = "" if where["state"] in ("running", "queued") else f": `tmrld run start {brought.run}` starts it"
        print(f"{brought.run} is {where['state']}{begin}")


def _row(entry: Entry) -> tuple[str, str, str, str]:
    becomes = f"{entry.field} = {json.dumps(entry.ours)}" if entry.field else "no equivalent"
    return entry.key or "–", json.dumps(entry.value) if entry.key else "", becomes, entry.note
