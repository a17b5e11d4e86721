"""Driving without a relay: `tmrld env run`.  The same episodes as a worker's, and a report of each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tmrld.envs.options import FULL_ID, OURS, EnvironmentOptions
from tmrld.envs.registry import Env, describe, keeps_real_time, make
from tmrld.envs.sim.scripted import scripted
from tmrld.envs.trackmania.game import course_of
from tmrld.envs.trackmania.tracks import name_of
from tmrld.errors import BadInput, GameError, WeightsError
from tmrld.payloads import Chunk, EnvSpec, EpisodeSummary, Weights
from tmrld.rl.inference import load_actor
from tmrld.rl.weights import unpack
from tmrld.storage.files import read_file
from tmrld.worker.episode import Choice, Episode, EpisodePlan
from tmrld.worker.once import Once
from tmrld.worker.options import CollectionOptions, EvaluationOptions

Choose = Callable[[Any, Mapping[str, Any]], Choice]
"""An observation and its info in, what is done about it out."""

LOOK_S = 0.1
"""How often it is looked whether a person has let go of the controls, or has begun the race."""
BEGIN = "begin the race in the game (Delete or BackSpace): the episode begins when the car stands at the start"
GO = "drive: the episode has begun"
"""What a person who drives in the game is told."""
AT_START_M = 30.0
"""A car that is no further from where the line begins stands at the start."""
PATIENCE_S = 10.0
LONGEST_S = 600.0
"""What a person gets at least: without new ground, and for an episode."""


def _nothing() -> None:
    """For drivers who remember nothing."""


@dataclass(frozen=True)
class Driver:
    """Who drives; ``begin`` is called before each episode, for who remembers."""

    choose: Choose
    begin: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Recording:
    """All steps of an episode, to learn from, and the spaces that they are of."""

    spec: EnvSpec
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True)
class Drive:
    """One episode as it was driven; ``seconds`` is how long its steps took on the wall clock, without the reset.

    ``recording`` is there if it was asked for.
    """

    seed: int
    summary: EpisodeSummary
    seconds: float
    taken_over: bool = False
    """Whether it ended because a person took the controls over, or left the game's window."""
    recording: Recording | None = None

    @property
    def steps_per_s(self) -> float:
        """Environment steps per second, the policy included."""
        return self.summary.steps / max(self.seconds, 1e-9)


class Audience(Protocol):
    """Whoever watches what is driven.  All is called in the thread that drives, which waits for nothing else."""

    @property
    def has_enough(self) -> bool:
        """Whether nothing more is to be driven."""

    def ready(self, seed: int, reset: Callable[[], tuple[Any, dict[str, Any]]]) -> bool:
        """Called before each episode, and may reset the environment to look at it; False ends the driving."""

    def see(self, episode: Episode, choice: Choice | None) -> bool:
        """Called after an episode's reset, without a choice, and after each step; False gives this episode up."""


class Nobody:
    """Lets everything happen."""

    has_enough = False

    def ready(self, seed: int, reset: Callable[[], tuple[Any, dict[str, Any]]]) -> bool:
        return True

    def see(self, episode: Episode, choice: Choice | None) -> bool:
        return True


def drives(
    options: EnvironmentOptions,
    policy: str,
    episodes: int,
    seed: int,
    *,
    perturbed: bool,
    record: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Drive]:
    """Drive episodes with consecutive seeds, and yield each as it ends.

    ``policy`` is one of those of `driver_named`.  ``perturbed`` starts are those of evaluation episodes.  ``record`` keeps all steps.
    ``say`` is told what is waited for.  Raises BadInput for a policy that cannot drive here.
    """
    environment = make(options)
    try:
        driver = driver_named(policy, describe(environment, options), seed)
        seeds = range(seed, seed + episodes)
        yield from driven(environment, options, driver, seeds, perturbed=perturbed, record=record, say=say)
    finally:
        environment.close()


def driven(
    environment: Env,
    options: EnvironmentOptions,
    driver: Driver,
    seeds: Iterable[int],
    *,
    perturbed: bool = False,
    record: bool = False,
    audience: Audience | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Drive]:
    """Drive an episode for each seed in ``environment``, which `make` has made of ``options``, and yield each as it ends.

    While a person has the controls of a game that a policy is to drive, no episode begins.  One that the audience gives up is
    driven again.  A person who drives in the game is told through ``say`` when to.
    """
    spec = describe(environment, options)
    clock = time.monotonic if keeps_real_time(environment, options) else None
    start = EvaluationOptions().start if perturbed else None
    audience = audience or Nobody()
    by_hand = drives_the_game(options)
    for seed in seeds:
        drive = None
        while drive is None:
            await_hands_off(environment, options, say, audience)
            if by_hand:
                _await_race(environment, options, say, audience)
            if not audience.ready(seed, lambda seed=seed: environment.reset(seed=seed, options=start)):  # type: ignore[misc]
                return
            plan = EpisodePlan("", "", name_of(options.track), "train" if record else "evaluation", seed, start)
            driver.begin()
            episode = Episode(environment, spec, plan, CollectionOptions(), clock)
            if by_hand:
                say(GO)
            began = time.perf_counter()
            chunks: list[Chunk] = []
            summary = _drive(episode, driver.choose, audience, chunks.append if record else lambda _: None)
            if summary is not None:
                seconds, taken_over = time.perf_counter() - began, bool(episode.info.get("user_drives"))
                drive = Drive(seed, summary, seconds, taken_over, Recording(spec, tuple(chunks)) if record else None)
        yield drive


