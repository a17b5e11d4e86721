"""A trainer's engine and the relay's log: whatever got lost on the way to an engine that is no more reaches the next one.

The engine runs in a thread; the test is its daemon and its relay.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import numpy as np
import pytest

from tests.support.cluster import DEADLINE_S, LEDGER_RUN
from tests.support.ledger_env import LedgerEnv
from tmrld.configuration import run_config
from tmrld.engines.pipe import EnginePort
from tmrld.engines.wire import wire_pair
from tmrld.errors import DaemonGone
from tmrld.payloads import WeightsManifest
from tmrld.protocol import demonstrations
from tmrld.protocol.codec import StoredBody, decode, encode, open_chunk, seal_chunk, seal_stored
from tmrld.protocol.messages import (
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
    WeightsMessage,
)
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC
from tmrld.rl.weights import pack
from tmrld.rl.weights import unpack as unpack_weights
from tmrld.storage.layout import Layout
from tmrld.storage.records import Facts, Record, StoredRecord
from tmrld.storage.sample_cache import Copy, SampleCache
from tmrld.storage.sample_log import SampleLog
from tmrld.trainer import engine
from tmrld.trainer.checkpoints import Journal, unpack
from tmrld.trainer.engine import Stop, TrainerEngine
from tmrld.trainer.loop import TrainingLoop
from tmrld.trainer.profiling import WARM_UP
from tmrld.worker.episode import Choice, Episode, EpisodePlan
from tmrld.worker.options import CollectionOptions

CONFIG = run_config(
    {
        **LEDGER_RUN,
        "algorithm": {**LEDGER_RUN["algorithm"], "warm_up": 20},
        "training": {**LEDGER_RUN["training"], "weights_interval_updates": 5, "checkpoint_interval_updates": 1000},
    }
).model_dump(mode="json")
M = TypeVar("M", bound=Message)


@pytest.fixture
def log(tmp_path: Path) -> list[StoredRecord]:
    """The relay's log: 40 chunks of a few episodes."""
    environment = LedgerEnv(str(tmp_path))
    random = np.random.default_rng(0)
    records: list[Record] = []
    while len(records) < 40:
        plan = EpisodePlan("demo", "w", "default")
        episode = Episode(environment, environment.tmrld_spec, plan, CollectionOptions(chunk_steps=5))
        while not episode.ended:
            chunk = episode.step(Choice(random.uniform(-1, 1, 2).astype(np.float32), "random"))
            if chunk is None:
                continue
            message = seal_chunk(replace(chunk, incarnation="i", number=len(records)))
            records.append(Record("w", "i", len(records), chunk.steps, "train", chunk.episode, encode(message)))
    environment.close()
    sample_log = SampleLog(tmp_path / "log")
    sample_log.append(records)
    stored = sample_log.read(0, 1 << 30)
    sample_log.close()
    return stored


