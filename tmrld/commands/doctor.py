"""`tmrld doctor`: what is wrong with this machine, its network and the game, and what mends it."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.commands.asking import connect_here, print_json
from tmrld.commands.flags import add_game_flag, add_settings_flags, load_settings, positive
from tmrld.doctor.diagnosis import STATES, Diagnosis, worst
from tmrld.errors import BadInput, SettingsError, TmrldError
from tmrld.settings import Settings, file_read

if TYPE_CHECKING:
    from tmrld.doctor.report import Report
    from tmrld.envs.options import EnvironmentOptions

RECORDED_S = 60
COLOURS = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def add(commands: Any) -> None:
    """Add `tmrld doctor` to the command line."""
    doctor = commands.add_parser(
        "doctor",
        help="what is wrong with this machine, and what mends it",
        description="Look at this machine, its network and the game, and say what is wrong and what mends it.  Ends with status 1 "
        "where something is wrong.",
    )
    add_settings_flags(doctor)
    add_game_flag(doctor)
    doctor.add_argument("--all", action="store_true", help="look also at what these settings do not ask for")
    doctor.add_argument("--record", type=Path, metavar="FILE", help="keep all that was seen in a file, without any secret")
    doctor.add_argument(
        "--seconds",
        type=positive,
        metavar="S",
        help=f"watch the game for so long (default: {RECORDED_S} with --record, else 5)",
    )
    doctor.add_argument("--drive", action="store_true", help="drive the car a little, to see whether the game obeys")
    doctor.add_argument("--replay", type=Path, metavar="FILE", help="judge what was kept in a file, and look at nothing here")
    doctor.add_argument(
        "--jpeg", type=Path, metavar="FILE", help="write what is seen of the game there, with the LIDAR's beams"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON, for scripts")
    doctor.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace, _began: float) -> int:
    from tmrld.doctor.report import judge, load, save

    if options.replay is not None:
        if options.record is not None:
            raise BadInput("--replay looks at nothing that --record could keep: give one of them")
        report = load(options.replay)
        made = datetime.fromtimestamp(report.made).astimezone()
        print(f"recorded on {made:%Y-%m-%d at %H:%M %Z}, with tmrld {report.machine.software.tmrld}", file=sys.stderr)
    else:
        for path in (options.record, options.jpeg):
            if path is not None and not path.absolute().parent.is_dir():
                raise BadInput(f"{path} cannot be written: there is no folder {path.absolute().parent}")
        report = _looked(options)
    found = judge(report)
    if options.record is not None:
        size = save(options.record, report)
        print(f"all that was seen is in {options.record} ({size / 1e3:,.0f} kB), without any secret", file=sys.stderr)
    if options.jpeg is not None:
        _write_picture(options.jpeg, report)
    if options.json:
        print_json({"state": worst(found), "diagnoses": [each.plain() for each in found]})
    else:
        print_diagnoses(found)
    return 1 if worst(found) == "wrong" else 0


def _looked(options: argparse.Namespace) -> Report:
    from tmrld.doctor.examining import GAME_S, examine

    file, error = options.config, ""
    try:
        file = file_read(options.config)
        settings = load_settings(options)
    except SettingsError as trouble:
        settings, error = Settings(), str(trouble)
    with _Telling() as telling:
        return examine(
            settings,
            environment=None if options.game else _world_here(settings),
            game=options.game,
            everything=options.all,
            seconds=float(options.seconds or (RECORDED_S if options.record is not None else GAME_S)),
            drive=options.drive,
            settings_file="" if file is None else str(file),
            settings_error=error,
            say=telling.say,
        )


def _world_here(settings: Settings) -> EnvironmentOptions | None:
    """The world of the run that a relay of this machine has active; None where none runs, or it has none."""
    from pydantic import ValidationError

    from tmrld.envs.options import EnvironmentOptions

    if settings.roles and "relay" not in settings.roles:
        return None
    try:
        runs = connect_here(settings).get("runs")["items"]
        active = next((run for run in runs if run["state"] in ("running", "paused")), None)
        return None if active is None else EnvironmentOptions.model_validate(active["config"]["environment"])
    except (TmrldError, ValidationError, KeyError):
        return None


class _Telling:
    """Tells on the terminal what is being looked at; elsewhere nothing."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._width = 0

    def __enter__(self) -> _Telling:
        return self

    def say(self, what: str) -> None:
        """The line before is forgotten."""
        if self._shown:
            self._replace(f"looking: {what} …")

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._replace("")
            print("\r", end="", file=sys.stderr, flush=True)

    def _replace(self, line: str) -> None:
        """With blanks over what was longer, since not every terminal of Windows knows how to clear a line."""
        line = line[: shutil.get_terminal_size().columns - 1]
        print(f"\r{line:{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(line)


def _write_picture(path: Path, report: Report) -> None:
    from tmrld.doctor.game import picture_with_beams
    from tmrld.storage.files import write_atomic

    picture = picture_with_beams(report.game) if report.game is not None else b""
    if not picture:
        raise BadInput(f"nothing was seen of the game that could be written to {path}: --game trackmania looks at it")
    write_atomic(path, picture)
    print(f"what is seen is in {path}", file=sys.stderr)


def print_diagnoses(found: Sequence[Diagnosis]) -> None:
    """For people: area by area, what mends it beneath, and at the end how much there is to do and what comes first."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, soft_wrap=True)
    by_area: dict[str, list[Diagnosis]] = {}
    for each in found:
        by_area.setdefault(each.area, []).append(each)
    for area, group in by_area.items():
        console.print(Text(area, "bold"))
        for each in group:
            console.print(Text(f"  {each.state:5} ", COLOURS[each.state]), Text(f"{each.check}: {each.text}"), sep="")
            if each.mend:
                console.print(Text(f"          -> {each.mend}"))
    console.print()
    console.print(Text(summary(found), COLOURS[worst(found)]))


def summary(found: Sequence[Diagnosis]) -> str:
    """The last line."""
    count = {state: sum(each.state == state for each in found) for state in STATES}
    notes = f"{count['note']} note{'s' * (count['note'] != 1)}"
    first = next((each for each in found if each.state == "wrong"), None)
    if first is None:
        return f"nothing is wrong ({count['ok']} ok, {notes})"
    return f"{count['wrong']} wrong, {notes}.  First, about {first.check} ({first.area}): {first.mend}"
