"""A learning algorithm that learns nothing and remembers everything.

It keeps a running digest of all batches that it was ever given; the weights that it publishes and the state that it is restored
from are made of that digest alone.  So two trainers have the same weights at the same update if and only if they were given the same
batches in the same order.

What it is given, and what the training loop takes into its replay memory, is written down in the folder that the environment
variable LEDGER_FOLDER names, one file for each life of the engine, before the engine goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np

from tests.support.ledger_env import ACTION_SIZE, SPEC
from tmrld.payloads import Array, Chunk, EnvSpec
from tmrld.rl.observations import vector_size
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Batch
from tmrld.trainer.loop import TrainingLoop

BATCH_SIZE = 8
UPDATE_S = 0.003
"""How long an update takes: as long as that of a small network, so that files stay small."""

UPDATE = np.dtype(
    [
        ("update", "<i8"),
        ("digest", "u1", 32),
        ("observation", "<f4", (BATCH_SIZE, vector_size(SPEC))),
        ("action", "<f4", (BATCH_SIZE, ACTION_SIZE)),
        ("reward", "<f4", BATCH_SIZE),
        ("next_observation", "<f4", (BATCH_SIZE, vector_size(SPEC))),
        ("terminated", "<f4", BATCH_SIZE),
    ]
)
INGESTED = np.dtype([("offset", "<i8"), ("next_offset", "<i8"), ("expected", "<i8")])
"""A record that the loop took in, and where the loop was in the log before that."""


def _file_of_this_life(kind: str) -> IO[bytes]:
    return (Path(os.environ["LEDGER_FOLDER"]) / f"{time.monotonic_ns():020d}-{os.getpid()}.{kind}").open("xb", buffering=0)


class RecordingAlgorithm:
    """An Algorithm (tmrld.rl.algorithm) without torch."""

    def __init__(
        self, options: AlgorithmOptions, network: NetworkOptions, spec: EnvSpec, seed: int, device: str = "cpu"
    ) -> None:
        assert options.batch_size == BATCH_SIZE
        self.options = options
        self.updates = 0
        self._hidden = network.hidden
        self._digest = sha256(str(seed).encode()).digest()
        self._file = _file_of_this_life("updates") if "LEDGER_FOLDER" in os.environ else None

    def update(self, batch: Batch) -> None:
        """Take note of the batch."""
        time.sleep(UPDATE_S)
        row = np.zeros((), UPDATE)
        row["observation"] = batch.observation["vector"]
        row["next_observation"] = batch.next_observation["vector"]
        row["action"], row["reward"], row["terminated"] = batch.action, batch.reward, batch.terminated
        self._digest = sha256(self._digest + row.tobytes()).digest()
        self.updates += 1
        row["update"], row["digest"] = self.updates, np.frombuffer(self._digest, np.uint8)
        if self._file is not None:
            self._file.write(row.tobytes())

    def stats(self) -> dict[str, float]:
        """Nothing is measured."""
        return {}

    def policy_tensors(self) -> dict[str, Array]:
        """A network of the usual shape, drawn from the digest."""
        return tensors_of(self._digest, self._hidden)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The digest, and how many updates went into it."""
        return {"digest": np.frombuffer(self._digest, np.uint8).copy()}, {"updates": self.updates}

    def restore(self, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self._digest = arrays["digest"].tobytes()
        self.updates = int(values["updates"])

    def set_options(self, options: AlgorithmOptions) -> None:
        """All options are alike to it."""
        self.options = options


def tensors_of(digest: bytes, hidden: tuple[int, ...]) -> dict[str, Array]:
    """The policy that goes with a digest."""
    random = np.random.default_rng(list(digest))
    widths = (vector_size(SPEC), *hidden)
    tensors: dict[str, Array] = {}
    for index in range(len(hidden)):
        shape = (widths[index + 1], widths[index])
        tensors[f"trunk.layers.{index}.weight"] = random.normal(0.0, 1e-6, shape).astype(np.float32)
        tensors[f"trunk.layers.{index}.bias"] = random.normal(0.0, 0.1, shape[0]).astype(np.float32)
    tensors["head.weight"] = random.normal(0.0, 0.1, (2 * ACTION_SIZE, widths[-1])).astype(np.float32)
    tensors["head.bias"] = random.normal(0.0, 0.1, 2 * ACTION_SIZE).astype(np.float32)
    return tensors


def record_ingestion() -> None:
    """From now on every `TrainingLoop.ingest` of this process is written down."""
    file: list[IO[bytes]] = []
    ingest = TrainingLoop.ingest

    def recorded(self: TrainingLoop, chunk: Chunk | None, offset: int, next_offset: int, left_out: int = 0) -> None:
        expected = self.counters.offset
        ingest(self, chunk, offset, next_offset, left_out)
        if not file:
            file.append(_file_of_this_life("ingested"))
        file[0].write(np.array((offset, next_offset, expected), INGESTED).tobytes())

    TrainingLoop.ingest = recorded  # type: ignore[method-assign]


if "LEDGER_FOLDER" in os.environ:  # in an engine, which imports this module for nothing else
    record_ingestion()
