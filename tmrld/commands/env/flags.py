"""What the commands of `tmrld env` share: which environment is meant, who drives it, and how an episode is told."""

from __future__ import annotations

import argparse
import math
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from tmrld.commands.flags import add_game_flag, add_settings_flags, load_settings, whole
from tmrld.errors import BadInput, NotFound

if TYPE_CHECKING:
    from tmrld.envs.options import EnvironmentOptions
    from tmrld.worker.driving import Drive

WEIGHTS = "WEIGHTS is a file, a name on this machine's shelf, or `bundled`: those that tmrld brings"
ID = "a Gymnasium id such as tmrld/TM20Lidar-v0, or module:attribute"


def add_environment(parser: argparse.ArgumentParser, *, needs_id: bool = True) -> None:
    """The environment: its id, its track, and all settings."""
    add_settings_flags(parser)
    add_game_flag(parser)
    if needs_id:
        parser.add_argument("id", metavar="ID", help=ID)
    else:
        parser.add_argument("id", metavar="ID", nargs="?", help="an id of ours (default: the setting run.environment.id)")
    parser.add_argument(
        "--track",
        metavar="NAME",
        help="track to drive, by its name or the file with its line (default: the setting run.environment.track)",
    )


def add_driver(parser: argparse.ArgumentParser, *, policy: str | None, metavar: str, help: str) -> None:
    """Who drives, and from where: the policy, the seed, and whether starts are perturbed."""
    parser.add_argument("--policy", default=policy, metavar=metavar, help=help)
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="seed of the first episode (default: 0)")
    parser.add_argument("--perturbed", action="store_true", help="start as evaluation does: off the line, askew, other grip")


def environment_of(options: argparse.Namespace) -> EnvironmentOptions:
    """The environment of the settings, with what the flags say.  Raises SettingsError, and BadInput for what it cannot do."""
    from tmrld.local import placed

    settings = load_settings(options)
    environment = settings.run.environment
    changes = {"id": options.id, "track": options.track}
    environment = environment.model_copy(update={key: value for key, value in changes.items() if value})
    environment = placed(environment, settings)
    if environment.game == "trackmania" and getattr(options, "perturbed", False):
        raise BadInput("a start in the game cannot be perturbed: leave --perturbed out, or drive the simulator")
    return environment


def policy_of(options: argparse.Namespace, environment: EnvironmentOptions) -> str | None:
    """Who drives, as `tmrld.worker.driving` knows it: weights of this machine's shelf are their file.  None where nobody is named.

    Raises BadInput for a name that is none.
    """
    from tmrld.local import BUNDLED, weights_file

    policy: str | None = options.policy
    if policy is None or policy in ("random", "scripted", "human") or Path(policy).suffix or Path(policy).exists():
        return policy
    try:
        return weights_file(policy, environment, load_settings(options))
    except NotFound as error:
        near = get_close_matches(policy, ("random", "scripted", "human", BUNDLED), 1, cutoff=0.8)
        why = f"did you mean {near[0]!r}?" if near else f"and {error}"
        raise BadInput(f"--policy {policy!r} is neither random nor scripted nor a file{':' if near else ','} {why}") from None


def fitted(environment: EnvironmentOptions, policy: str) -> EnvironmentOptions:
    """The environment as the policy was made to see it, if that is a weights file; what was changed for it is told on standard error.

    Raises WeightsError.
    """
    if not Path(policy).is_file():
        return environment
    from tmrld.errors import WeightsError
    from tmrld.storage.files import read_file
    from tmrld.worker.evaluating import fitting, of_weights

    try:
        fit = fitting(environment, of_weights(Path(policy).name, read_file(Path(policy))))
    except WeightsError as error:
        raise WeightsError(f"{policy} cannot be used: {error}") from error
    before, after = environment.model_dump(), fit.model_dump()
    if changes := [f"{name} {value}" for name, value in after.items() if value != before[name]]:
        print(f"the environment is as {policy} was made to see it: {', '.join(changes)}", file=sys.stderr)
    return fit


def told(drive: Drive, *, pace: bool = True) -> str:
    """An episode as a line; ``pace`` tells how fast it was driven."""
    summary = drive.summary
    lap = ""
    if summary.lap_time_s is not None:
        lap = f"lap {summary.lap_time_s:.2f} s, "
    elif not math.isnan(summary.progress):  # there are laps here
        lap = f"no lap ({summary.progress:.0%} of the track), "
    steps = f"return {summary.episode_return:.2f}, {summary.steps} steps"
    speed = f", {drive.steps_per_s:,.0f} steps/s" if pace else ""
    end = "; a person took over" if drive.taken_over else ""
    return f"seed {drive.seed}: {lap}{steps}{speed}{end}"
