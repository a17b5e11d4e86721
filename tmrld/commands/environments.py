"""`tmrld env`: environments alone, without training: listed, driven, and looked at."""

from __future__ import annotations

import argparse
import json
import math
import statistics
from typing import TYPE_CHECKING, Any

from tmrld.commands.flags import add_settings_flags, load_settings, positive, whole

if TYPE_CHECKING:
    from tmrld.payloads import EpisodeSummary


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


def _list(_options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.registry import known

    for id, description in known():
        print(f"{id:28} {description}")
    return 0


def _run(options: argparse.Namespace, _began: float) -> int:
    from tmrld.worker.driving import drives

    settings = load_settings(options)
    environment = settings.run.environment.model_copy(
        update={"id": options.id} | ({"track": options.track} if options.track else {})
    )
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


def _lap(summary: EpisodeSummary) -> str:
    """How far it came; nothing where there are no laps."""
    if summary.lap_time_s is not None:
        return f"lap {summary.lap_time_s:.2f} s, "
    return "" if math.isnan(summary.progress) else f"no lap ({summary.progress:.0%} of the track), "