class Life:
    """One life of the engine, and this end of its pipe.  Leaving the block kills it, as far as a thread can be."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any] = CONFIG,
        revision: int = 1,
        files: dict[str, str] | None = None,
        profile_updates: int = 0,
        device: str = "cpu",
    ) -> None:
        theirs, ours = wire_pair()
        self._port = EnginePort(ours, beat_s=1e9)
        self._engine_port = EnginePort(theirs)
        self._folder = folder
        self._config = config
        self._revision = revision
        self._files = files
        self._profile_updates = profile_updates
        self._device = device
        self._thread = threading.Thread(target=self._run)
        self.heard: list[Message] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self.tell(Assign("demo", self._config, self._revision, "running"), Spaces("demo", LedgerEnv.tmrld_spec.to_plain()))
        return self

    def __exit__(self, *_: object) -> None:
        self._port.close()
        self._thread.join()
        self._engine_port.close()

    def _run(self) -> None:
        with suppress(DaemonGone):
            engine = TrainerEngine(
                self._engine_port,
                "demo",
                self._config,
                self._revision,
                Layout(self._folder),
                self._device,
                self._files,
                self._profile_updates,
            )
            engine.run()

    def tell(self, *messages: Message) -> None:
        for message in messages:
            self._port.send(message, wait_s=None)

    def feed(self, records: list[StoredRecord]) -> None:
        self.tell(*(seal_stored("demo", [StoredBody(r.offset, r.next_offset, r.body)]) for r in records))

    def hear(self, kind: type[M], such: Callable[[Any], bool] = lambda _: True) -> M:
        """The next message of this kind."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            message = self._port.wait(DEADLINE_S)
            assert message is not None, f"no {kind.__name__} came, only {self.heard}"
            assert time.monotonic() < deadline, f"no {kind.__name__} came, only {self.heard}"
            self.heard.append(message)
            if isinstance(message, kind) and such(message):
                return message

    def ended(self) -> None:
        """Wait until it has ended by itself, and hear what it said last."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        while (message := self._port.poll()) is not None:
            self.heard.append(message)

    def stop(self) -> dict[str, Any]:
        """Ask it to end; returns the counters of its last checkpoint."""
        self.tell(Command(0, "stop"))
        counters: dict[str, Any] = unpack(self.hear(CheckpointMessage).payload, "the checkpoint").plain["counters"]
        return counters


def test_where_it_computes_is_told(tmp_path: Path, log: list[StoredRecord]) -> None:
    with Life(tmp_path) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log)
        status = life.hear(Status, lambda message: message.state == "training")
        assert (status.detail, status.values["device"]) == ("computes on the processor", "cpu")


def test_a_device_that_is_not_there_is_said_and_waited_for(tmp_path: Path) -> None:
    with Life(tmp_path, device="cuda:99") as life:
        problem = life.hear(Status, lambda status: status.state == "problem")
        assert problem.detail.startswith(
            "the training cannot begin: trainer.device is 'cuda:99', and on this machine torch sees "
        )
        standing = life.hear(Status, lambda status: status.state == "refused")
        assert standing.detail == problem.detail
        life.tell(Command(0, "stop"))
        life.ended()
    assert not [message for message in life.heard if isinstance(message, Resume)]


def test_a_profile_is_taken_while_the_run_goes_on_and_told_where_it_lies(tmp_path: Path, log: list[StoredRecord]) -> None:
    config = {**CONFIG, "algorithm": {**CONFIG["algorithm"], "name": "sac"}, "network": {**CONFIG["network"], "hidden": [8]}}
    with Life(tmp_path, config, profile_updates=3) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log)
        status = life.hear(Status, lambda message: "a profile of 3 updates" in message.detail)
        folder = Layout(tmp_path).trainer_profiles("demo")
        trace = folder / f"update-{WARM_UP + 3}.json"
        assert f"lies in {trace} (open it at https://ui.perfetto.dev" in status.detail
        life.hear(WeightsMessage)
    spans = Counter(event.get("name") for event in json.loads(trace.read_text())["traceEvents"])
    assert spans["update"] == spans["critics"] == 3
    assert "critics" in trace.with_suffix(".txt").read_text()
    assert len(list(folder.iterdir())) == 2


def steps(records: list[StoredRecord]) -> int:
    return sum(record.facts.steps for record in records)


def test_what_was_sent_to_an_engine_that_died_leaves_no_gap(tmp_path: Path, log: list[StoredRecord]) -> None:
    with Life(tmp_path) as life:
        assert life.hear(Resume).offset == 0
        life.tell(Resumed("demo", 0, 0))
        life.feed(log[:20])
        life.hear(Consumed, lambda message: message.offset == log[19].next_offset)
    with Life(tmp_path) as life:
        life.feed(log[25:30])  # sent to the engine before; 20 to 24 died with it
        assert life.hear(Resume).offset == log[20].offset
        life.feed(log[30:31])
        life.tell(Resumed("demo", 0, 0))
        life.hear(WeightsMessage)  # it has resumed, and trains
        life.feed(log[20:])
        life.hear(Consumed, lambda message: message.offset == log[-1].next_offset)
        counters = life.stop()
    assert counters["transitions"] == steps(log)


def test_a_hole_in_the_cache_is_filled_before_the_memory_is(tmp_path: Path, log: list[StoredRecord]) -> None:
    with Life(tmp_path) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log)
        life.hear(Consumed, lambda message: message.offset == log[-1].next_offset)
        life.stop()
    keep_in_cache(tmp_path, log[20:])
    with Life(tmp_path) as life:
        assert life.hear(Resume).offset == 0
        life.tell(Resumed("demo", 0, 0))
        life.hear(Status, lambda message: message.detail.startswith("refills"))
        assert Consumed not in map(type, life.heard)
        life.feed(log[:10])
        life.hear(Consumed, lambda message: message.offset == log[9].next_offset)
        life.feed(log[10:])  # a relay sends all from the offset on
        life.hear(Consumed, lambda message: message.offset == log[-1].next_offset)
        life.hear(WeightsMessage)


def test_records_that_are_gone_for_good_are_not_waited_for(tmp_path: Path, log: list[StoredRecord]) -> None:
    rest = log[:10] + log[12:]
    with Life(tmp_path) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(rest)
        life.hear(Consumed, lambda message: message.offset == log[-1].next_offset)
        life.stop()
    with Life(tmp_path) as life:
        assert life.hear(Resume).offset == log[10].offset
        life.tell(Resumed("demo", 0, 0))
        life.feed(rest[10:])
        life.hear(WeightsMessage)


def keep_in_cache(folder: Path, records: list[StoredRecord]) -> None:
    """The trainer's copy of the log has these records only."""
    path = Layout(folder).trainer_cache("demo")
    shutil.rmtree(path)
    cache = SampleCache(path)
    cache.mirror(
        [Copy(record.offset, record.next_offset, Record(**vars_of(record.facts), body=record.body)) for record in records]
    )
    cache.close()


