"""`tmrld env run`: episodes driven by a policy or a person, and reported."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tmrld.commands.env.flags import WEIGHTS, add_driver, add_environment, environment_of, fitted, policy_of, told
from tmrld.commands.env.saving import Saving
from tmrld.commands.flags import positive

if TYPE_CHECKING:
    from tmrld.worker.driving import Drive


def add(actions: Any) -> None:
    """Add `run`."""
    run = actions.add_parser(
        "run",
        help="drive episodes with a policy, or yourself, and report them",
        description="Drive episodes and report them. A human drives the simulator in a window, with the arrow keys or W A S D; "
        "TrackMania in the game itself, to which nothing is sent.",
    )
    add_environment(run)
    add_driver(run, policy="random", metavar="random|scripted|WEIGHTS|human", help=f"who drives (default: random); {WEIGHTS}")
    run.add_argument("--episodes", type=positive, default=3, metavar="N", help="how many (default: 3)")
    run.add_argument(
        "--save", metavar="NAME", help="keep what was driven on this machine's shelf, as demonstrations of this name"
    )
    run.add_argument("--force", action="store_true", help="with --save: replace demonstrations of this name")
    run.add_argument("--json", action="store_true", help="one JSON object on the last line")
    run.set_defaults(command=_run)


def _run(options: argparse.Namespace, _began: float) -> int:
    saving = None if options.save is None else Saving(options)
    done = []
    try:
        for drive in _drives(options):
            done.append(drive)
            print(told(drive), flush=True)
    finally:  # whoever stops has driven well until then
        saved = [] if saving is None else saving.save(done)
    laps = [drive.summary.lap_time_s for drive in done if drive.summary.lap_time_s is not None]
    result = {
        "id": options.id,
        "policy": options.policy,
        "episodes": len(done),
        "finished": sum(drive.summary.finished for drive in done),
        "lap_times_s": laps,
        "median_lap_s": statistics.median(laps) if laps else None,
        "mean_return": statistics.fmean(drive.summary.episode_return for drive in done) if done else None,
        "steps_per_s": statistics.median(drive.steps_per_s for drive in done) if done else None,
        "taken_over": sum(drive.taken_over for drive in done),
        "saved": saved,
    }
    if options.json:
        print(json.dumps(result))
    elif done:
        best = f", best lap {min(laps):.2f} s" if laps else ""
        print(f"{result['finished']} of {len(done)} finished{best}, mean return {result['mean_return']:.2f}")
    else:
        print("no episode was driven to its end")
    return 0


def _drives(options: argparse.Namespace) -> Iterator[Drive]:
    from tmrld.worker.driving import drives, for_a_person

    environment = environment_of(options)
    policy = policy_of(options, environment) or "random"
    environment = fitted(environment, policy)
    episodes, seed, perturbed = options.episodes, options.seed, options.perturbed
    record = options.save is not None
    if policy == "human":
        environment = for_a_person(environment)
        if environment.game == "sim":
            from tmrld.worker.live import watched

            return watched(
                environment,
                policy,
                seed,
                episodes=episodes,
                perturbed=perturbed,
                record=record,
                beams=False,
                say=_say,
                instead="let a policy drive: --policy scripted",
            )
    return drives(environment, policy, episodes, seed, perturbed=perturbed, record=record, say=_say)


def _say(sentence: str) -> None:
    print(sentence, flush=True)
