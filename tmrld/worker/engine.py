"""What runs in a worker's engine process: it steps the environment with the newest policy and hands chunks to its daemon.

Messages in: `Assign` (state, evaluates, configuration), `WeightsMessage`, `Allowance`, `Command` ("stop", "preview").
Messages out: `Describe` first, then `TrackLine`, `ChunkMessage`, `Status` and `Preview`.  The daemon fills in incarnation and
numbers.

In lockstep it drives several cars, each through episodes of its own, and chooses their actions together; the loop stops when the
allowance is used up.  In real time there is one car, which waits for nothing but the clock.  Until the first weights arrive, actions
are random.

With ``collection.policy`` those weights drive for training instead, from the first step to the last, with the noise that training
has; TMRL calls such a worker an expert.  What they choose is stamped "scripted", with no version, for it is nothing that this run has
learned: it moves none of the policy's curves, and its laps are not the policy's.  Newer weights still come in, and are evaluated.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tmrld.engines.pipe import EnginePort
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.pacing import PacedEnv
from tmrld.envs.registry import Env, Line, describe, keeps_real_time, make, newest_frames, track_of, view_of
from tmrld.envs.trackmania.tracks import name_of
from tmrld.errors import GameError, PipeFull, WeightsError, WorldError
from tmrld.payloads import Array, Chunk, EnvSpec, Weights
from tmrld.protocol.codec import seal_chunk
from tmrld.protocol.messages import (
    MAX_TRACK_POINTS,
    Allowance,
    Assign,
    ChunkMessage,
    Command,
    Describe,
    Message,
    Status,
    TrackLine,
    WeightsMessage,
)
from tmrld.rl.inference import Actor, load_actor
from tmrld.rl.noise import Noise
from tmrld.rl.weights import unpack
from tmrld.storage.files import read_file
from tmrld.worker.episode import Choice, Environment, Episode, EpisodePlan
from tmrld.worker.once import Once
from tmrld.worker.options import CollectionOptions, EvaluationOptions
from tmrld.worker.previews import Previews
from tmrld.worker.rollout import drive

log = logging.getLogger(__name__)

IDLE_WAIT_S = 0.5
GAME_RETRY_S = 2.0
"""How long a game that was lost is left alone before it is looked for again."""
SWITCH_S = 0.001
"""In real time, a thread that computes lets the one that gives the controls go first after this time; Python's own value is 5 ms."""
STATUS_INTERVAL_S = 1.0
LEAST_CHUNK_SHARE = 0.25
"""Of a full chunk: so much is to be there for each car that shares an allowance."""

TAKEN_OVER = (
    "a person has pressed a key of the game, or has left its window: the policy goes on when no key was touched for the time of "
    "environment.trackmania.hand_back_s, and the window has the focus"
)

Begin = Callable[[Environment], Episode | None]
Choose = Callable[[Sequence[Episode]], Sequence[Choice]]
Room = Callable[[int], int]


class Stop(Exception):
    """The daemon asked the engine to end."""


