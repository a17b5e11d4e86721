"""What runs in a worker's engine process: it steps the environment with the newest policy and hands chunks to its daemon.

Messages in: `Assign` (state, evaluates, configuration), `WeightsMessage`, `Allowance`, `Command` ("stop", "preview").
Messages out: `Describe` first, then `TrackLine`, `ChunkMessage`, `Status` and `Preview`.  The daemon fills in incarnation and
numbers.

In lockstep the loop stops when the allowance is used up; in real time it waits for nothing but the clock.  Until the first weights
arrive, actions are random.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tmrld.engines.pipe import EnginePort
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import Line, describe, make, newest_frames, track_of, view_of
from tmrld.errors import PipeFull, WeightsError
from tmrld.payloads import Weights
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
from tmrld.rl.weights import unpack
from tmrld.worker.options import CollectionOptions, EvaluationOptions
from tmrld.worker.previews import Previews
from tmrld.worker.rollout import Choice, EpisodePlan, drive

log = logging.getLogger(__name__)

IDLE_WAIT_S = 0.5
STATUS_INTERVAL_S = 1.0


class Stop(Exception):
    """The daemon asked the engine to end."""


class WorkerEngine:
    """A worker's engine: what it was told, the policy that it drives with, and how far it has come."""

    def __init__(self, port: EnginePort, run: str, worker: str, config: dict[str, Any], produced: int) -> None:
        self._port = port
        self._run = run
        self._worker = worker
        self._options = EnvironmentOptions.model_validate(config["environment"])
        self._collection = CollectionOptions.model_validate(config["collection"])
        self._evaluation = EvaluationOptions.model_validate(config["evaluation"])
        self._lockstep = self._options.clock == "lockstep"
        if self._lockstep:
            _stay_on_one_core()
        self._environment = make(self._options)
        self._spec = describe(self._environment, self._options)
        self._random = np.random.default_rng([int(config["training"]["seed"]), 2, produced])
        self._running = False
        self._evaluates = False
        self._allowed = 0
        self._produced = produced
        self._actor: Actor | None = None
        self._version = -1
        self._evaluation_due = 0
        self._meter = _Meter(self._spec.step_s)
        self._step = 0
        view = view_of(self._options)
        self._previews = None if view is None else Previews(run, view, port.send, in_thread=not self._lockstep)

    def run(self) -> None:
        """Drive until told to stop."""
        self._port.send(Describe(self._run, "", self._spec.to_plain()))
        track = track_of(self._options)
        if track is not None:
            self._port.send(track_line(self._run, track))
        try:
            while True:
                self._await_permission(lambda: self._may_train or self._must_evaluate)
                if self._must_evaluate:
                    self._evaluate()
                else:
                    self._train()
        except Stop:
            log.info("the engine of %s stops as asked", self._worker)
        finally:
            if self._previews is not None:
                self._previews.close()
            self._environment.close()

    @property
    def _may_train(self) -> bool:
        return self._running and (not self._lockstep or self._produced < self._allowed)

    @property
    def _must_evaluate(self) -> bool:
        return self._running and self._evaluates and self._evaluation_due > 0 and self._actor is not None

    def _train(self) -> None:
        plan = EpisodePlan(self._run, self._worker, self._options.track, "train")
        self._drive(plan, self._choose, _Gate(self, lambda: self._may_train))

    def _evaluate(self) -> None:
        """One evaluation: the deterministic policy of one version, from starts perturbed by consecutive seeds."""
        actor, version, episodes = self._actor, self._version, self._evaluation_due
        assert actor is not None
        self._evaluation_due = 0
        perturb = {
            "offset_m": self._evaluation.offset_m,
            "heading_deg": self._evaluation.heading_deg,
            "grip": self._evaluation.grip,
        }

        def choose(observation: Any) -> Choice:
            return Choice(actor.act(observation, deterministic=True, rng=self._random), "policy", version)

        for seed in range(self._evaluation.first_seed, self._evaluation.first_seed + episodes):
            plan = EpisodePlan(self._run, self._worker, self._options.track, "evaluation", seed, {"perturb": perturb})
            self._drive(plan, choose, _Gate(self, lambda: self._running))

    def _drive(self, plan: EpisodePlan, choose: Callable[[Any], Choice], gate: _Gate) -> None:
        clock = None if self._lockstep else time.monotonic
        self._step = 0
        shown = choose if self._previews is None else self._shown(choose, self._previews)
        for chunk in drive(self._environment, self._spec, shown, plan, self._collection, gate, clock):
            self._hand_over(seal_chunk(chunk, compress=self._collection.compression == "zstd"))

    def _shown(self, choose: Callable[[Any], Choice], previews: Previews) -> Callable[[Any], Choice]:
        """The same choices, shown to whoever watches."""
        world = self._environment.unwrapped

        def choose_and_show(observation: Any) -> Choice:
            choice = choose(observation)
            if previews.on and previews.due:
                lidar = newest_frames(self._spec, observation)["lidar"]
                previews.see(self._step, world.newest_info, lidar, choice.action)  # type: ignore[attr-defined]  # a PacedEnv
            self._step += 1
            return choice

        return choose_and_show

    def _hand_over(self, chunk: ChunkMessage) -> None:
        """Give a chunk to the daemon; when that takes no more, driving stops until it does: nothing is dropped."""
        try:
            self._port.send(chunk)
        except PipeFull as error:
            self._port.send(Status(self._run, "problem", f"collection waits: {error}"))
            self._port.send(chunk, wait_s=None)

    def _choose(self, observation: Any) -> Choice:
        """The stochastic policy, or a random action while there is none."""
        self._produced += 1
        if self._actor is None:
            return Choice(self._random.uniform(-1, 1, self._spec.action_size).astype(np.float32), "random")
        return Choice(self._actor.act(observation, deterministic=False, rng=self._random), "policy", self._version)

    def between_steps(self) -> None:
        """Take what has arrived, and report now and then; costs some microseconds when there is nothing to do."""
        while (message := self._port.poll()) is not None:
            self._take(message)
        self._port.beat()
        values = self._meter.step()
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

    def hold(self, permitted: Callable[[], bool]) -> bool:
        """Called in an episode that may not go on: waits in lockstep; in real time the episode ends here."""
        if self._lockstep:
            self._await_permission(permitted)
        return self._lockstep

    def _take(self, message: Message) -> None:
        match message:
            case WeightsMessage():
                self._load(message)
            case Allowance():
                self._allowed = message.transitions
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
            self._evaluation_due = message.evaluate

    def _report(self, values: dict[str, float]) -> None:
        state = "driving" if self._running else "paused"
        values["produced"] = self._produced
        self._port.send(Status(self._run, state, "", values))


