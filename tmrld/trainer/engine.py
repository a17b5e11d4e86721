"""What runs in a trainer's engine process: it ingests the sample log, updates, and publishes weights, checkpoints and metrics.

The path of a sample: `Stored` message → cache (a copy of the run's log, same offsets, on this machine's disk) → replay memory.
Everything enters the memory from the cache, whether it arrives live or is read again after a resume, and only between updates;
each entry is journalled first (`tmrld.trainer.checkpoints`).

What it measures is judged meanwhile (`tmrld.trainer.health`).  A training that has diverged publishes no weights and keeps no state:
workers go on with the last good weights, and the engine that comes next with the last good checkpoint, without the journal's way to
where it went wrong.

A newer revision of the configuration takes effect between two updates and is journalled, too, as long as its changes are live
(`tmrld.applies`); for others the daemon starts a new engine.

Messages in: `Spaces`, `Resumed`, `Stored`, `Assign` (state, configuration), `Command` ("stop", "checkpoint").
Messages out: `Grant`, `Resume`, `Consumed`, `WeightsMessage`, `CheckpointMessage`, `Metrics`, `Status`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tmrld import __version__
from tmrld.engines.pipe import EnginePort
from tmrld.errors import BadInput, DiskFull, ProtocolError, StorageError
from tmrld.payloads import Chunk, EnvSpec, WeightsManifest
from tmrld.protocol.codec import StoredBody, decode, open_chunk, open_stored
from tmrld.protocol.messages import (
    MIB,
    Assign,
    CheckpointMessage,
    ChunkMessage,
    Command,
    Consumed,
    Grant,
    Message,
    Metrics,
    Resume,
    Resumed,
    Spaces,
    Status,
    Stored,
    WeightsMessage,
)
from tmrld.rl import weights as weight_files
from tmrld.rl.algorithm import StartsFromWeights, make_algorithm
from tmrld.rl.observations import image_parts
from tmrld.rl.options import AlgorithmOptions, NetworkOptions, ReplayOptions
from tmrld.rl.priorities import Prioritised
from tmrld.rl.replay import Replay
from tmrld.storage.layout import Layout
from tmrld.storage.records import Record
from tmrld.storage.sample_cache import Copy, SampleCache
from tmrld.trainer.checkpoints import Checkpoint, CheckpointFolder, Journal, JournalEntry, pack
from tmrld.trainer.device import choose, look, spoken
from tmrld.trainer.given import Files, demonstrations_to_learn_from, policy_to_start_from
from tmrld.trainer.health import DIVERGED, Health, Report, Verdict
from tmrld.trainer.loop import Counters, TrainingLoop, granted_transitions
from tmrld.trainer.memory import keep_freed_memory
from tmrld.trainer.options import TrainingOptions
from tmrld.trainer.profiling import Profiling
from tmrld.trainer.revisions import Revisions
from tmrld.trainer.symptoms import shown_by, values_of, without_number

log = logging.getLogger(__name__)

CREDIT_BYTES = 8 * MIB
"""How much of the log may be under way to this engine, unconsumed."""
READ_BYTES = 4 * MIB
IDLE_WAIT_S = 0.5
SET_UP_AGAIN_S = 30.0
"""How long an engine that cannot begin waits before it looks again whether it can."""
ROOM_AGAIN_S = 1.0
"""How long an engine whose disk is full waits before it looks again whether there is room."""
MOST_ARRIVED_BYTES = 8 * CREDIT_BYTES
"""How much may wait for room here: each new link brings more.  Beyond that, the engine ends and is started anew."""
FIRST_CHECKPOINT_UPDATES = 200
"""After so many updates the first checkpoint is written, if those of the run are farther apart: what is lost without one is least."""
RESUMING_SAID_S = 1.0
"""How often it is said how much has been done again."""
GRANT_STEP_SHARE = 0.1
"""A new grant is sent when it has grown by this share of the slack."""


T = TypeVar("T")


class Stop(Exception):
    """The daemon asked the engine to end."""


class TrainerEngine:
    """One run's training on this machine, from resume to stop."""

    def __init__(
        self,
        port: EnginePort,
        run: str,
        config: dict[str, Any],
        revision: int,
        layout: Layout,
        device: str,
        files: Files | None = None,
        profile_updates: int = 0,
    ) -> None:
        self._port = port
        self._run = run
        self._newest = Assign(run, config, revision, "paused")
        self._revision = 0
        """That of the options in use; 0 until some are."""
        self._device = device
        self._where = ""
        """The device in words, once it is chosen."""
        self._profiled = ""
        """What there is to say of the profile that was asked for."""
        self._files = files or {}
        self._algorithm_options = AlgorithmOptions.model_validate(config["algorithm"])
        self._network_options = NetworkOptions.model_validate(config["network"])
        self._replay_options = ReplayOptions.model_validate(config["replay"])
        self._training = TrainingOptions.model_validate(config["training"])
        self._sends_state = bool(config.get("collection", {}).get("policy_state"))
        """Whether workers tell what the policy remembered."""
        self._profiling = Profiling(layout.trainer_profiles(run), profile_updates)
        self._health = Health(self._algorithm_options)
        self._checkpoints = CheckpointFolder(layout.trainer_checkpoints(run))
        self._journal = Journal(layout.trainer_journal(run))
        self._revisions = Revisions(layout.trainer_revisions(run))
        self._cache = SampleCache(layout.trainer_cache(run))
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._resumed: Resumed | None = None
        self._spec: EnvSpec | None = None
        self._state = "paused"
        self._granted = -1
        self._pace = Pace()
        self._evaluated_at = 0
        self._checkpoint_asked = False
        self._checkpointed_at = 0
        self._said = ("", "")
        self._resuming_said_at = -RESUMING_SAID_S
        self._values: Mapping[str, float] = {}
        self._arrived: list[Stored] = []
        """What the cache does not have yet."""
        self._room_again_at = 0.0
        """While the disk is full, when to look again; 0 otherwise."""
        self._complete_to = 0
        """Up to here the cache holds everything, from the window on, that the relay's log has."""

    def run(self) -> None:
        """Resume, then train until told to stop; a last checkpoint is written on the way out."""
        checkpoint = self._checkpoints.newest()
        counters = Counters(**checkpoint.plain["counters"]) if checkpoint else Counters()
        begins_with_weights = checkpoint is None and bool(self._training.start_from)
        if not begins_with_weights:  # or nothing is collected before workers have them, rather than with random actions
            self._grant(granted_transitions(self._algorithm_options, self._training, counters.updates))
        try:
            self._once_possible(self._choose_device)  # importing torch takes seconds, in which workers collect what was granted
            self._wait_until(lambda: self._spec is not None, "waits for a worker to describe the environment")
            loop = self._once_possible(lambda: self._set_up(begins_with_weights))
            self._resume(loop, checkpoint)
            if begins_with_weights and not loop.counters.updates:
                self._evaluated_at = -self._training.evaluation_interval_updates  # due: how good is it to begin with?
                self._publish(loop)
            self._train(loop)
        except Stop:
            log.info("the training of %s stops as asked", self._run)
        finally:
            self._profiling.end()
            self._writer.shutdown()
            self._journal.close()
            self._cache.close()

    def _once_possible(self, begin: Callable[[], T]) -> T:
        """What ``begin`` makes.  While something forbids that, say so, and try again now and then: memory may become free.

        What else may be wrong, people mend: for a configuration that needs it, the daemon starts another engine.
        """
        told = False
        while True:
            try:
                return begin()
            except BadInput as error:
                detail = f"the training cannot begin: {error}"
            if not told:
                self._port.send(Status(self._run, "problem", detail))
                told = True
            self._wait_s(SET_UP_AGAIN_S, detail, "refused")

    def _set_up(self, begins_with_weights: bool) -> TrainingLoop:
        """Make what trains."""
        assert self._spec is not None
        loop = self._make_loop(self._spec)
        if begins_with_weights:
            self._start_from_weights(loop)
        return loop

    def _choose_device(self) -> None:
        """Find out where to compute, and say it.  Raises BadInput where the device that is asked for is not there."""
        _prepare_torch()
        seen = look()
        asked, self._device = self._device, choose(self._device, seen)
        self._where = f"computes on {spoken(self._device, seen)}"
        log.info("the training of %s %s: trainer.device is %s, and torch sees %s", self._run, self._where, asked, seen)

    def _make_loop(self, spec: EnvSpec) -> TrainingLoop:
        algorithm = make_algorithm(self._algorithm_options, self._network_options, spec, self._training.seed, self._device)
        self._health.action_size = spec.action_size
        options = self._replay_options
        gru = self._network_options.gru
        demonstrations = demonstrations_to_learn_from(self._files, options.demonstrations, spec, linked=gru > 0)
        replay = Replay(
            spec,
            options.capacity,
            linked=gru > 0,
            state=gru if self._sends_state else 0,
            prioritised=Prioritised.of(options),
            most_bytes=options.capacity_bytes,
            longest_chunk=self._newest.config.get("collection", {}).get("chunk_steps", 1),
            **self._image_places(demonstrations),
        )
        log.info(
            "the replay memory of %s holds up to %s transitions, in %.2f GiB",
            self._run,
            f"{replay.capacity:,}",
            replay.size_bytes / 2**30,
        )
        if demonstrations is not None:
            for value in values_of(demonstrations, self._algorithm_options.gamma):
                self._health.remember(value)
        return TrainingLoop(
            algorithm,
            replay,
            self._algorithm_options,
            self._training,
            demonstrations,
            options.demonstration_share,
            sequence_length=options.sequence_length if gru else 0,
            burn_in=options.burn_in,
            draws_ahead=self._device != "cpu" or bool(image_parts(spec)),
        )

    def _image_places(self, demonstrations: Replay | None) -> dict[str, Any]:
        """Where the replay memory has its images, which batches that are joined with demonstrations have to hand to numpy."""
        from tmrld.rl.devices import ImagePlaces  # torch

        return {} if demonstrations is not None else {"make_images": ImagePlaces(self._device)}

    def _start_from_weights(self, loop: TrainingLoop) -> None:
        name = self._training.start_from
        if not isinstance(loop.algorithm, StartsFromWeights):
            raise BadInput(
                f"the algorithm '{self._algorithm_options.name}' cannot start from weights: make the run without "
                "training.start_from, or give its class the method that tmrld.rl.algorithm describes"
            )
        loop.algorithm.start_from(policy_to_start_from(self._files, name, self._network_options, loop.replay.spec))
        log.info("the policy of %s starts from the weights %s", self._run, name)

    # Resuming

    def _resume(self, loop: TrainingLoop, checkpoint: Checkpoint | None) -> None:
        window = 0
        target = Counters()
        if checkpoint is not None:
            loop.restore(checkpoint.arrays, checkpoint.plain)
            self._revision = checkpoint.revision
            target, window = loop.counters, checkpoint.window
            loop.counters = Counters(updates=target.updates, offset=window)
        gaps = self._cache.gaps(window, self._cache.end)
        self._complete_to = gaps[0][0] if gaps else max(window, self._cache.end)
        lineage = checkpoint.lineage if checkpoint is not None else -1
        self._port.send(Resume(self._run, target.updates, self._complete_to, CREDIT_BYTES, lineage))
        self._wait_until(lambda: self._resumed is not None, "waits for the relay")
        assert self._resumed is not None
        self._refill(loop, target)
        self._checkpointed_at = target.updates
        try:
            self._replay_journal(loop)
        except Stop:
            self._checkpoint(loop, last=True)  # the rest of the journal leads on from there
            raise
        self._follow_configuration(loop)
        loop.counters.weights_version = max(loop.counters.weights_version, self._resumed.version)
        self._evaluated_at = loop.counters.updates
        self._say("training", self._where)
        if loop.counters.updates:
            self._publish(loop)
            log.info("resumed %s at update %d with %d transitions", self._run, loop.counters.updates, len(loop.replay))

    def _refill(self, loop: TrainingLoop, target: Counters) -> None:
        """Fill the replay memory with what it held at the checkpoint."""
        first = loop.counters.offset
        while loop.counters.offset < target.offset:
            done, needed = (loop.counters.offset - first) / MIB, (target.offset - first) / MIB
            self._say_resuming(target, f"{done:,.1f} of {needed:,.1f} MiB of samples read again", target.updates)
            if not self._ingest(loop, target.offset, journal=False):
                self._wait_for_data(f"refills the replay memory: {loop.counters.offset} of {target.offset} bytes")
        loop.counters = target

    def _replay_journal(self, loop: TrainingLoop) -> None:
        """Do again what was done after the checkpoint, in the same order."""
        entries = self._journal.after(loop.counters.updates, loop.counters.offset, self._revision)
        if entries and entries[0].update > loop.counters.updates and not len(loop.replay):
            log.error("no checkpoint of %s can be read, and its journal begins at update %d", self._run, entries[0].update)
            self._journal.clear()  # training begins anew, and so does its schedule
            return
        first = loop.counters.updates
        lost = entries[-1].update - first if entries else 0
        for entry in entries:
            while loop.counters.updates < entry.update:
                done = loop.counters.updates - first
                self._say_resuming(loop.counters, f"{done:,} of {lost:,} updates repeated", first)
                loop.update()
                self._between_updates()
            if entry.revision:
                self._return_to(loop, entry.revision)
            while loop.counters.offset < entry.offset:
                if not self._ingest(loop, entry.offset, journal=False):
                    self._wait_for_data(f"replays the journal at update {loop.counters.updates}")

    def _say_resuming(self, counters: Counters, done: str, update: int) -> None:
        """Report now and then how much has been done again since the engine goes on from ``update``."""
        if time.monotonic() - self._resuming_said_at >= RESUMING_SAID_S:
            self._resuming_said_at = time.monotonic()
            how_far = {"update": counters.updates, "transitions": counters.transitions}
            self._say("resuming", f"goes on from update {update:,}: {done}", how_far)

    def _return_to(self, loop: TrainingLoop, revision: int) -> None:
        """Use the options again that this revision had when it was journalled."""
        try:
            loop.set_options(*self._revisions.read(revision))
        except StorageError as error:
            log.error("training goes on with the options of another revision than before: %s", error)
        self._revision = revision

    def _follow_configuration(self, loop: TrainingLoop) -> None:
        """Use the newest revision that the relay told from the next update on, if it is not in use already."""
        newest = self._newest
        if newest.revision == self._revision:
            return
        algorithm = AlgorithmOptions.model_validate(newest.config["algorithm"])
        training = TrainingOptions.model_validate(newest.config["training"])
        self._once_there_is_room(lambda: self._revisions.keep(newest.revision, algorithm, training))
        self._note(JournalEntry(loop.counters.updates, revision=newest.revision))
        loop.set_options(algorithm, training)
        self._algorithm_options, self._training, self._revision = algorithm, training, newest.revision
        self._health.set_options(algorithm)
        self._granted = -1  # what may be collected follows from other numbers now
        log.info("revision %d of the configuration of %s is in use", newest.revision, self._run)
        self._say(self._said[0] or "training", f"uses revision {newest.revision} of the configuration")

    def _wait_for_data(self, detail: str) -> None:
        before = self._complete_to
        self._wait_until(lambda: self._complete_to > before, detail)

    def _wait_s(self, duration_s: float, detail: str, state: str) -> None:
        end = time.monotonic() + duration_s
        self._wait_until(lambda: time.monotonic() >= end, detail, state)

    def _once_there_is_room(self, write: Callable[[], None]) -> None:
        """Write what training cannot go on without.  While the disk is full, say so, and wait."""
        waited = False
        while True:
            try:
                write()
            except DiskFull as error:
                self._say_full(error)
                waited = True
                self._wait_s(ROOM_AGAIN_S, f"waits for room: {error}", "waiting")
            else:
                break
        if waited:
            self._say_roomy()

    def _say_full(self, error: DiskFull) -> None:
        if not self._room_again_at:
            detail = f"training waits for room: {error}"
            log.error("%s", detail)
            self._port.send(Status(self._run, "problem", detail))
        self._room_again_at = time.monotonic() + ROOM_AGAIN_S

    def _say_roomy(self) -> None:
        if self._room_again_at:
            self._room_again_at = 0.0
            log.info("there is room again: training goes on")
            self._say("training", self._doing)

    def _wait_until(self, condition: Callable[[], bool], detail: str, state: str = "waiting") -> None:
        while not condition():
            self._say(state, detail)
            message = self._port.wait(IDLE_WAIT_S)
            if message is not None:
                self._take(message)
            self._between_updates()

    # Training

    def _train(self, loop: TrainingLoop) -> None:
        try:
            while True:
                self._between_updates()
                self._follow_configuration(loop)
                training = self._training
                self._ingest(loop, None, journal=True)
                self._grant(loop.granted)
                if self._state != "running" or self._finished(loop) or not loop.update_is_due:
                    if self._checkpoint_asked:
                        self._checkpoint(loop)
                    self._idle(loop)
                    continue
                with self._pace.sampling():
                    batch = loop.batch()
                self._profile(loop.counters.updates)
                with self._pace.updating():
                    loop.learn(batch)
                updates, last = loop.counters.updates, self._finished(loop)
                if updates % training.metrics_interval_updates == 0 or last:
                    self._report(loop)  # before weights and state are given away, so that they are judged first
                if updates % training.weights_interval_updates == 0 or last:
                    self._publish(loop)
                interval = training.checkpoint_interval_updates
                if not self._checkpointed_at:
                    interval = min(interval, FIRST_CHECKPOINT_UPDATES)
                if updates % interval == 0 or self._checkpoint_asked:
                    self._checkpoint(loop)
        except Stop:
            self._checkpoint(loop, last=True)
            raise

    def _profile(self, updates: int) -> None:
        """Let the profile that was asked for begin or end, and say where it lies."""
        try:
            told = self._profiling.before(updates)
        except StorageError as error:
            self._port.send(Status(self._run, "problem", f"there is no profile: {error}"))
            return
        if told:
            log.info("%s: %s", self._run, told)
            self._profiled = told
            self._say("training", self._doing)

    def _idle(self, loop: TrainingLoop) -> None:
        if self._state != "running":
            self._say("paused", "")
        elif self._finished(loop):
            self._say("finished", f"made the {self._training.max_updates} updates that the run asks for")
        waits = self._state == "running" and not self._finished(loop)
        self._tell(self._health.waits(time.monotonic()) if waits else self._health.rests())
        with self._pace.idling():
            message = self._port.wait(IDLE_WAIT_S)
        if message is not None:
            self._take(message)

    def _finished(self, loop: TrainingLoop) -> bool:
        limit = self._training.max_updates
        return bool(limit) and loop.counters.updates >= limit

    def _ingest(self, loop: TrainingLoop, until: int | None, journal: bool) -> bool:
        """Move what the cache holds beyond the loop's offset into the memory; False if there was nothing.

        It goes no further than the cache is complete: behind a gap may lie what the relay is still sending.
        """
        if self._complete_to <= loop.counters.offset:
            return False
        stop = self._complete_to if until is None else min(until, self._complete_to)
        records = [record for record in self._cache.read(loop.counters.offset, READ_BYTES) if record.next_offset <= stop]
        if not records and until is not None and stop == until:
            loop.counters.offset = until  # what lay before was damaged at the relay, or pruned: it is gone
            return True
        if not records:
            return False
        if journal:
            self._note(JournalEntry(loop.counters.updates, records[-1].next_offset))
            self._tell(self._health.rests())
        for record in records:
            try:
                chunk = self._open(record.body)
                loop.ingest(chunk, record.offset, record.next_offset)
                if chunk is not None:
                    self._look_at(chunk, loop, again=not journal)
            except (ProtocolError, BadInput) as error:
                steps = record.facts.steps if record.facts.purpose == "train" else 0
                loop.ingest(None, record.offset, record.next_offset, left_out=steps)
                self._port.send(Status(self._run, "problem", f"the record at offset {record.offset} is left out: {error}"))
        self._port.send(Consumed(self._run, loop.counters.offset))
        return True

    def _look_at(self, chunk: Chunk, loop: TrainingLoop, *, again: bool) -> None:
        """Judge what was driven; a chunk that enters the memory ``again`` says no more than what rewards there are."""
        shown = shown_by(
            chunk,
            self._algorithm_options.gamma,
            loop.counters.weights_version,
            self._training.weights_interval_updates,
            forgets=loop.counters.transitions > len(loop.replay),
        )
        if again:
            self._health.remember(shown.value)
        else:
            self._tell(self._health.driven(shown))

    def _note(self, entry: JournalEntry) -> None:
        """Write it to the journal, unless nobody is to follow from here on."""
        if not self._health.diverged:
            self._once_there_is_room(lambda: self._journal.append(entry))

    def _open(self, body: bytes) -> Chunk | None:
        message = _chunk_message(body)
        return open_chunk(message) if message.purpose == "train" else None

    def _grant(self, transitions: int) -> None:
        if self._granted < 0 or transitions - self._granted >= self._training.slack_transitions * GRANT_STEP_SHARE:
            self._granted = transitions
            self._port.send(Grant(self._run, transitions))

    # Publishing

    def _publish(self, loop: TrainingLoop) -> None:
        """Send a new version of the policy, if it is fit to drive; now and then with a request to evaluate it."""
        assert self._resumed is not None
        counters, tensors = loop.counters, loop.algorithm.policy_tensors()
        self._tell(self._health.policy(counters.updates, tensors))
        if self._health.doubtful:
            return
        self._once_there_is_room(lambda: self._journal.append(JournalEntry(counters.updates, counters.offset)))
        counters.weights_version += 1
        manifest = WeightsManifest(
            run=self._run,
            version=counters.weights_version,
            update=counters.updates,
            lineage=self._resumed.lineage,
            spec=loop.replay.spec,
            network=self._network_options.model_dump(mode="json"),
            algorithm=self._algorithm_options.name,
            created_by=f"tmrld {__version__}",
        )
        evaluate = 0
        if counters.updates - self._evaluated_at >= self._training.evaluation_interval_updates:
            evaluate, self._evaluated_at = self._training.evaluation_episodes, counters.updates
        weights = weight_files.pack(manifest, tensors)
        self._port.send(WeightsMessage(self._run, manifest.version, manifest.update, manifest.lineage, evaluate, weights.data))

    def _report(self, loop: TrainingLoop) -> None:
        assert self._resumed is not None
        counters = loop.counters
        values = measurements(loop, self._pace)
        self._port.send(Metrics(self._run, self._resumed.lineage, counters.updates, counters.transitions, values))
        self._tell(self._health.report(Report(counters.updates, values)))
        state, detail = ("diverged", self._way_back) if self._health.diverged else ("training", self._doing)
        self._say(state, detail, {**values, "cache_bytes": self._cache.size_bytes})

    def _checkpoint(self, loop: TrainingLoop, *, last: bool = False) -> None:
        """Copy the state now; pack, write and send it in a thread while updates go on.

        Updates do not wait for the write before it: while that goes on (the line is slow) this checkpoint comes later; the
        ``last`` one of this engine waits.
        """
        assert self._resumed is not None
        if self._health.doubtful:
            log.warning("no checkpoint is kept at update %d: what was learned may be of no use", loop.counters.updates)
            self._checkpoint_asked = False
            return
        if self._writing is not None:
            if not last and not self._writing.done():
                self._checkpoint_asked = True
                return
            self._writing.result()
            try:
                self._cache.prune(self._checkpoints.oldest_window())
                self._journal.forget_before(min(self._checkpoints.updates(), default=0))
            except DiskFull as error:
                log.warning("what no checkpoint needs any more cannot be removed while the disk is full: %s", error)
        self._checkpoint_asked = False
        if loop.counters.updates == self._checkpointed_at:
            return
        self._checkpointed_at = loop.counters.updates
        arrays, plain = loop.state()
        counters = loop.counters
        window = loop.replay.oldest_offset
        checkpoint = Checkpoint(
            run=self._run,
            update=counters.updates,
            lineage=self._resumed.lineage,
            revision=self._revision,
            offset=counters.offset,
            window=counters.offset if window is None else window,
            arrays=arrays,
            plain=plain,
        )
        self._writing = self._writer.submit(self._write, checkpoint)

    def _write(self, checkpoint: Checkpoint) -> None:
        if bad := without_number(checkpoint.arrays):
            detail = f"no checkpoint is kept at update {checkpoint.update}: {bad[0]} holds what is no number (NaN)"
            self._port.send(Status(self._run, "problem", detail))
            return
        data = pack(checkpoint)
        try:
            self._checkpoints.save(checkpoint.update, checkpoint.window, data)
        except StorageError as error:
            self._port.send(Status(self._run, "problem", f"no checkpoint at update {checkpoint.update}: {error}"))
            return
        c = checkpoint
        self._port.send(CheckpointMessage(c.run, c.update, c.lineage, c.offset, c.window, data), wait_s=None)

    def _tell(self, verdicts: Iterable[Verdict]) -> None:
        """Say what begins to be wrong, and what does not go on to be.

        What a training that diverges has done since its last checkpoint is not to be done again: the journal ends there.  If it
        comes back by itself, a checkpoint is where the journal begins anew.
        """
        for verdict in verdicts:
            sentence = verdict.text if verdict.over else f"{verdict.text}: {verdict.mend}"
            if verdict.code in DIVERGED and not verdict.over:
                self._journal.clear()
                sentence = f"{sentence}.  {self._way_back}"
            elif verdict.code in DIVERGED:
                self._checkpoint_asked = True
            log.warning("at update %d: %s", verdict.update, sentence)
            state, values = ("recovered" if verdict.over else "problem"), {"verdict": verdict.code, "numbers": verdict.numbers}
            self._port.send(Status(self._run, state, sentence, {**self._shown, **values}))

    @property
    def _way_back(self) -> str:
        """What a training that has diverged is about, and how it is led back."""
        kept = self._checkpoints.updates()
        way = f"goes back to the checkpoint at update {kept[0]}" if kept else "begins anew, with all samples that there are"
        return (
            "Workers go on with the last good weights, and no checkpoint is written; when that is mended, restart the trainer's "
            f"engine (`tmrld node restart NAME`): it {way}.  To go back further: "
            f"`tmrld checkpoint resume {self._run} UPDATE`, with one that `tmrld checkpoint list {self._run}` names"
        )

    @property
    def _doing(self) -> str:
        """What a training that goes well is about."""
        return f"{self._where}; {self._profiled}" if self._profiled else self._where

    @property
    def _shown(self) -> dict[str, Any]:
        """What every status says besides its sentence."""
        standing = [each.to_plain() for each in self._health.standing]
        facts = {"device": self._device, "revision": self._revision, "profile": self._profiled}
        return {**self._values, **facts, "health": standing}

    def _say(self, state: str, detail: str, values: Mapping[str, float] | None = None) -> None:
        """Report what the engine does, when that has changed."""
        if values is None and (state, detail) == self._said:
            return
        self._said = (state, detail)
        self._values = self._values if values is None else values
        self._port.send(Status(self._run, state, detail, self._shown))

    # Messages

    def _between_updates(self) -> None:
        while (message := self._port.poll()) is not None:
            self._take(message)
        self._port.beat()
        if self._arrived and time.monotonic() >= self._room_again_at:
            self._mirror()

    def _mirror(self) -> None:
        """Put what arrived into the cache; while the disk is full, leave it for later.  Raises DiskFull once it is too much."""
        copies = [_copy(record) for stored in self._arrived for record in open_stored(stored)]
        try:
            stored = self._cache.mirror(copies)
        except DiskFull as error:
            if sum(len(stored.payload) for stored in self._arrived) > MOST_ARRIVED_BYTES:
                raise
            self._say_full(error)
            return
        self._arrived.clear()
        self._complete_to = max(self._complete_to, copies[-1].next_offset)
        if stored:
            self._say_roomy()

    def _take(self, message: Message) -> None:
        match message:
            case Stored():
                if self._resumed is not None:  # or it was meant for an engine before this one, and what came before it is lost
                    self._arrived.append(message)
            case Assign():
                self._state = message.state
                self._newest = message
            case Spaces():
                self._spec = EnvSpec.from_plain(message.spec)
            case Resumed():
                self._resumed = message
            case Command(name="checkpoint"):
                self._checkpoint_asked = True
            case Command(name="stop"):
                raise Stop
            case _:
                log.warning("the trainer's engine has no use for %s", type(message).__name__)


