"""`tmrld env bench`: whether this machine keeps time, measured."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.commands.asking import print_json, print_table
from tmrld.commands.env.flags import WEIGHTS, add_driver, add_environment, environment_of, policy_of
from tmrld.commands.flags import positive
from tmrld.errors import BadInput

if TYPE_CHECKING:
    from tmrld.worker.measuring import Measured

TEXTS = {
    "step": "how far steps begin from their time",
    "capture": "taking the picture, and all that is made of it",
    "inference": "the policy's choice of an action",
    "control": "handing the action over",
}

CAUSES = "the numbers of capture, inference and control tell what takes long"


def add(actions: Any) -> None:
    """Add `bench`."""
    bench = actions.add_parser(
        "bench",
        help="measure whether this machine keeps time",
        description="Drive in real time, and measure how exactly steps begin and what takes how long.",
    )
    add_environment(bench)
    add_driver(
        bench,
        policy=None,
        metavar="random|scripted|WEIGHTS",
        help=f"who drives (default: scripted where it sees enough, otherwise random); {WEIGHTS}",
    )
    bench.add_argument("--steps", type=positive, default=1000, metavar="N", help="how many steps to measure (default: 1000)")
    bench.add_argument("--lockstep", action="store_true", help="as fast as the simulator can, instead of in real time")
    bench.add_argument("--png", type=Path, metavar="FILE", help="write histograms there")
    bench.add_argument("--json", action="store_true", help="print JSON, for scripts")
    bench.set_defaults(command=_bench)


def _bench(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.timekeeping import verdict
    from tmrld.worker.driving import usual_policy
    from tmrld.worker.measuring import measured

    if options.png is not None:
        _check_png(options.png)
    environment = environment_of(options)
    environment = environment.model_copy(update={"clock": "lockstep" if options.lockstep else "realtime"})
    if options.policy == "human":
        raise BadInput("a person is not measured: let random, scripted or a weights file drive")
    if options.lockstep and environment.game == "trackmania":
        raise BadInput("--lockstep lets the world wait, and the game waits for nobody: leave it out, or measure the simulator")
    policy = policy_of(options, environment) or usual_policy(environment)
    if sys.stderr.isatty() and not options.lockstep:
        print(f"this takes {options.steps * environment.time_step_s:.0f} s", file=sys.stderr)
    found = measured(
        environment,
        policy,
        options.steps,
        options.seed,
        perturbed=options.perturbed,
        say=lambda sentence: print(sentence, file=sys.stderr),
    )
    error = found.distributions()["step"]
    keeps, words = verdict(environment.time_step_s, found.steps, found.late, error, CAUSES)
    if options.png is not None:
        _write_png(options.png, found, f"{options.id} · {Path(policy).name}", words)
    if options.json:
        print_json(_plain(options.id, policy, found, keeps=keeps, words=words))
        return 0
    _print(found)
    print()
    episodes = f"{found.episodes:,} episode{'s' * (found.episodes != 1)}"
    print(f"{found.steps:,} steps in {episodes}, {found.steps / found.seconds:,.1f} steps/s, {found.late} late")
    print(f"{words[:1].upper()}{words[1:]}.")
    if options.png is not None:
        print(f"The histograms are in {options.png}.")
    return 0


def _print(found: Measured) -> None:
    rows = []
    for name, each in found.distributions().items():
        if each is None:
            continue
        own = _rtgyms(found, name) if name != "step" else ""  # rtgym measures how long a step is, not how far it is off
        numbers = [_ms(value) for value in (each.mean, each.p50, each.p99, each.p999, each.max)]
        rows.append((name, *numbers, own, TEXTS[name]))
    print_table(("ms", "mean", "p50", "p99", "p99.9", "max", "rtgym's own", "what it is"), rows, "")
    if "step" in found.rtgym:
        print(f"rtgym's own time step: {_rtgyms(found, 'step')} ms")


def _rtgyms(found: Measured, name: str) -> str:
    """What rtgym measured itself, and how far that varies, in milliseconds."""
    if name not in found.rtgym:
        return "–"
    mean, deviation = found.rtgym[name]
    return f"{_ms(mean)} ± {_ms(deviation)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"


def _plain(id: str, policy: str, found: Measured, *, keeps: bool, words: str) -> dict[str, Any]:
    return {
        "id": id,
        "policy": policy,
        "steps": found.steps,
        "episodes": found.episodes,
        "late_steps": found.late,
        "steps_per_s": found.steps / found.seconds,
        "keeps_time": keeps,
        "verdict": words,
        "seconds": {name: None if each is None else asdict(each) for name, each in found.distributions().items()},
        "rtgym_seconds": {name: {"mean": mean, "deviation": off} for name, (mean, off) in found.rtgym.items()},
    }


def _check_png(path: Path) -> None:
    """Raise BadInput before anything is measured."""
    if path.suffix.lower() != ".png":
        raise BadInput(f"--png {str(path)!r} does not end in .png: histograms are written as PNG alone")
    if not path.parent.is_dir():
        raise BadInput(
            f"--png {str(path)!r} is to be written into {str(path.parent)!r}, which is no folder: make it, or name another"
        )


def _write_png(path: Path, found: Measured, title: str, words: str) -> None:
    from tmrld.envs.sim import drawing
    from tmrld.envs.sim.histogram import Panel, picture
    from tmrld.worker.pictures import write_png

    colours = {"step": drawing.BLUE, "capture": drawing.GREEN, "inference": drawing.VIOLET, "control": drawing.AMBER}
    panels = [
        Panel(name, TEXTS[name], [1000 * value for value in getattr(found, name)], colour)
        for name, colour in colours.items()
        if getattr(found, name)
    ]
    write_png(path, picture(title, words.partition(". ")[0], panels))
