"""Episodes driven to be judged: `tmrld eval`.  Weights, or a policy of one's own, drive as well as they can, without exploring.

Two protocols.  *plain* drives so many episodes from consecutive seeds.  *tmrl-league* follows the TMRL Roborace League, whose rules
are in the file `readme/competition.md` of github.com/trackmania-rl/tmrl; how its score is counted is told in `tmrld.scores`, and
these are its rules of what is driven:

* Car and track are TrackMania's: the track is `tmrl-test`, driven 20 times a second.
* A policy gives gas, brake and steering from -1 to 1.  It sees speed, gear, rpm, four screenshots and its last two actions; the LIDAR
  is accepted as well, but not with the place on the track (TMRL's `README.md`, "LIDAR with track progress").
* The game's window is no smaller than 256 by 128 and no larger than 958 by 488 pixels.
* An entry need not be a network, nor be learned.  What it reads must be readable by people, or at least run no code: no pickle.
* Who solves the track with another environment enters the league's second list, "off".

What cannot be the league's is refused: another time step, a window of another size, perturbed starts.  Where a drive only stands in
for one of the league, it goes on, and a remark says so: in the simulator, on another track, or with another view.  TMRL sets its wait
after a reset to 0 to save time when it evaluates; here it stays as it is set, since lap times begin when it is over.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tmrld.envs.options import FULL_ID, LIDAR_ID, OURS, EnvironmentOptions
from tmrld.envs.registry import describe, make, ours_within
from tmrld.envs.trackmania.tracks import name_of
from tmrld.errors import BadInput
from tmrld.payloads import Array, EnvSpec, Weights, WeightsManifest
from tmrld.rl.weights import unpack
from tmrld.scores import Outcome, league
from tmrld.worker.driving import Drive, Driver, driven, driver_of_weights
from tmrld.worker.episode import Choice

LEAGUE = "tmrl-league"
PROTOCOLS = ("plain", LEAGUE)

LEAGUE_TRACK = "tmrl-test"
LEAGUE_STEP_S = 0.05
LEAGUE_WINDOWS = (256, 128), (958, 488)
"""The smallest and the largest, in pixels."""
LEAGUE_HISTORY, LEAGUE_ACTIONS = 4, 2
AGAIN = "a person took the controls over: this episode does not count, and is driven again"


class OwnPolicy(Protocol):
    """A policy in plain Python, made for an `EnvSpec`.  One that remembers has a method ``reset()``, called before each episode."""

    def act(self, observation: Any) -> Any:
        """The action for an observation of the environment: ``action_size`` numbers from -1 to 1."""


@dataclass(frozen=True)
class Candidate:
    """What is evaluated.  ``run`` and ``version`` are None for what no run has learned.

    ``manifest`` tells what weights were made for.  ``begin`` makes a driver for an environment's spaces; it raises WeightsError or
    BadInput where that cannot be.
    """

    name: str
    run: str | None
    version: int | None
    begin: Callable[[EnvSpec], Driver]
    manifest: WeightsManifest | None = None


def of_weights(name: str, data: bytes) -> Candidate:
    """The policy in a weights file.  Raises WeightsError."""
    manifest, _ = unpack(data)

    def begin(spec: EnvSpec) -> Driver:
        return driver_of_weights(Weights(manifest, data), spec)

    return Candidate(name, manifest.run, manifest.version, begin, manifest)


def of_module(name: str) -> Candidate:
    """The policy that ``module:attribute`` names: called with the environment's `EnvSpec`, it gives an `OwnPolicy`.

    Raises BadInput where there is none.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadInput(
            f"{name}: the module {module_name!r} cannot be imported ({error}): install it on this machine"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        near = difflib.get_close_matches(attribute, [each for each in dir(module) if callable(getattr(module, each, None))], 1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise BadInput(f"{name}: {module_name} has no class or function {attribute!r}{hint}")

    def begin(spec: EnvSpec) -> Driver:
        try:
            policy: OwnPolicy = found(spec)
        except TypeError as error:
            raise BadInput(
                f"{name} cannot be called with the EnvSpec of an environment ({error}): see the template of `tmrld new league-entry`"
            ) from error
        if not callable(getattr(policy, "act", None)):
            raise BadInput(f"{name} made a {type(policy).__name__} without a method act(observation): it cannot drive")

        def choose(observation: Any, _info: Mapping[str, Any]) -> Choice:
            return Choice(_action(name, policy.act(observation), spec), "policy")

        return Driver(choose, getattr(policy, "reset", lambda: None))

    return Candidate(name, None, None, begin)


def fitting(options: EnvironmentOptions, candidate: Candidate) -> EnvironmentOptions:
    """The same environment as these weights were made to see it: histories, and the images' size and colours."""
    manifest = candidate.manifest
    if manifest is None or options.id not in OURS:
        return options
    spec = manifest.spec
    changes: dict[str, Any] = {"action_buffer": spec.action_buffer}
    for part in spec.parts:
        if part.history:
            changes["history"] = part.history
        if options.id == FULL_ID and len(part.shape) >= 2:
            height, width, *colours = part.shape
            changes |= {"image_height": height, "image_width": width, "grayscale": not colours}
    return options.model_copy(update=changes)


def evaluate(
    options: EnvironmentOptions,
    candidate: Candidate,
    *,
    protocol: str = "plain",
    episodes: int = 10,
    seed: int = 0,
    perturbed: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Drive]:
    """Drive by a protocol, and yield each episode that counts as it ends.  The league's goes on until the league's rules end it.

    What is waited for, and in the league what differs from it, is told through ``say``.  Raises BadInput for what the protocol
    forbids, WeightsError for weights that cannot drive here, WorldError and GameError.
    """
    environment = make(options)
    try:
        if protocol == LEAGUE:
            for remark in league_remarks(ours_within(environment) or options, perturbed=perturbed):
                say(remark)
        driver = candidate.begin(describe(environment, options))
        done: list[Drive] = []

        def seeds() -> Iterator[int]:
            while not (league(outcomes(done)).over if protocol == LEAGUE else len(done) >= episodes):
                yield seed + len(done)

        for drive in driven(environment, options, driver, seeds(), perturbed=perturbed, say=say):
            if drive.taken_over:
                say(AGAIN)
                continue
            done.append(drive)
            yield drive
    finally:
        environment.close()


def outcomes(done: Sequence[Drive]) -> list[Outcome]:
    """What scores are made of."""
    return [Outcome(each.summary.finished, each.summary.lap_time_s, each.summary.episode_return) for each in done]


def league_remarks(options: EnvironmentOptions, *, perturbed: bool = False) -> list[str]:
    """In what a drive in this environment differs from one of the league, a sentence each.  Raises BadInput for what it forbids."""
    ours = options.id in OURS
    width, height = options.window
    (least_width, least_height), (most_width, most_height) = LEAGUE_WINDOWS
    if perturbed:
        raise BadInput("the league's runs start where the game puts the car: leave --perturbed out, or use the protocol plain")
    if ours and options.time_step_s != LEAGUE_STEP_S:
        raise BadInput(
            f"the league is driven 20 times a second, and environment.time_step_s is {options.time_step_s:g}: set it to "
            f"{LEAGUE_STEP_S:g}, or use the protocol plain"
        )
    if ours and not (least_width <= width <= most_width and least_height <= height <= most_height):
        raise BadInput(
            f"the league allows windows from {least_width} by {least_height} to {most_width} by {most_height} pixels, and this one "
            f"has {width} by {height}: set environment.window_width and environment.window_height, or use the protocol plain"
        )
    found = []
    if not ours or options.game == "sim":
        found.append("not TrackMania: the league's rules, driven in a stand-in")
    elif name_of(options.track) != LEAGUE_TRACK:
        found.append(f"not the league's track: that is {LEAGUE_TRACK}, and this is {name_of(options.track)}")
    if ours and options.clock == "lockstep":
        found.append(
            "not in real time: the world waits for the policy, and what nothing varies is the same run again and again"
        )
    if options.id not in (FULL_ID, LIDAR_ID) or (options.history, options.action_buffer) != (LEAGUE_HISTORY, LEAGUE_ACTIONS):
        found.append("not the league's view: such entries belong in its second list, for environments of one's own")
    return found


def _action(name: str, given: Any, spec: EnvSpec) -> Array:
    """What a policy of one's own gave, as an action.  Raises BadInput for what is none."""
    try:
        action = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        action = np.empty(0, np.float32)
    if action.shape != (spec.action_size,) or not (np.abs(action) <= 1).all():
        raise BadInput(f"{name} chose {str(given)[:80]} as an action: expected {spec.action_size} numbers from -1 to 1")
    return action
