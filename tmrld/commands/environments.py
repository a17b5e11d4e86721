"""`tmrld env`: environments alone, without training: listed, driven, and looked at."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.commands.flags import add_settings_flags, load_settings, positive, whole
from tmrld.errors import BadInput

if TYPE_CHECKING:
    from tmrld.envs.options import EnvironmentOptions
    from tmrld.envs.sim.film import Film
    from tmrld.payloads import Array, EpisodeSummary


def add(commands: Any) -> None:
    """Add `tmrld env` to the command line."""
    env = commands.add_parser("env", help="environments alone, without training")
    actions = env.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="the environments that tmrld brings").set_defaults(command=_list)
    run = actions.add_parser("run", help="drive episodes with a policy and report them")
    add_settings_flags(run)
    run.add_argument("id", help="a Gymnasium id such as tmrld/TM20Lidar-v0, or module:attribute")
    run.add_argument("--policy", default="random", metavar="random|scripted|FILE", help="who drives (default: random)")
    run.add_argument("--episodes", type=positive, default=3, metavar="N", help="how many (default: 3)")
    run.add_argument("--seed", type=whole, default=0, metavar="N", help="seed of the first episode (default: 0)")
    run.add_argument("--track", metavar="NAME", help="track to drive (default: the setting run.environment.track)")
    run.add_argument("--perturbed", action="store_true", help="start as evaluation does: off the line, askew, other grip")
    run.add_argument("--json", action="store_true", help="one JSON object on the last line")
    run.set_defaults(command=_run)
    view = actions.add_parser("view", help="drive an episode in the simulator and write it as a picture or a video")
    add_settings_flags(view)
    view.add_argument("id", nargs="?", help="an id of ours (default: the setting run.environment.id)")
    view.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .png of one moment, or an .mp4 of the episode")
    view.add_argument(
        "--policy",
        default="scripted",
        metavar="random|scripted|FILE",
        help="who drives: a file is weights, or a .csv with an action per line (default: scripted)",
    )
    view.add_argument("--track", metavar="NAME", help="track to drive (default: the setting run.environment.track)")
    view.add_argument("--seed", type=whole, default=0, metavar="N", help="seed of the episode (default: 0)")
    view.add_argument("--perturbed", action="store_true", help="start as evaluation does: off the line, askew, other grip")
    length = view.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive, metavar="N", help="stop after so many steps (default: when the episode ends)")
    length.add_argument("--seconds", type=_seconds, metavar="S", help="stop after so many seconds")
    view.add_argument("--at", type=_seconds, metavar="S", help="the moment of a .png, in seconds (default: the middle)")
    view.set_defaults(command=_view)


def _list(_options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.registry import known

    for id, description in known():
        print(f"{id:28} {description}")
    return 0


def _run(options: argparse.Namespace, _began: float) -> int:
    from tmrld.worker.driving import drives

    environment = _environment(options)
    done = []
    for drive in drives(environment, options.policy, options.episodes, options.seed, perturbed=options.perturbed):
        done.append(drive)
        summary = drive.summary
        print(
            f"seed {drive.seed}: {_lap(summary)}return {summary.episode_return:.2f}, {summary.steps} steps, "
            f"{drive.steps_per_s:,.0f} steps/s"
        )
    laps = [drive.summary.lap_time_s for drive in done if drive.summary.lap_time_s is not None]
    result = {
        "id": options.id,
        "policy": options.policy,
        "episodes": len(done),
        "finished": sum(drive.summary.finished for drive in done),
        "lap_times_s": laps,
        "median_lap_s": statistics.median(laps) if laps else None,
        "mean_return": statistics.fmean(drive.summary.episode_return for drive in done),
        "steps_per_s": statistics.median(drive.steps_per_s for drive in done),
    }
    if options.json:
        print(json.dumps(result))
    else:
        best = f", best lap {min(laps):.2f} s" if laps else ""
        print(f"{result['finished']} of {len(done)} finished{best}, mean return {result['mean_return']:.2f}")
    return 0


def _view(options: argparse.Namespace, _began: float) -> int:
    out = _picture_file(options.out)
    if options.at is not None and out.suffix.lower() != ".png":
        raise BadInput(f"--at picks the moment of a .png, and {out} shows the whole episode: leave it out, or write a .png")
    from tmrld.worker import filming, pictures

    environment = _environment(options)
    filming.check_has_picture(environment)
    if out.suffix.lower() == ".mp4":
        pictures.check_codec()
    steps = options.steps
    if options.seconds is not None:
        steps = max(1, round(options.seconds / environment.time_step_s))
    if steps is not None and steps > environment.max_steps:
        environment = environment.model_copy(update={"max_steps": steps})
    film = filming.filmed(environment, options.policy, options.seed, perturbed=options.perturbed, steps=steps)
    if out.suffix.lower() == ".png":
        index = len(film) // 2 if options.at is None else film.index_at(options.at)
        pictures.write_png(out, film.frame(index))
        print(f"{out}: step {index + 1} of {len(film)}, {film.time_s(index):.2f} s after the start, {_progress(film, index)}")
        return 0
    started = time.perf_counter()
    pictures.write_mp4(out, _shown(film, f"drawing {out.name}"), environment.time_step_s)
    took_s = time.perf_counter() - started
    drawn = f"drawn at {len(film) / took_s:.0f} frames/s"
    print(f"{out}: {len(film)} steps, {film.time_s(-1):.1f} s, {_progress(film, -1)}, {drawn}")
    return 0


def _progress(film: Film, index: int) -> str:
    """How far the car had come."""
    info = film.scenes[index].info
    return f"lap {info['lap_time_s']:.2f} s" if info["finished"] else f"{info['progress']:.0%} of the track"


def _picture_file(out: Path) -> Path:
    """The file to write, checked before anything is driven.  Raises BadInput."""
    if out.suffix.lower() not in (".png", ".mp4"):
        ending = f"ends in {out.suffix!r}" if out.suffix else "has no ending"
        raise BadInput(f"--out {str(out)!r} {ending}: expected .png for a picture or .mp4 for a video")
    if not out.parent.is_dir():
        raise BadInput(
            f"--out {str(out)!r} is to be written into {str(out.parent)!r}, which is no folder: make it, or name another"
        )
    if out.is_dir():
        raise BadInput(f"--out {str(out)!r} is a folder: name a file")
    return out


def _shown(frames: Film, what: str) -> Iterator[Array]:
    """The frames, with a bar on the terminal that shows how far it is."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(frames, what, total=len(frames), console=console, transient=True, disable=not console.is_terminal)


def _environment(options: argparse.Namespace) -> EnvironmentOptions:
    """The environment of the settings, with what the flags say.  Raises SettingsError."""
    environment = load_settings(options).run.environment
    changes = {"id": options.id, "track": options.track}
    return environment.model_copy(update={key: value for key, value in changes.items() if value})


def _seconds(text: str) -> float:
    """A flag's value as seconds, more than 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _lap(summary: EpisodeSummary) -> str:
    """How far it came; nothing where there are no laps."""
    if summary.lap_time_s is not None:
        return f"lap {summary.lap_time_s:.2f} s, "
    return "" if math.isnan(summary.progress) else f"no lap ({summary.progress:.0%} of the track), "