class WorkerEngine:
    """A worker's engine: what it was told, the policy that it drives with, and how far it has come.

    ``cars`` is how many environments it steps in lockstep.  ``files`` are paths of what the run needs of the shelf, by "kind/name".
    Raises WorldError for several cars in real time, WeightsError for a ``collection.policy`` that cannot drive here.
    """

    def __init__(
        self,
        port: EnginePort,
        run: str,
        worker: str,
        config: dict[str, Any],
        produced: int,
        cars: int = 1,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self._port = port
        self._run = run
        self._worker = worker
        self._options = EnvironmentOptions.model_validate(config["environment"])
        self._collection = CollectionOptions.model_validate(config["collection"])
        self._evaluation = EvaluationOptions.model_validate(config["evaluation"])
        self._environments = _make(self._options, cars)
        self._lockstep = not keeps_real_time(self._environments[0], self._options)
        if self._lockstep:
            _stay_on_one_core()
        else:
            sys.setswitchinterval(SWITCH_S)
        self._own_for_evaluation: list[Env] = []
        """Environments for evaluation alone, made when there is one, if there are several cars."""
        self._spec = describe(self._environments[0], self._options)
        self._random = np.random.default_rng([int(config["training"]["seed"]), 2, produced])
        self._noises: WeakKeyDictionary[Episode, Noise] = WeakKeyDictionary()
        """What each episode explores with."""
        self._running = False
        self._evaluates = False
        self._allowed = 0
        self._sharing = 1
        """How many cars share what is left of the allowance."""
        self._produced = produced
        self._actor: Actor | None = None
        self._version = -1
        try:
            self._expert = _expert(self._collection.policy, files or {}, self._spec)
            """Whoever drives for training in the learned policy's place."""
        except BaseException:
            for environment in self._environments:
                environment.close()
            raise
        self._seeds_due: list[int] = []
        """Of the evaluation episodes that are still to be driven."""
        self._trouble = Once()
        """Why the game cannot be driven; told once for each reason, until it is driven again."""
        self._meter = _Meter(self._spec.step_s)
        view = view_of(self._options, self._environments[0])
        self._previews = None if view is None else Previews(run, view, port.send, in_thread=not self._lockstep)

    def run(self) -> None:
        """Drive until told to stop."""
        self._port.send(Describe(self._run, "", self._spec.to_plain()))
        track = track_of(self._options)
        if track is not None:
            self._port.send(track_line(self._run, track))
        try:
            while True:
                if self._user_drives:
                    self._report({})
                self._await_permission(self._may_begin)
                try:
                    if self._must_evaluate:
                        self._evaluate()
                    else:
                        self._train()
                except GameError as error:
                    self._await_game(error)
        except Stop:
            log.info("the engine of %s stops as asked", self._worker)
        finally:
            if self._previews is not None:
                self._previews.close()
            for environment in self._environments + self._own_for_evaluation:
                environment.close()

    def _await_game(self, error: GameError) -> None:
        """The game was lost, or is not there yet: say so, once for each reason, and let a while pass; the next reset looks again."""
        if self._trouble.is_new(str(error)):
            log.warning("the game cannot be driven, trying again: %s", error)
            self._port.send(Status(self._run, "problem", f"the game cannot be driven, trying again: {error}"))
        again = time.monotonic() + GAME_RETRY_S
        self._await_permission(lambda: time.monotonic() >= again)

    def _may_begin(self) -> bool:
        """Whether there is something to drive, and nobody else at the wheel."""
        return (self._room_to_train(1) > 0 or self._must_evaluate) and not self._user_drives

    @property
    def _user_drives(self) -> bool:
        """Whether a person has taken the controls over, which are then left alone."""
        return any(_paced(environment, "user_drives", False) for environment in self._environments)

    def _room_to_train(self, steps: int) -> int:
        """How many of these training steps, one per car, may be taken now: in lockstep never one more than is allowed."""
        if not self._running or (self._interrupts and self._must_evaluate):
            return 0
        return min(steps, self._left, self._sharing) if self._lockstep else steps

    @property
    def _left(self) -> int:
        return max(0, self._allowed - self._produced)

    def _allow(self, transitions: int) -> None:
        """Take an allowance; where it is small, few cars share it.

        For before a wait all cars hand over what they have, and chunks of a few steps serve nobody: their lead rows fill the replay
        memory, and updates cannot look ahead in them.
        """
        left_before, self._allowed = self._left, transitions
        least = max(1, int(self._collection.chunk_steps * LEAST_CHUNK_SHARE))
        self._sharing = max(1, self._left // least, self._sharing if left_before else 1)

    def _room_to_evaluate(self, steps: int) -> int:
        return steps if self._running else 0

    @property
    def _must_evaluate(self) -> bool:
        return self._running and self._evaluates and bool(self._seeds_due) and self._actor is not None

    @property
    def _interrupts(self) -> bool:
        """Whether an evaluation interrupts training, whose cars stand still while others are evaluated.

        A single car ends its episode first, and needs no second environment; the last of many would be long in coming.
        """
        return len(self._environments) > 1

    def _train(self) -> None:
        """Training episodes in all cars; a single car returns after one when an evaluation is due."""

        def begin(environment: Environment) -> Episode | None:
            if self._room_to_train(1) == 0 or self._must_evaluate or self._user_drives:
                return None
            start = self._evaluation.start if self._collection.perturbed_starts else None
            return self._episode(
                environment, EpisodePlan(self._run, self._worker, name_of(self._options.track), "train", None, start)
            )

        self._drive(self._environments, begin, self._choose, _Gate(self, self._room_to_train, self._hold_training))

    def _evaluate(self) -> None:
        """One evaluation: the deterministic policy of one version, from starts perturbed by consecutive seeds, each driven once.

        An episode that a person, or the loss of the game, has ended is driven again, unless there is a newer policy by then.
        """
        actor, version = self._actor, self._version
        assert actor is not None
        seeds, self._seeds_due = self._seeds_due, []
        begun: dict[int, Episode] = {}

        def begin(environment: Environment) -> Episode | None:
            if self._user_drives or len(begun) == len(seeds):
                return None
            seed = seeds[len(begun)]
            plan = EpisodePlan(
                self._run, self._worker, name_of(self._options.track), "evaluation", seed, self._evaluation.start
            )
            begun[seed] = self._episode(environment, plan)
            return begun[seed]

        def driven_by_the_policy(seed: int) -> bool:
            return not begun[seed].info.get("user_drives", False)

        def choose(driven: Sequence[Episode]) -> list[Choice]:
            observations, states = [episode.observation for episode in driven], _states(actor, driven)
            actions = actor.act_many(observations, deterministic=True, rng=self._random, states=states)
            return [Choice(action, "policy", version) for action in actions]

        def hold() -> bool:
            return self._hold(lambda: self._room_to_evaluate(1) > 0)

        environments = self._environments
        if self._interrupts:
            environments = self._own_for_evaluation
            while len(environments) < min(len(seeds), len(self._environments)):
                environments.append(make(self._options))
        try:
            self._drive(
                environments,
                begin,
                choose,
                _Gate(self, self._room_to_evaluate, hold),
                counts=lambda chunk: chunk.seed is None or driven_by_the_policy(chunk.seed),
            )
        finally:
            if self._version == version and not self._seeds_due:
                done = {seed for seed, episode in begun.items() if episode.ended and driven_by_the_policy(seed)}
                self._seeds_due = [seed for seed in seeds if seed not in done]

    def _episode(self, environment: Environment, plan: EpisodePlan) -> Episode:
        episode = Episode(environment, self._spec, plan, self._collection, None if self._lockstep else time.monotonic)
        self._trouble.forget()
        return episode

    def _drive(
        self,
        environments: Sequence[Env],
        begin: Begin,
        choose: Choose,
        gate: _Gate,
        counts: Callable[[Chunk], bool] = lambda _chunk: True,
    ) -> None:
        """Drive, and hand over the chunks that count, until there is no more to drive, or driving has to be interrupted."""
        shown = choose if self._previews is None else self._shown(choose, self._previews, environments[0])
        with contextlib.closing(drive(environments, begin, shown, gate)) as chunks:
            for chunk in chunks:
                sealed = seal_chunk(chunk, compress=self._collection.compression == "zstd")
                if counts(chunk) and not self._hand_over(sealed, environments):
                    break
        self._let_go(environments)  # an episode that was cut off leaves the controls as they were

    def _let_go(self, environments: Sequence[Env]) -> None:
        """Whatever keeps real time drives on by itself, unless its controls are released."""
        if not self._lockstep:
            for environment in environments:
                _paced(environment, "release", lambda: None)()

    def _shown(self, choose: Choose, previews: Previews, first: Env) -> Choose:
        """The same choices; those for the first car are shown to whoever watches."""

        def choose_and_show(driven: Sequence[Episode]) -> Sequence[Choice]:
            choices = choose(driven)
            if previews.on and previews.due:
                for episode, choice in zip(driven, choices, strict=True):
                    if episode.environment is first:
                        lidar = newest_frames(self._spec, episode.observation).get("lidar")
                        previews.see(episode.steps, episode.info, lidar, choice.action)
            return choices

        return choose_and_show

    def _hand_over(self, chunk: ChunkMessage, environments: Sequence[Env]) -> bool:
        """Give a chunk to the daemon; when that takes no more, driving stops until it does: nothing is dropped.

        Returns whether the episodes may go on: those in real time are over when they had to wait.
        """
        try:
            self._port.send(chunk)
        except PipeFull as error:
            self._let_go(environments)
            self._port.send(Status(self._run, "problem", f"collection waits: {error}"))
            self._port.send(chunk, wait_s=None)
            return self._lockstep
        return True

    def _choose(self, driven: Sequence[Episode]) -> list[Choice]:
        """The stochastic policy, the expert's if there is one, or random actions while there is none."""
        self._produced += len(driven)
        observations = [episode.observation for episode in driven]
        if self._expert is not None:
            states, noise = _states(self._expert, driven), self._noise(driven)
            actions = self._expert.act_many(observations, deterministic=False, rng=self._random, noise=noise, states=states)
            return [Choice(action, "scripted") for action in actions]
        if self._actor is None:
            actions = self._random.uniform(-1, 1, (len(driven), self._spec.action_size)).astype(np.float32)
            return [Choice(action, "random") for action in actions]
        states, noise = _states(self._actor, driven), self._noise(driven)
        told = [state.copy() if self._collection.policy_state and state.size else None for state in states]
        actions = self._actor.act_many(observations, deterministic=False, rng=self._random, noise=noise, states=states)
        return [Choice(action, "policy", self._version, state) for action, state in zip(actions, told, strict=True)]

    def _noise(self, driven: Sequence[Episode]) -> Array:
        """The noise of the next step of these episodes, (episodes, action_size): each goes on with its own."""
        for episode in driven:
            if episode not in self._noises:
                self._noises[episode] = Noise(self._spec.action_size, self._collection.noise_colour, self._random)
        return np.stack([self._noises[episode].next() for episode in driven])

    def between_rounds(self) -> None:
        """Take what has arrived; costs some microseconds when there is nothing to do."""
        while (message := self._port.poll()) is not None:
            self._take(message)

    def count(self, steps: int) -> None:
        """So many steps are taken now; reports now and then."""
        values = self._meter.count(steps)
        if values is not None:
            self._report(values)

    def _await_permission(self, permitted: Callable[[], bool]) -> None:
        while not permitted():
            started = time.monotonic()
            message = self._port.wait(IDLE_WAIT_S)
            self._meter.idle(time.monotonic() - started)
            if message is not None:
                self._take(message)
            self._port.beat()

    def _hold(self, permitted: Callable[[], bool]) -> bool:
        """Called when no car may go on: waits in lockstep; in real time the episode ends here."""
        if self._lockstep:
            self._await_permission(permitted)
        return self._lockstep

    def _hold_training(self) -> bool:
        """The same for training cars, which wait for an evaluation to be over, too."""
        if self._interrupts and self._must_evaluate:
            self._evaluate()
            return True
        return self._hold(lambda: self._room_to_train(1) > 0 or (self._interrupts and self._must_evaluate))

    def _take(self, message: Message) -> None:
        match message:
            case WeightsMessage():
                self._load(message)
            case Allowance():
                self._allow(message.transitions)
            case Assign():
                self._collection = CollectionOptions.model_validate(message.config["collection"])
                self._evaluation = EvaluationOptions.model_validate(message.config["evaluation"])
                self._running = message.state == "running"
                self._evaluates = message.evaluates
            case Command(name="stop"):
                raise Stop
            case Command(name="preview"):
                if self._previews is not None:
                    self._previews.on = bool(message.arguments.get("on"))
            case _:
                log.warning("the worker's engine has no use for %s", type(message).__name__)

    def _load(self, message: WeightsMessage) -> None:
        if message.version == self._version:
            return  # said again after a reconnect: it drives already, and its evaluation was asked for once
        try:
            manifest, _ = unpack(message.payload)
            self._actor = load_actor(Weights(manifest, message.payload), self._spec)
        except WeightsError as error:
            self._port.send(Status(self._run, "problem", f"weights version {message.version} cannot drive here: {error}"))
            return
        self._version = message.version
        if message.evaluate:
            first = self._evaluation.first_seed
            self._seeds_due = list(range(first, first + message.evaluate))

    def _report(self, values: dict[str, float]) -> None:
        state, detail = ("driving", "") if self._running else ("paused", "")
        if self._running and self._user_drives:
            state, detail = "waiting", TAKEN_OVER
        values["produced"] = self._produced
        if not self._lockstep:
            values["late_steps"] = sum(_paced(environment, "late_steps", 0) for environment in self._environments)
        self._port.send(Status(self._run, state, detail, values))


def track_line(run: str, track: Line) -> TrackLine:
    """A track as it is told: evenly thinned, first and last point included."""
    count = min(len(track.points), MAX_TRACK_POINTS)
    points = track.points[np.linspace(0, len(track.points) - 1, count).round().astype(np.int64)]
    return TrackLine(run, track.name, track.width_m, points[:, [0, 2]].astype("<f4").tobytes())


class _Gate:
    """The `rollout.Gate` of one engine: ``room`` says how many of so many steps may be taken now, ``hold`` waits where none may."""

    def __init__(self, engine: WorkerEngine, room: Room, hold: Callable[[], bool]) -> None:
        self._engine = engine
        self._room = room
        self.wait = hold

    def ready(self, steps: int) -> int:
        self._engine.between_rounds()
        steps = self._room(steps)
        self._engine.count(steps)
        return steps


class _Meter:
    """Steps per second of all cars, and how many times faster than real time they are; told about once a second."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._steps = 0
        self._idle_s = 0.0
        self._since = time.monotonic()

    def count(self, steps: int) -> dict[str, float] | None:
        """Count these steps; once per STATUS_INTERVAL_S returns what was measured since."""
        self._steps += steps
        elapsed = time.monotonic() - self._since
        if elapsed < STATUS_INTERVAL_S:
            return None
        busy = max(elapsed - self._idle_s, 1e-9)
        values = {
            "steps_per_s": self._steps / elapsed,
            "speed_factor": self._steps * self._step_s / elapsed,
            "busy_steps_per_s": self._steps / busy,
            "idle_share": min(1.0, self._idle_s / elapsed),
        }
        self._steps, self._idle_s, self._since = 0, 0.0, time.monotonic()
        return values

    def idle(self, seconds: float) -> None:
        """Count time spent waiting for allowance."""
        self._idle_s += seconds


def _paced(environment: Env | Environment, name: str, default: Any) -> Any:
    """What a `PacedEnv` has by that name; other environments have nobody else at the wheel, and nothing to let go of."""
    paced = getattr(environment, "unwrapped", environment)
    return getattr(paced, name) if isinstance(paced, PacedEnv) else default


def _make(options: EnvironmentOptions, cars: int) -> list[Env]:
    """The environments of so many cars.  Raises WorldError where several would have to keep up with the wall clock."""
    first = make(options)
    if cars > 1 and keeps_real_time(first, options):
        first.close()
        raise WorldError(
            f"worker.environments is {cars} on this machine, and {options.id} is driven in real time in this run: an engine steps "
            "its cars one after another, and each would act late. Set worker.environments = 1 here, or environment.clock to lockstep "
            "where the world can wait"
        )
    return [first, *(make(options) for _ in range(cars - 1))]


def _states(actor: Actor, driven: Sequence[Episode]) -> list[Array]:
    """What this policy remembers of each of these episodes.  A newer version of it goes on with what an older one remembered."""
    states: list[Array] = []
    for episode in driven:
        if episode.state is None:
            episode.state = actor.begin()
        states.append(episode.state)
    return states


def _expert(name: str, files: Mapping[str, str], spec: EnvSpec) -> Actor | None:
    """The policy that ``collection.policy`` names; None for "".  Raises WeightsError when it cannot drive here."""
    if not name:
        return None
    path = files.get(f"weights/{name}")
    if path is None:
        raise WeightsError(
            f"collection.policy is {name!r}, and this worker was not sent these weights: upgrade the relay's tmrld"
        )
    data = read_file(Path(path))
    try:
        manifest, _ = unpack(data)
        return load_actor(Weights(manifest, data), spec)
    except WeightsError as error:
        raise WeightsError(f"collection.policy is {name!r}, which cannot drive here: {error}") from error


def _stay_on_one_core() -> None:
    """Keep this process on one processor core, where the system lets us.

    In lockstep rtgym's two threads take turns and never run at once: handing over within a core is several times faster.
    """
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})


def run(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Entry point of the engine process.

    ``arguments``: run, worker, config, produced (transitions of this incarnation so far), environments (how many cars it drives),
    files (what it needs of the shelf: paths by "kind/name").
    """
    produced, cars = int(arguments["produced"]), int(arguments["environments"])
    files = arguments.get("files", {})
    WorkerEngine(port, arguments["run"], arguments["worker"], arguments["config"], produced, cars, files).run()