def vars_of(facts: Facts) -> dict[str, Any]:
    return {field.name: getattr(facts, field.name) for field in fields(facts)}


# A configuration that changes


def changed(**algorithm: Any) -> dict[str, Any]:
    """The configuration with other values in this group."""
    return {**CONFIG, "algorithm": {**CONFIG["algorithm"], **algorithm}}


def test_a_newer_revision_is_used_without_a_new_engine_and_again_after_a_kill(tmp_path: Path, log: list[StoredRecord]) -> None:
    with Life(tmp_path) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log[:20])
        life.hear(WeightsMessage)
        life.tell(Assign("demo", changed(update_to_data=0.5), 2, "running"))
        life.hear(Status, lambda status: status.values.get("revision") == 2)
        life.feed(log[20:])
        life.hear(Consumed, lambda message: message.offset == log[-1].next_offset)
    with closing(Journal(Layout(tmp_path).trainer_journal("demo"))) as journal:
        switched = [entry for entry in journal.after(0, 0) if entry.revision]
    assert [entry.revision for entry in switched] == [1, 2]
    assert switched[0].update == 0
    assert switched[1].update > 0
    with Life(tmp_path, changed(update_to_data=0.5), 2) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.hear(WeightsMessage)
        life.tell(Command(0, "stop"))
        checkpoint = unpack(life.hear(CheckpointMessage).payload, "the checkpoint")
    assert checkpoint.revision == 2
    assert checkpoint.plain["options"]["algorithm"]["update_to_data"] == 0.5


# Files that the run names


def starting(**training: Any) -> dict[str, Any]:
    """A run of the real algorithm that starts from the weights "mine" and holds them for 10 updates."""
    return {
        **changed(name="sac", policy_hold=10),
        "training": {**CONFIG["training"], "start_from": "mine", "evaluation_interval_updates": 1000, **training},
    }


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, str]:
    """Weights on this machine, as those of another run."""
    network = NetworkOptions.model_validate(CONFIG["network"])
    tensors = SAC(AlgorithmOptions(), network, LedgerEnv.tmrld_spec, seed=99).policy_tensors()
    manifest = WeightsManifest("old", 7, 100, 0, LedgerEnv.tmrld_spec, network.model_dump(mode="json"), "sac")
    path = tmp_path / "mine"
    path.write_bytes(pack(manifest, tensors).data)
    return {"weights/mine": str(path)}


def test_a_run_that_starts_from_weights_drives_with_them_before_the_first_update(
    tmp_path: Path, log: list[StoredRecord], mine: dict[str, str]
) -> None:
    with Life(tmp_path, starting(), files=mine) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        first = life.hear(WeightsMessage)
        assert (first.version, first.update, first.evaluate) == (1, 0, CONFIG["training"]["evaluation_episodes"])
        assert Grant not in map(type, life.heard), "nothing is collected with random actions"
        life.hear(Grant)
        life.feed(log[:20])
        held = life.hear(WeightsMessage, lambda message: message.update == 10)
        learned = life.hear(WeightsMessage, lambda message: message.update > 10)
        counters = life.stop()
    _, original = unpack_weights(Path(mine["weights/mine"]).read_bytes())
    _, at_first = unpack_weights(first.payload)
    for name, tensor in original.items():
        np.testing.assert_array_equal(at_first[name], tensor)
        np.testing.assert_array_equal(unpack_weights(held.payload)[1][name], tensor)
    head = unpack_weights(learned.payload)[1]["head.weight"]
    assert not np.array_equal(head, original["head.weight"])

    with Life(tmp_path, starting()) as life:  # from its checkpoint: the file is not even needed
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        resumed = life.hear(WeightsMessage)
    assert resumed.update == counters["updates"] > 10
    assert not np.array_equal(unpack_weights(resumed.payload)[1]["head.weight"], original["head.weight"])


