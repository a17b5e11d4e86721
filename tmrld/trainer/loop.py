"""The plain training loop: experience in, updates out, all of it counted.  No task, no socket, no file, no clock.

Two counters steer everything: ``transitions`` (training transitions ever ingested) and ``updates``.  An update is due while

    updates < update_to_data · (transitions − warm_up)

and collection may go on while

    transitions < warm_up + updates / update_to_data + slack_transitions

so neither a fast simulator nor a fast trainer runs away from the other, and no side sleeps to keep the ratio.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from tmrld.errors import BadInput
from tmrld.payloads import Array, Chunk
from tmrld.rl.algorithm import Algorithm, BringsAhead, TellsErrors
from tmrld.rl.options import AlgorithmOptions
from tmrld.rl.phases import phase
from tmrld.rl.replay import Batch, Replay, joined
from tmrld.trainer.drawing import Drawing
from tmrld.trainer.options import TrainingOptions

log = logging.getLogger(__name__)


@dataclass
class Counters:
    """How far a run has come.  ``offset`` is where the next record of the sample log begins."""

    updates: int = 0
    transitions: int = 0
    offset: int = 0
    weights_version: int = 0


def granted_transitions(algorithm: AlgorithmOptions, training: TrainingOptions, updates: int) -> int:
    """How many training transitions the run may have collected in all, after so many updates."""
    return algorithm.warm_up + int(updates / algorithm.update_to_data) + training.slack_transitions


class TrainingLoop:
    """Replay memory, algorithm and counters; `ingest` and `update` are the only two ways forward.

    ``demonstrations``, when there are any, are a memory of their own, which the given share of each batch is drawn from
    (symmetric sampling, arXiv 2302.02948, section 4.1); they count neither as collected nor for when updates are due.

    With a ``sequence_length``, batches are made of windows of episodes (`Replay.sample_windows`), so many that about as many
    transitions are learned from as without.

    Given the same state and the same order of calls it does the same, bit for bit (on a CPU), whether it ``draws_ahead`` (the next
    batch while an update runs, see tmrld.trainer.drawing) or not.  A prioritised memory is not drawn from ahead: an update decides
    what the next one learns from.  Raises BadInput for an algorithm that cannot learn from a prioritised memory.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        replay: Replay,
        options: AlgorithmOptions,
        training: TrainingOptions,
        demonstrations: Replay | None = None,
        demonstration_share: float = 0.0,
        sequence_length: int = 0,
        burn_in: int = 0,
        *,
        draws_ahead: bool = False,
    ) -> None:
        if replay.prioritised is not None and not isinstance(algorithm, TellsErrors):
            raise BadInput(
                f"the algorithm '{options.name}' cannot learn from a prioritised memory: set replay.prioritised = false, or give "
                "its class the method that tmrld.rl.algorithm describes"
            )
        self.algorithm = algorithm
        self.replay = replay
        self.demonstrations = demonstrations
        self._demonstration_share = demonstration_share
        self._sequence_length = sequence_length
        self._burn_in = burn_in
        self.counters = Counters()
        self._options = options
        self._training = training
        self._drawing = Drawing(self._draw, np.random.default_rng([training.seed, 1]))
        self._draws_ahead = draws_ahead and replay.prioritised is None

    def set_options(self, options: AlgorithmOptions, training: TrainingOptions) -> None:
        """Use other options from the next update on; networks, optimizers, memory and counters stay.

        Raises BadInput for a change that needs a new run.
        """
        self._drawing.discard()
        self.algorithm.set_options(options)
        self._options, self._training = options, training

    def ingest(self, chunk: Chunk | None, offset: int, next_offset: int, left_out: int = 0) -> None:
        """Take a record of the sample log into the replay memory; None stands for one that is never trained on.

        ``left_out`` counts the training transitions of a record that cannot be used: they were collected all the same, and would
        otherwise be missing from what the trainer grants.

        Raises ProtocolError or BadInput for columns that do not fit the run's spaces; nothing is changed then.
        """
        if chunk is not None:
            self._drawing.discard()
        added = left_out if chunk is None else self.replay.append(chunk, offset)
        self.counters.transitions += added
        self.counters.offset = next_offset

    @property
    def update_is_due(self) -> bool:
        """Whether the update-to-data ratio asks for an update now."""
        return self._is_due(self.counters.updates)

    @property
    def granted(self) -> int:
        """See `granted_transitions`."""
        return granted_transitions(self._options, self._training, self.counters.updates)

    def update(self) -> None:
        """One update of all networks on one fresh batch."""
        self.learn(self.batch())

    def batch(self) -> Any:
        """A fresh batch for `learn`: a `Batch`, or what the algorithm makes of one (tmrld.rl.algorithm.BringsAhead)."""
        return self._drawing.take()

    @phase("update")
    def learn(self, batch: Any) -> None:
        """One update of all networks on what `batch` gave."""
        if self._draws_ahead and self._is_due(self.counters.updates + 1):
            self._drawing.begin()
        self.algorithm.update(batch)
        if self.replay.prioritised is not None and isinstance(self.algorithm, TellsErrors) and batch.drawn is not None:
            self.replay.prioritise(batch.drawn, self.algorithm.errors())  # a batch of demonstrations alone was drawn from none
        self.counters.updates += 1

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Everything that a resume needs but the samples: arrays, and JSON-able values.  Copies; safe to write later."""
        arrays, plain = self.algorithm.state()
        return arrays | self.replay.state(), {
            "algorithm": plain,
            "random": json.dumps(self._drawing.state),
            "counters": vars(self.counters).copy(),
            "options": {
                "algorithm": self._options.model_dump(mode="json"),
                "training": self._training.model_dump(mode="json"),
            },
        }

    def restore(self, arrays: Mapping[str, Array], plain: Mapping[str, Any]) -> None:
        """The inverse of `state`, its options included.

        The replay memory is refilled separately, with what lay between the checkpoint's offsets.
        """
        try:
            self.set_options(
                AlgorithmOptions.model_validate(plain["options"]["algorithm"]),
                TrainingOptions.model_validate(plain["options"]["training"]),
            )
        except (KeyError, ValidationError) as error:
            log.warning("the options of the checkpoint cannot be used by this version, those of the run are: %s", error)
        self.algorithm.restore(arrays, plain["algorithm"])
        self._drawing.state = json.loads(plain["random"])
        self.replay.restore(arrays)
        self.counters = Counters(**plain["counters"])

    def _is_due(self, updates: int) -> bool:
        """Whether an update is due after so many."""
        trained_on = self.counters.transitions - self._options.warm_up
        return updates < trained_on * self._options.update_to_data and len(self.replay) > 0

    @phase("drawing")
    def _draw(self, random: np.random.Generator) -> Any:
        """A batch of this memory, and of the demonstrations besides, on its way to the device if the algorithm has it so."""
        size = self._options.batch_size
        shown = round(self._demonstration_share * size) if self.demonstrations is not None else 0
        batches = [
            self._drawn(memory, count, random)
            for memory, count in ((self.replay, size - shown), (self.demonstrations, shown))
            if memory is not None and count
        ]
        batch = batches[0] if len(batches) == 1 else joined(*batches)
        if self.replay.prioritised is None and isinstance(self.algorithm, BringsAhead):
            return self.algorithm.bring(batch)
        return batch

    def _drawn(self, memory: Replay, count: int, random: np.random.Generator) -> Batch:
        """So many transitions of this memory."""
        options, length = self._options, self._sequence_length
        if not length:
            return memory.sample(count, random, options.n_step, options.gamma, self.counters.updates)
        windows = max(1, round(count / length))
        return memory.sample_windows(windows, random, length, self._burn_in, options.n_step, options.gamma)