def _chunk_message(body: bytes | memoryview) -> ChunkMessage:
    message = decode(body)
    if not isinstance(message, ChunkMessage):
        raise ProtocolError(f"the sample log holds a {type(message).__name__} where a chunk was expected")
    return message


def _copy(stored: StoredBody) -> Copy:
    """A record for the cache, at the offsets that it has in the relay's log."""
    m = _chunk_message(stored.body)
    record = Record(m.worker, m.incarnation, m.number, m.steps, m.purpose, m.episode, stored.body)
    return Copy(stored.offset, stored.next_offset, record)


def measurements(loop: TrainingLoop, pace: Pace) -> dict[str, float]:
    """All that is reported, averaged since the last call."""
    memories = {"replay_transitions": float(len(loop.replay))}
    if loop.demonstrations is not None:
        memories["demonstration_transitions"] = float(len(loop.demonstrations))
    return {**loop.algorithm.stats(), **pace.take(), **memories}


class Pace:
    """Where the time goes: updates per second, the shares spent updating, drawing batches and waiting for samples, and processor
    time per second.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._since = time.perf_counter()
        self._processor_s = time.process_time()
        self._updates = 0
        self._updating_s = 0.0
        self._sampling_s = 0.0
        self._idle_s = 0.0

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Time one update."""
        started = time.perf_counter()
        yield
        self._updating_s += time.perf_counter() - started
        self._updates += 1

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Time the drawing of a batch."""
        started = time.perf_counter()
        yield
        self._sampling_s += time.perf_counter() - started

    @contextmanager
    def idling(self) -> Iterator[None]:
        """Time a wait."""
        started = time.perf_counter()
        yield
        self._idle_s += time.perf_counter() - started

    def take(self) -> dict[str, float]:
        """What was measured since the last call."""
        elapsed = max(time.perf_counter() - self._since, 1e-9)
        values = {
            "updates_per_s": self._updates / elapsed,
            "updating_share": self._updating_s / elapsed,
            "sampling_share": self._sampling_s / elapsed,
            "waiting_share": self._idle_s / elapsed,
            "processor_share": (time.process_time() - self._processor_s) / elapsed,
        }
        self._reset()
        return values


def _prepare_torch() -> None:
    """Import torch, and set what holds for the whole process: one thread, denormals flushed, since they are very slow, and memory
    used again.
    """
    import torch

    keep_freed_memory()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def run(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Entry point of the engine process.

    ``arguments``: run, config, revision, data (the data folder), device, files (where those of the relay's shelf lie here, see
    `tmrld.trainer.given`), profile_updates (how many to trace, see `tmrld.trainer.profiling`).
    """
    engine = TrainerEngine(
        port,
        arguments["run"],
        arguments["config"],
        int(arguments["revision"]),
        Layout(Path(arguments["data"])),
        arguments["device"],
        arguments.get("files", {}),
        arguments.get("profile_updates", 0),
    )
    engine.run()