def _drive(episode: Episode, choose: Choose, audience: Audience, keep: Callable[[Chunk], None]) -> EpisodeSummary | None:
    """Drive an episode to its end, or until the audience gives it up; its chunks are handed to ``keep``."""
    goes_on = audience.see(episode, None)
    while goes_on:
        choice = choose(episode.observation, episode.info)
        chunk = episode.step(choice)
        goes_on = audience.see(episode, choice)
        if chunk is not None:
            keep(chunk)
        if chunk is not None and chunk.summary is not None:
            return chunk.summary
    return None


def await_hands_off(
    environment: Env, options: EnvironmentOptions, say: Callable[[str], None], audience: Audience | None = None
) -> None:
    """Wait until a person who has taken the controls over is done, or the audience has enough."""
    audience = audience or Nobody()
    own = environment.unwrapped
    if getattr(own, "user_drives", False):
        patience_s = options.trackmania.hand_back_s
        say(
            f"a person drives, or has left the game's window: the next episode begins when no key was touched for {patience_s:g} s "
            "and the game is in front"
        )
        while getattr(own, "user_drives", False) and not audience.has_enough:
            time.sleep(LOOK_S)


def _await_race(environment: Env, options: EnvironmentOptions, say: Callable[[str], None], audience: Audience) -> None:
    """Wait until a person has begun the race in the game anew, maybe through its menus, or the audience has enough.

    What keeps the game from being seen meanwhile is said, once each.  Raises GameError where it cannot be seen to begin with.
    """
    first = course_of(options.track).line[0]
    told, once = False, Once()
    while not audience.has_enough:
        try:
            info = environment.reset()[1]
        except GameError as error:
            if not told:
                raise
            sentence = str(error)
        else:
            if not info["finished"] and math.dist((info["x"], info["z"]), (first[0], first[2])) < AT_START_M:
                return
            sentence = BEGIN
        told = True
        if once.is_new(sentence):
            say(sentence)
        time.sleep(LOOK_S)


# Who drives


def drives_the_game(options: EnvironmentOptions) -> bool:
    """Whether a person drives, in the game itself."""
    return options.id in OURS and options.game == "trackmania" and options.trackmania.controls == "none"


def for_a_person(options: EnvironmentOptions) -> EnvironmentOptions:
    """The same for a person: in real time, nothing is sent to the game, and an episode is not over so soon.

    Raises BadInput where no person can drive.
    """
    if options.id not in OURS:
        raise BadInput(f"{options.id} cannot be driven by hand: only {', '.join(OURS)} can")
    step_s = options.time_step_s
    patience = max(options.reward.failure_countdown, round(PATIENCE_S / step_s))
    return options.model_copy(
        update={
            "clock": "realtime",
            "max_steps": max(options.max_steps, round(LONGEST_S / step_s)),
            "reward": options.reward.model_copy(update={"failure_countdown": patience}),
            "trackmania": options.trackmania.model_copy(update={"controls": "none"}),
        }
    )


def usual_policy(options: EnvironmentOptions) -> str:
    """Who drives where nobody is named: the scripted driver where it sees enough."""
    return "scripted" if options.id in OURS and options.id != FULL_ID else "random"


def driver_named(policy: str, spec: EnvSpec, seed: int) -> Driver:
    """Who drives: "random"; "scripted" (our LIDAR flavours); "human", in the game itself; or the path of a weights file.

    Raises BadInput or WeightsError.
    """
    random = np.random.default_rng(seed)
    if policy == "random":
        return Driver(lambda _seen, _info: Choice(random.uniform(-1, 1, spec.action_size).astype(np.float32), "random"))
    if policy == "scripted":
        names = [part.name for part in spec.parts]
        if "speed" not in names or "lidar" not in names:
            raise BadInput(
                f"the scripted policy drives by speed and lidar, which {spec.id} does not show: use random, or a weights file"
            )
        speed, lidar = names.index("speed"), names.index("lidar")
        return Driver(lambda seen, _info: Choice(scripted((seen[speed], seen[lidar])), "scripted"))
    if policy == "human":
        return Driver(lambda _seen, info: Choice(np.array(info["held"], np.float32), "human"))
    path = Path(policy)
    if not path.is_file():
        raise BadInput(
            f"--policy {policy!r} is neither random nor scripted nor a file: give the path of a downloaded weights file, or "
            "human to drive yourself"
        )
    data = read_file(path)
    try:
        manifest, _ = unpack(data)
    except WeightsError as error:
        raise WeightsError(f"{path} cannot be used: {error}") from error
    return driver_of_weights(Weights(manifest, data), spec)


def driver_of_weights(weights: Weights, spec: EnvSpec) -> Driver:
    """The deterministic policy of a weights file.  Raises WeightsError."""
    actor, random = load_actor(weights, spec), np.random.default_rng(0)  # nothing is drawn from it
    state = actor.begin()

    def choose(observation: Any, _info: Mapping[str, Any]) -> Choice:
        action = actor.act(observation, deterministic=True, rng=random, state=state)
        return Choice(action, "policy", weights.manifest.version)

    return Driver(choose, lambda: state.fill(0.0))