def test_killed_before_its_first_checkpoint_a_run_starts_from_its_weights_again_and_comes_as_far(
    tmp_path: Path, log: list[StoredRecord], mine: dict[str, str]
) -> None:
    config = starting(max_updates=25)
    with Life(tmp_path, config, files=mine) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log)
        before = life.hear(WeightsMessage, lambda message: message.update == 25)
    with Life(tmp_path, config, files=mine) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, before.version))
        after = life.hear(WeightsMessage)
    assert (after.update, after.version) == (25, before.version + 1)
    left, right = unpack_weights(before.payload)[1], unpack_weights(after.payload)[1]
    for name, tensor in left.items():
        np.testing.assert_array_equal(right[name], tensor)


def test_what_is_done_again_after_a_kill_is_told_and_a_stop_meanwhile_keeps_how_far_it_came(
    tmp_path: Path, log: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**CONFIG, "training": {**CONFIG["training"], "max_updates": 25}}
    with Life(tmp_path, config) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log)
        before = life.hear(WeightsMessage, lambda message: message.update == 25)
    update = TrainingLoop.update

    def stopped_at_10(loop: TrainingLoop) -> None:
        if loop.counters.updates == 10:
            raise Stop
        update(loop)

    monkeypatch.setattr(engine, "RESUMING_SAID_S", 0.0)
    with monkeypatch.context() as patch, Life(tmp_path, config) as life:
        patch.setattr(TrainingLoop, "update", stopped_at_10)
        life.hear(Resume)
        life.tell(Resumed("demo", 0, before.version))
        told = life.hear(Status, lambda status: status.detail == "goes on from update 0: 4 of 25 updates repeated")
        assert (told.state, told.values["update"]) == ("resuming", 4)
        assert told.values["transitions"] > 0
        assert life.hear(CheckpointMessage).update == 10
        life.ended()
    with Life(tmp_path, config) as life:
        assert life.hear(Resume).update == 10
        life.tell(Resumed("demo", 0, before.version))
        life.hear(Status, lambda status: "MiB of samples read again" in status.detail and status.values["update"] == 10)
        life.hear(Status, lambda status: status.detail == "goes on from update 10: 0 of 15 updates repeated")
        assert life.hear(Status, lambda status: status.state != "resuming").detail == "computes on the processor"
        after = life.hear(WeightsMessage)
    left, right = unpack_weights(before.payload)[1], unpack_weights(after.payload)[1]
    assert after.update == 25
    for name, tensor in left.items():
        np.testing.assert_array_equal(right[name], tensor)


def test_the_first_checkpoint_comes_early(tmp_path: Path, log: list[StoredRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FIRST_CHECKPOINT_UPDATES", 20)
    config = {**CONFIG, "training": {**CONFIG["training"], "checkpoint_interval_updates": 50}}
    with Life(tmp_path, config) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log)
        assert [life.hear(CheckpointMessage).update for _ in range(2)] == [20, 50]


def test_demonstrations_are_learned_from_and_told_of(tmp_path: Path, log: list[StoredRecord]) -> None:
    chunks = [open_chunk(cast(ChunkMessage, decode(record.body))) for record in log]
    whole = max(index for index, chunk in enumerate(chunks) if chunk.ended) + 1
    path = tmp_path / "shown"
    path.write_bytes(demonstrations.pack("shown", "default", LedgerEnv.tmrld_spec, chunks[:whole]))
    config = {
        **changed(name="sac"),
        "replay": {**CONFIG["replay"], "demonstrations": ["shown"], "demonstration_share": 0.5},
        "training": {**CONFIG["training"], "metrics_interval_updates": 5},
    }
    with Life(tmp_path, config, files={"demonstrations/shown": str(path)}) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log[:20])
        metrics = life.hear(Metrics)
        assert metrics.transitions <= steps(log[:20])
        assert metrics.values["demonstration_transitions"] == sum(chunk.steps for chunk in chunks[:whole])
        assert life.stop()["transitions"] == steps(log[:20])


# A training that cannot begin


