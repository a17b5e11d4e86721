"""`tmrld env view`: an episode in a window while it is driven, or as a picture or a video afterwards."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.commands.env.flags import WEIGHTS, add_driver, add_environment, environment_of, policy_of, told
from tmrld.commands.flags import positive
from tmrld.errors import BadInput

if TYPE_CHECKING:
    from tmrld.envs.sim.film import Film
    from tmrld.payloads import Array


def add(actions: Any) -> None:
    """Add `view`."""
    view = actions.add_parser(
        "view",
        help="see what the AI sees: in a window, or as a picture or a video",
        description="Drive in a window that shows what the AI sees and does, in real time: in the simulator, or in TrackMania, whose "
        "own window it must not cover. With --out, drive an episode in the simulator and write it as a picture or a video, without a "
        "display.",
    )
    add_environment(view, needs_id=False)
    view.add_argument("--out", type=Path, metavar="FILE", help="a .png of one moment, or an .mp4 of the episode; no window")
    add_driver(
        view,
        policy=None,
        metavar="random|scripted|WEIGHTS|human",
        help=f"who drives; {WEIGHTS}; for --out a .csv with an action per line, too (default: scripted where it sees enough, "
        "otherwise random; in TrackMania human, who drives in the game)",
    )
    length = view.add_mutually_exclusive_group()
    length.add_argument(
        "--steps", type=positive, metavar="N", help="stop after so many steps (default: when the episode, or you, end it)"
    )
    length.add_argument("--seconds", type=_seconds, metavar="S", help="stop after so many seconds")
    view.add_argument("--at", type=_seconds, metavar="S", help="the moment of a .png, in seconds (default: the middle)")
    view.set_defaults(command=_view)


def _seconds(text: str) -> float:
    """A flag's value as seconds, more than 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _view(options: argparse.Namespace, _began: float) -> int:
    if options.out is not None:
        return _film(options, _picture_file(options.out))
    if options.at is not None:
        raise BadInput("--at picks the moment of a .png: name one with --out, or leave it out")
    return _live(options)


# In a window


def _live(options: argparse.Namespace) -> int:
    from tmrld.worker.driving import for_a_person, usual_policy
    from tmrld.worker.live import watched

    environment = environment_of(options)
    policy = policy_of(options, environment) or ("human" if environment.game == "trackmania" else usual_policy(environment))
    if policy == "human":
        environment = for_a_person(environment)
    environment = environment.model_copy(update={"clock": "realtime"})
    steps = options.steps
    if options.seconds is not None:
        steps = max(1, round(options.seconds / environment.time_step_s))
    drives = watched(
        environment,
        policy,
        options.seed,
        steps=steps,
        perturbed=options.perturbed,
        say=lambda sentence: print(sentence, flush=True),
        instead="write a picture or a video: --out FILE",
    )
    for drive in drives:
        print(told(drive, pace=False), flush=True)
    return 0


# As a file


def _film(options: argparse.Namespace, out: Path) -> int:
    if options.at is not None and out.suffix.lower() != ".png":
        raise BadInput(f"--at picks the moment of a .png, and {out} shows the whole episode: leave it out, or write a .png")
    if options.policy == "human":
        raise BadInput("--out shows an episode that a policy has driven: leave it out to drive yourself")
    from tmrld.worker import filming, pictures
    from tmrld.worker.driving import usual_policy

    environment = environment_of(options)
    filming.check_has_picture(environment)
    if out.suffix.lower() == ".mp4":
        pictures.check_codec()
    steps = options.steps
    if options.seconds is not None:
        steps = max(1, round(options.seconds / environment.time_step_s))
    if steps is not None and steps > environment.max_steps:
        environment = environment.model_copy(update={"max_steps": steps})
    policy = policy_of(options, environment) or usual_policy(environment)
    film = filming.filmed(environment, policy, options.seed, perturbed=options.perturbed, steps=steps)
    if out.suffix.lower() == ".png":
        index = len(film) // 2 if options.at is None else film.index_at(options.at)
        pictures.write_png(out, film.frame(index))
        print(f"{out}: step {index + 1} of {len(film)}, {film.time_s(index):.2f} s after the start, {_progress(film, index)}")
        return 0
    started = time.perf_counter()
    pictures.write_mp4(out, _counted(film, f"drawing {out.name}"), environment.time_step_s)
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


def _counted(frames: Film, what: str) -> Iterator[Array]:
    """The frames, with a bar on the terminal that shows how far it is."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(frames, what, total=len(frames), console=console, transient=True, disable=not console.is_terminal)