def track_line(run: str, track: Line) -> TrackLine:
    """A track as it is told: evenly thinned, first and last point included."""
    count = min(len(track.points), MAX_TRACK_POINTS)
    points = track.points[np.linspace(0, len(track.points) - 1, count).round().astype(np.int64)]
    return TrackLine(run, track.name, track.width_m, points[:, [0, 2]].astype("<f4").tobytes())


class _Gate:
    """The `rollout.Gate` of one episode."""

    def __init__(self, engine: WorkerEngine, permitted: Callable[[], bool]) -> None:
        self._engine = engine
        self._permitted = permitted

    def ready(self) -> bool:
        self._engine.between_steps()
        return self._permitted()

    def wait(self) -> bool:
        return self._engine.hold(self._permitted)


class _Meter:
    """Steps per second, and how many times faster than real time they are; told about once a second."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._steps = 0
        self._idle_s = 0.0
        self._since = time.monotonic()

    def step(self) -> dict[str, float] | None:
        """Count a step; once per STATUS_INTERVAL_S returns what was measured since."""
        self._steps += 1
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


def _stay_on_one_core() -> None:
    """Keep this process on one processor core, where the system lets us.

    In lockstep rtgym's two threads take turns and never run at once: handing over within a core is several times faster.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})


def run(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Entry point of the engine process.  ``arguments``: run, worker, config, produced (transitions of this incarnation so far)."""
    WorkerEngine(port, arguments["run"], arguments["worker"], arguments["config"], int(arguments["produced"])).run()