def test_a_training_that_cannot_begin_says_why_and_waits_for_somebody_to_mend_it(tmp_path: Path) -> None:
    config = {**changed(name="sac"), "replay": {**CONFIG["replay"], "capacity_bytes": 1}}
    with Life(tmp_path, config) as life:
        problem = life.hear(Status, lambda status: status.state == "problem")
        assert "the training cannot begin: a replay memory of 7 transitions, as many as a chunk may have" in problem.detail
        assert "and replay.capacity_bytes is 1: raise it" in problem.detail
        standing = life.hear(Status, lambda status: status.state == "refused")
        assert standing.detail == problem.detail
        life.tell(Command(0, "stop"))
        life.ended()
    assert not [message for message in life.heard if isinstance(message, Resume)]


# A training that goes wrong


def judged(reward_scale: float = 1.0) -> dict[str, Any]:
    """A run of the real algorithm that reports, publishes and keeps its state every 10 updates."""
    intervals = dict.fromkeys(("metrics_interval_updates", "weights_interval_updates", "checkpoint_interval_updates"), 10)
    return {**changed(name="sac", reward_scale=reward_scale), "training": {**CONFIG["training"], **intervals}}


def test_a_training_that_diverges_gives_nothing_away_and_goes_on_from_the_last_good_checkpoint(
    tmp_path: Path, log: list[StoredRecord]
) -> None:
    folder = Layout(tmp_path).trainer_checkpoints("demo")
    with Life(tmp_path, judged()) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log[:20])
        life.hear(CheckpointMessage, lambda message: message.update >= 30)
        life.tell(Assign("demo", judged(1e30), 2, "running"))
        life.hear(Status, lambda status: status.values.get("revision") == 2)
        life.feed(log[20:])
        told = life.hear(Status, lambda status: status.state == "problem")
        kept = max(int(path.stem) for path in folder.glob("*.checkpoint"))
        assert told.values["verdict"] == "not-finite"
        assert [each["code"] for each in told.values["health"]] == ["not-finite"]
        assert f"goes back to the checkpoint at update {kept}" in told.detail
        told_at = len(life.heard)
        status = life.hear(Status, lambda status: status.state == "diverged")
        assert f"update {kept}" in status.detail
        life.hear(Metrics, lambda metrics: metrics.update >= status.values["health"][0]["update"] + 20)
        life.tell(Command(0, "stop"))
        life.ended()
        given = [message for message in life.heard[told_at:] if isinstance(message, WeightsMessage | CheckpointMessage)]
        assert [message for message in given if message.update > kept] == []
    assert max(int(path.stem) for path in folder.glob("*.checkpoint")) == kept

    with Life(tmp_path, judged(), 3) as life:
        assert life.hear(Resume).update == kept
        life.tell(Resumed("demo", 1, 100))
        first = life.hear(WeightsMessage)
        assert first.update == kept
        later = life.hear(WeightsMessage, lambda message: message.update > kept)
        status = life.hear(Status, lambda status: status.state == "training")
        assert status.values["health"] == []
    for message in (first, later):
        assert all(np.isfinite(tensor).all() for tensor in unpack_weights(message.payload)[1].values())


def test_a_training_that_diverges_before_its_first_checkpoint_begins_anew_with_what_was_collected(
    tmp_path: Path, log: list[StoredRecord]
) -> None:
    with Life(tmp_path, judged(1e30)) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log[:20])
        told = life.hear(Status, lambda status: status.state == "problem")
        assert "begins anew, with all samples that there are" in told.detail
    with Life(tmp_path, judged(), 2) as life:
        assert life.hear(Resume).update == 0
        life.tell(Resumed("demo", 1, 0))
        assert life.hear(WeightsMessage).update > 0
        assert life.stop()["transitions"] == steps(log[:20])


def test_a_trainer_that_is_left_without_samples_says_so_once_and_when_they_come_again(
    tmp_path: Path, log: list[StoredRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmrld.trainer.symptoms.STARVED_S", 0.0)
    with Life(tmp_path, judged()) as life:
        life.hear(Resume)
        life.tell(Resumed("demo", 0, 0))
        life.feed(log[:20])
        told = life.hear(Status, lambda status: status.values.get("verdict") == "starved")
        assert told.state == "problem"
        life.feed(log[20:])
        over = life.hear(Status, lambda status: status.values.get("verdict") == "starved")
        assert (over.state, over.detail) == ("recovered", "samples come again")
