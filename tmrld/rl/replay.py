"""The replay memory: chunks of experience in columns that are allocated once, transitions drawn from them by index.

Each frame is stored once.  Chunks lie one after another in a ring of rows, each with the lead rows that make it self-contained,
so histories are rebuilt inside a chunk (tmrld.rl.windows) and never mix episodes or workers.  What a network reads as one flat
vector (tmrld.rl.observations), the action, the reward and ``terminated`` share one float32 matrix: a transition then lies in
adjacent memory, which is most of the speed of sampling.  Images have a column each, in their own dtype.

When it is full, whole chunks leave, oldest first.  A second ring lists the rows that are transitions in order of age, so what is
drawn depends on the chunks inside and the random generator alone, not on where in memory they lie: a memory refilled with the same
chunks in the same order draws the same batches.  A prioritised memory (tmrld.rl.priorities) keeps a priority for each place of that
ring, which are part of the state of a training; the rest is refilled.

A memory that is to give windows of episodes, longer than a chunk, knows besides which transition follows which, and which state of
the policy came with each, if it came.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import psutil

from tmrld.errors import BadInput
from tmrld.payloads import POLICY, Array, Chunk, EnvSpec
from tmrld.rl import sequences, sum_tree, windows
from tmrld.rl.observations import VECTOR, check_spec, frame_size, image_parts, vector_parts
from tmrld.rl.priorities import Priorities, Prioritised

ROWS_PER_TRANSITION = 1.2
"""Room for lead rows: enough while chunks hold five times as many steps as lead rows; beyond that fewer transitions fit."""


@dataclass(frozen=True)
class Batch:
    """Transitions ``(observation, action, reward, next_observation, terminated)``; the first axis counts them.

    The observations are dictionaries as in tmrld.rl.observations: ``vector`` is (batch, vector_size) float32, scaled; an image
    part is (batch, *observed_shape) in its own dtype.  ``action`` (batch, action_size) answers ``observation``; ``reward`` and
    ``terminated`` are (batch,) float32.  Where ``terminated`` is 1 nothing follows; a truncated episode would have gone on.

    With ``steps`` (batch,) float32 above 1, ``next_observation`` is seen so many steps after ``observation`` and ``reward`` is the
    discounted sum of what was earned in between.

    A batch of windows (tmrld.rl.sequences) has observations of the axes (windows, positions, …), which show both kinds:
    ``next_observation`` is ``observation``.  ``places`` and ``next_places`` (batch,) int64 say which of all positions, window after
    window, each transition leads from and to.  ``state`` is what the policy remembered where each window begins, (windows, gru)
    float32, if that is known.

    Of a prioritised memory, ``weights`` (batch,) float32 say how much each transition counts in the critics' loss, at most 1, and
    ``drawn`` (batch,) int64 which ones they are, for `Replay.prioritise`.  Otherwise there are none, and all count alike.
    """

    observation: dict[str, Array]
    action: Array
    reward: Array
    next_observation: dict[str, Array]
    terminated: Array
    steps: Array
    places: Array | None = None
    next_places: Array | None = None
    state: Array | None = None
    weights: Array | None = None
    drawn: Array | None = None


NOWHERE = -1
"""In `Batch.drawn`: of another memory, which keeps no priorities."""


def joined(*batches: Batch) -> Batch:
    """These batches of one environment as one, in this order.

    Where some windows have states and others none, as those of demonstrations, nothing is remembered where the others begin.
    """

    def observations(kind: str) -> dict[str, Array]:
        first, *_ = found = [getattr(batch, kind) for batch in batches]
        return {name: np.concatenate([each[name] for each in found]) for name in first}

    def places(kind: str) -> Array | None:
        found, before = [], 0
        for batch in batches:
            if (each := getattr(batch, kind)) is None:
                return None
            found.append(each + before)
            windows, positions, *_ = batch.observation[VECTOR].shape
            before += windows * positions
        return np.concatenate(found)

    def states() -> Array | None:
        known = next((batch.state for batch in batches if batch.state is not None), None)
        if known is None:
            return None
        nothing = [np.zeros((len(batch.observation[VECTOR]), known.shape[1]), np.float32) for batch in batches]
        return np.concatenate(
            [none if batch.state is None else batch.state for batch, none in zip(batches, nothing, strict=True)]
        )

    def told(kind: str, otherwise: float, dtype: type) -> Array | None:
        found = [getattr(batch, kind) for batch in batches]
        if all(each is None for each in found):
            return None
        sizes = [len(batch.reward) for batch in batches]
        return np.concatenate(
            [np.full(n, otherwise, dtype) if each is None else each for each, n in zip(found, sizes, strict=True)]
        )

    observation = observations("observation")
    of_windows = all(batch.places is not None for batch in batches)
    return Batch(
        observation=observation,
        action=np.concatenate([batch.action for batch in batches]),
        reward=np.concatenate([batch.reward for batch in batches]),
        next_observation=observation if of_windows else observations("next_observation"),
        terminated=np.concatenate([batch.terminated for batch in batches]),
        steps=np.concatenate([batch.steps for batch in batches]),
        places=places("places"),
        next_places=places("next_places"),
        state=states(),
        weights=told("weights", 1.0, np.float32),
        drawn=told("drawn", NOWHERE, np.int64),
    )


class ImageColumn(Protocol):
    """The frames of an image part, by row; numpy's arrays are such, and so may be memory elsewhere."""

    def __setitem__(self, rows: slice, frames: Array) -> None: ...

    def take(self, rows: Array, axis: int) -> Any:
        """The frames of these rows, any shape, as an array: (*rows, *frame)."""


class _Kept(NamedTuple):
    """A chunk inside the memory; ``last`` is the row of its last transition."""

    rows: int
    steps: int
    offset: int
    episode: str
    last: int


class Replay:
    """Holds at most ``capacity`` transitions of one environment, and at most ``rows`` rows, their chunks' lead rows included.

    ``rows`` is for who knows what will come, so that none of it has to leave.  With ``most_bytes``, the capacity is no more
    than fits into them, which must be ``longest_chunk`` transitions at least.  With ``linked``, `sample_windows` can be used,
    and with ``state`` values per step that a policy remembers, they are kept.  With ``prioritised``, `sample` draws transitions
    by their priorities.  ``make_images`` makes a column for images, of that shape and dtype; what such a column gives is what
    batches have.  Raises BadInput for a spec it cannot hold, for windows of a prioritised memory, and when the columns would
    need more memory than the machine has free.
    """

    def __init__(
        self,
        spec: EnvSpec,
        capacity: int,
        rows: int | None = None,
        *,
        linked: bool = False,
        state: int = 0,
        prioritised: Prioritised | None = None,
        most_bytes: int = 0,
        longest_chunk: int = 1,
        make_images: Callable[[tuple[int, ...], str], ImageColumn] = np.empty,
    ) -> None:
        if linked and prioritised is not None:
            raise BadInput(
                "a prioritised replay memory gives no windows of episodes, which a policy that remembers learns from: set "
                "replay.prioritised = false, or network.gru = 0"
            )
        check_spec(spec)
        if capacity < 1:
            raise BadInput(f"the replay memory is to hold {capacity} transitions: it must hold at least 1")
        self.spec = spec
        self._depth = spec.depth
        self._vector_parts = vector_parts(spec)
        self._image_parts = image_parts(spec)

        sizes = {part.name: frame_size(part) for part in self._vector_parts}
        sizes |= {"action": spec.action_size, "reward": 1, "terminated": 1}
        ends = np.cumsum(list(sizes.values())).tolist()
        self._columns = {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}
        scales = {part.name: part.scale for part in self._vector_parts}
        self._scales = np.repeat(np.array([scales.get(name, 1.0) for name in sizes], np.float32), list(sizes.values()))
        """What each value of a record is divided by when it comes in."""
        self._expected = {part.name: (part.shape, np.dtype(part.dtype)) for part in spec.parts} | {
            "action": ((spec.action_size,), np.dtype(np.float32)),
            "reward": ((), np.dtype(np.float32)),
            "terminated": ((), np.dtype(np.uint8)),
            "truncated": ((), np.dtype(np.uint8)),
        }
        """The columns that a chunk must have, with the shape of a row and the type."""
        self._width = int(ends[-1])
        self._before = self._vector_columns(0)
        self._after = self._vector_columns(1)

        self._linked = linked
        self._state_size = state
        self.prioritised = prioritised
        self._rows_asked = rows
        self.capacity = capacity = self._fitting(capacity, most_bytes, min(longest_chunk, capacity)) if most_bytes else capacity
        self._row_capacity = self._rows_for(capacity)
        self._row_type = self._type_of(self._row_capacity)
        self._check_memory()
        self._priorities = Priorities(capacity, prioritised) if prioritised is not None else None
        links = self._row_capacity if linked else 0
        self._previous = np.empty(links, self._row_type)
        self._following = np.empty(links, self._row_type)
        self._states = np.empty((links, state), np.float16)
        self._unfinished: dict[str, tuple[int, int]] = {}
        """Of episodes that may go on: the row of the last transition that is known, and how many steps went before the next."""
        self._records = np.empty((self._row_capacity, self._width), np.float32)
        self._images = {part.name: make_images((self._row_capacity, *part.shape), part.dtype) for part in self._image_parts}
        self._ages = np.empty(self._row_capacity, np.min_scalar_type(self._depth))
        self._rows_ahead = np.empty(self._row_capacity, np.uint8)
        self._transitions = np.empty(capacity, self._row_type)  # rows, oldest first, starting at self._oldest
        self._chunks: deque[_Kept] = deque()
        self._next_row = 0
        self._rows = 0
        self._oldest = 0
        self._count = 0
        self._gone = 0
        """How many transitions have left."""

    def __len__(self) -> int:
        """How many transitions are inside."""
        return self._count

    @property
    def oldest_offset(self) -> int | None:
        """The offset given with the oldest chunk that is still inside; None when the memory is empty."""
        return self._chunks[0].offset if self._chunks else None

    @property
    def size_bytes(self) -> int:
        """What the columns take when they are full."""
        return self._bytes_for(self.capacity)

    def append(self, chunk: Chunk, offset: int = 0) -> int:
        """Copy a chunk in, letting the oldest ones go when there is no room; returns how many transitions it brought.

        ``offset`` is any number to know the chunk by, such as its place in the sample log.  Raises BadInput, with the memory
        unchanged, for an evaluation chunk, columns that do not fit the spec, or a chunk larger than the memory.
        """
        self._check(chunk)
        if chunk.steps == 0:
            return 0
        rows = chunk.lead + chunk.steps
        records = self._records_of(chunk)
        while self._count + chunk.steps > self.capacity or self._rows + rows > self._row_capacity:
            self._evict()
        start = self._next_row
        self._write(chunk, records, start)
        places = (start + chunk.lead + np.arange(chunk.steps)) % self._row_capacity
        ring = (self._oldest + self._count + np.arange(chunk.steps)) % self.capacity
        self._transitions[ring] = places
        if self._linked:
            self._link(chunk, places)
        if self._priorities is not None:
            self._priorities.enter(ring, offset)
        self._next_row = (start + rows) % self._row_capacity
        self._rows += rows
        self._count += chunk.steps
        self._chunks.append(_Kept(rows, chunk.steps, offset, chunk.episode, int(places[-1])))
        return chunk.steps

    def sample(self, batch_size: int, rng: np.random.Generator, n_step: int = 1, gamma: float = 1.0, updates: int = 0) -> Batch:
        """Draw that many transitions, each as likely as any other or as its priority says, with replacement.

        See `gather` for ``n_step`` and ``gamma``; what is drawn does not depend on them.  By the ``updates`` that were made, a
        prioritised memory weights the transitions.  Raises BadInput on an empty memory.
        """
        if not self._count:
            raise BadInput("the replay memory is empty: append a chunk before sampling")
        if self._priorities is None:
            return self.gather(rng.integers(0, self._count, batch_size), n_step, gamma)
        ring = self._priorities.draw(batch_size, self._oldest, rng)
        which = (ring - self._oldest) % self.capacity
        weights = self._priorities.weights(ring, updates)
        return replace(self.gather(which, n_step, gamma), weights=weights, drawn=self._gone + which)

    def prioritise(self, drawn: Array, errors: Array) -> None:
        """By how much the critics were off for these transitions (batch,), `Batch.drawn`: their priorities from now on.

        Those that have left since do not matter.  Without effect on a memory that is not prioritised.
        """
        if self._priorities is not None:
            inside = drawn >= self._gone
            self._priorities.prioritise((self._oldest + drawn[inside] - self._gone) % self.capacity, errors[inside])

    def state(self) -> dict[str, Array]:
        """What the chunks do not tell: the priorities, if there are any.  Copies."""
        if self._priorities is None:
            return {}
        ring = (self._oldest + np.arange(self._count)) % self.capacity
        return self._priorities.state(ring, [chunk.offset for chunk in self._chunks], [chunk.steps for chunk in self._chunks])

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """The inverse of `state`, called before the same chunks are appended again: then they get their priorities back."""
        if self._priorities is not None:
            self._priorities.restore(arrays)

    def gather(self, which: Array, n_step: int = 1, gamma: float = 1.0) -> Batch:
        """The transitions of these ages, 0 being the oldest inside: (batch,) integers below ``len(self)``.

        Each spans ``n_step`` steps (1 to 256), their rewards discounted by ``gamma``, or fewer where its chunk ends before.
        """
        rows = self._transitions[(self._oldest + which) % self.capacity].astype(np.int64)
        steps = np.minimum(self._rows_ahead[rows].astype(np.int64) + 1, n_step)
        last = (rows + steps - 1) % self._row_capacity
        observation, next_observation = self._observations(rows) if n_step == 1 else self._observations_apart(rows, last)
        return Batch(
            observation=observation,
            action=self._records[rows, self._columns["action"]],
            reward=self._discounted(rows, steps, n_step, gamma),
            next_observation=next_observation,
            terminated=self._records[last, self._columns["terminated"].start],
            steps=steps.astype(np.float32),
        )

    def sample_windows(
        self, count: int, rng: np.random.Generator, length: int, burn_in: int, n_step: int = 1, gamma: float = 1.0
    ) -> Batch:
        """Draw that many windows (tmrld.rl.sequences) of a ``linked`` memory, around transitions of which each is as likely as any.

        All that each learns from, up to ``length`` transitions, are the rows of the batch; each looks ahead as in `gather`, and from
        one chunk into the next.  Raises BadInput on an empty memory.
        """
        if not self._count:
            raise BadInput("the replay memory is empty: append a chunk before sampling")
        drawn = self._transitions[(self._oldest + rng.integers(0, self._count, count)) % self.capacity].astype(np.int64)
        before = rng.integers(0, length, count)
        found = sequences.windows_around(drawn, before, self._previous, self._following, burn_in, length, n_step - 1)
        return self._batch_of(found, n_step, gamma)

    def _batch_of(self, found: sequences.Windows, n_step: int, gamma: float) -> Batch:
        """All transitions that these windows learn from."""
        exists = np.arange(found.rows.shape[1]) < found.count[:, None]
        rewards = np.where(exists, self._records[found.rows, self._columns["reward"].start], np.float32(0.0))
        total = rewards.copy()
        for ahead in range(1, n_step):
            total[:, :-ahead] += np.float32(gamma**ahead) * rewards[:, ahead:]
        window, place = np.nonzero(found.learned)
        steps = np.minimum(found.count[window] - place, n_step)
        rows, last = found.rows[window, place], found.rows[window, place + steps - 1]
        observation = self._observed_in(found)
        return Batch(
            observation=observation,
            action=self._records[rows, self._columns["action"]],
            reward=total[window, place],
            next_observation=observation,
            terminated=self._records[last, self._columns["terminated"].start],
            steps=steps.astype(np.float32),
            places=window * found.positions + place,
            next_places=window * found.positions + place + steps,
            state=self._states[found.rows[:, 0]].astype(np.float32) if self._state_size else None,
        )

    def _observed_in(self, found: sequences.Windows) -> dict[str, Array]:
        """What is seen at each position: before each transition, and after the last one, which stands for all beyond it too."""
        rows = np.concatenate((found.rows, found.rows[:, -1:]), axis=1).reshape(-1)
        ended = (np.arange(found.positions) >= found.count[:, None]).reshape(-1)
        shape = (len(found.rows), found.positions)
        window = self._window(rows)
        records = self._vectors(window)
        vector = records.take(self._before, axis=1)
        vector[ended] = records[ended].take(self._after, axis=1)
        observation = {VECTOR: vector.reshape(*shape, -1)}
        for part in self._image_parts:
            before, after = (window[:, of(part.history, self._depth)] for of in (windows.before, windows.after))
            frames = self._images[part.name].take(np.where(ended[:, None], after, before), axis=0)
            observation[part.name] = (frames if part.history else frames[:, 0]).reshape(*shape, *part.observed_shape)
        return observation

    def _window(self, rows: Array) -> Array:
        """The rows that the observations before and after these rows are made of: (batch, depth + 1)."""
        window: Array = np.mod(rows[:, None] - windows.steps_back(self._ages[rows], self._depth), self._row_capacity)
        return window

    def _vectors(self, window: Array) -> Array:
        """All that the rows of each window hold, but for images: (batch, (depth + 1) · width)."""
        return self._records.take(window, axis=0).reshape(len(window), -1)

    def _observations(self, rows: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        """Those before and after each of these rows: what they have in common, all but one frame each, is read once."""
        window = self._window(rows)
        vectors = self._vectors(window)
        before, after = {VECTOR: vectors.take(self._before, axis=1)}, {VECTOR: vectors.take(self._after, axis=1)}
        for part in self._image_parts:
            first, end = windows.before(part.history, self._depth).start, windows.after(part.history, self._depth).stop
            frames = self._images[part.name].take(window[:, first:end], axis=0)
            before[part.name] = frames[:, :-1] if part.history else frames[:, 0]
            after[part.name] = frames[:, 1:] if part.history else frames[:, 1]
        return before, after

    def _observations_apart(self, first: Array, last: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        """Those before the first rows and after the last ones."""
        return (
            self._observation(self._window(first), self._before, windows.before),
            self._observation(self._window(last), self._after, windows.after),
        )

    def _observation(self, window: Array, columns: Array, history: Callable[[int, int], slice]) -> dict[str, Array]:
        """One observation of each window: ``columns`` pick its vector, ``history`` the frames of its images."""
        observation = {VECTOR: self._vectors(window).take(columns, axis=1)}
        for part in self._image_parts:
            frames = self._images[part.name].take(window[:, history(part.history, self._depth)], axis=0)
            observation[part.name] = frames if part.history else frames[:, 0]
        return observation

    def _discounted(self, rows: Array, steps: Array, n_step: int, gamma: float) -> Array:
        """The rewards of so many rows from each row on, each discounted once more than the one before: (batch,)."""
        column = self._columns["reward"].start
        total: Array = self._records[rows, column]
        for ahead in range(1, n_step):
            later = self._records[(rows + ahead) % self._row_capacity, column]
            total += np.float32(gamma**ahead) * np.where(
                steps > ahead, later, np.float32(0.0)
            )  # a row never written may hold NaN
        return total

    def _vector_columns(self, later: int) -> Array:
        """Where in a flattened window (depth + 1 rows) the values of the vector stand; ``later`` 0: before, 1: after."""
        places = np.arange((self._depth + 1) * self._width).reshape(self._depth + 1, self._width)
        window = windows.after if later else windows.before
        pieces = [places[window(part.history, self._depth), self._columns[part.name]] for part in self._vector_parts]
        if self.spec.action_buffer:
            pieces.append(places[window(self.spec.action_buffer, self._depth), self._columns["action"]])
        return np.concatenate([np.zeros(0, np.int64), *(piece.reshape(-1) for piece in pieces)])

    def _records_of(self, chunk: Chunk) -> Array:
        """The chunk's vectors, actions, rewards and ends as the memory keeps them: (rows, width) float32.  Raises BadInput."""
        records = np.empty((chunk.lead + chunk.steps, self._width), np.float32)
        for part in self._vector_parts:
            records[:, self._columns[part.name]] = chunk.columns[part.name].reshape(len(records), -1)
        records[:, self._columns["action"]] = chunk.columns["action"]
        records[:, self._columns["reward"].start] = chunk.columns["reward"]
        records[:, self._columns["terminated"].start] = chunk.columns["terminated"]
        if not np.isfinite(records).all():
            raise self._not_finite(chunk)
        for part in self._image_parts:
            if np.dtype(part.dtype).kind == "f" and not np.isfinite(chunk.columns[part.name]).all():
                raise self._not_finite(chunk)
        records /= self._scales
        return records

    def _not_finite(self, chunk: Chunk) -> BadInput:
        """Says which column a number cannot be learned from is in; float32 is what they are learned from in."""
        with np.errstate(over="ignore"):
            lost = [name for name in self._expected if not np.isfinite(chunk.columns[name].astype(np.float32)).all()]
        return BadInput(
            f"column '{lost[0]}' of chunk {chunk.number} of {chunk.worker} holds values that are not finite: the environment must "
            "not emit them"
        )

    def _write(self, chunk: Chunk, records: Array, start: int) -> None:
        """Copy the chunk to the rows from ``start`` on, in two pieces when they pass the end of the ring."""
        rows = len(records)
        ages, rows_ahead = windows.ages(rows, self._depth), windows.rows_ahead(rows)
        first = min(rows, self._row_capacity - start)
        pieces = [(slice(0, first), slice(start, start + first))]
        if first < rows:
            pieces.append((slice(first, rows), slice(0, rows - first)))
        for here, there in pieces:
            self._ages[there] = ages[here]
            self._rows_ahead[there] = rows_ahead[here]
            self._records[there] = records[here]
            for part in self._image_parts:
                self._images[part.name][there] = chunk.columns[part.name][here]

    def _link(self, chunk: Chunk, places: Array) -> None:
        """Note which transitions of this chunk, at these rows, follow which, and what the policy remembered at each."""
        self._previous[places[1:]], self._following[places[:-1]] = places[:-1], places[1:]
        self._previous[places[0]] = self._following[places[-1]] = sequences.NONE
        row, steps = self._unfinished.pop(chunk.episode, (0, -1))
        if steps == chunk.first_step:
            self._previous[places[0]], self._following[row] = row, places[0]
        if not chunk.ended:
            self._unfinished[chunk.episode] = int(places[-1]), chunk.first_step + chunk.steps
        if self._state_size:
            state = chunk.state.get(POLICY)
            self._states[places] = 0.0 if state is None else state

    def _evict(self) -> None:
        """Let the oldest chunk go."""
        oldest = self._chunks.popleft()
        if self._linked:
            if (follows := self._following[oldest.last]) != sequences.NONE:
                self._previous[follows] = sequences.NONE
            elif self._unfinished.get(oldest.episode, (sequences.NONE, 0))[0] == oldest.last:
                del self._unfinished[oldest.episode]
        if self._priorities is not None:
            self._priorities.leave((self._oldest + np.arange(oldest.steps)) % self.capacity)
        self._rows -= oldest.rows
        self._oldest = (self._oldest + oldest.steps) % self.capacity
        self._count -= oldest.steps
        self._gone += oldest.steps

    def _rows_for(self, capacity: int) -> int:
        """How many rows a memory of this capacity has."""
        return int(capacity * ROWS_PER_TRANSITION) + self._depth + 1 if self._rows_asked is None else self._rows_asked

    @staticmethod
    def _type_of(rows: int) -> np.dtype[np.int32] | np.dtype[np.int64]:
        """What a row of so many is named by."""
        return np.dtype(np.int32) if rows <= np.iinfo(np.int32).max else np.dtype(np.int64)

    def _bytes_for(self, capacity: int) -> int:
        """What the columns of a memory of this capacity take."""
        rows = self._rows_for(capacity)
        place = self._type_of(rows).itemsize
        images = sum(frame_size(part) * np.dtype(part.dtype).itemsize for part in self._image_parts)
        row = self._width * 4 + images + np.min_scalar_type(self._depth).itemsize + 1
        row += (2 * place + 2 * self._state_size) if self._linked else 0
        priorities = sum_tree.size_bytes(capacity) if self.prioritised is not None else 0
        return rows * row + capacity * place + priorities

    def _most_within(self, capacity: int, most_bytes: int) -> int:
        """The largest capacity up to this one that takes no more than so many bytes; 0 if there is none."""
        return bisect_right(range(1, capacity + 1), most_bytes, key=self._bytes_for)

    def _fitting(self, capacity: int, most_bytes: int, least: int) -> int:
        fitting = self._most_within(capacity, most_bytes)
        if fitting >= least:
            return fitting
        count = (
            "one transition" if least == 1 else f"{least:,} transitions, as many as a chunk may have (collection.chunk_steps),"
        )
        raise BadInput(
            f"a replay memory of {count} of {self.spec.id} takes {self._bytes_for(least):,} bytes, and replay.capacity_bytes is "
            f"{most_bytes:,}: raise it, or set it to 0 to have replay.capacity alone count"
        )

    def _check_memory(self) -> None:
        free = int(psutil.virtual_memory().available)
        if self.size_bytes > free:
            fitting = self._most_within(self.capacity, free)
            raise BadInput(
                f"a replay memory of {self.capacity:,} transitions of {self.spec.id} needs {self.size_bytes / 2**30:.1f} GiB and "
                f"{free / 2**30:.1f} GiB are free: set replay.capacity below {fitting:,} or replay.capacity_bytes below {free:,}, or "
                "close other programs"
            )

    def _check(self, chunk: Chunk) -> None:
        """Raise BadInput unless the chunk is for training and agrees with itself and the spec."""
        name = f"chunk {chunk.number} of {chunk.worker}"
        if chunk.purpose != "train":
            raise BadInput(f"{name} is for {chunk.purpose}: only chunks for training enter the replay memory")
        lead = windows.lead_rows(chunk.first_step, self._depth)
        if chunk.first_step < 0 or chunk.steps < 0 or chunk.lead != lead:
            raise BadInput(
                f"{name} starts after step {chunk.first_step} with {chunk.lead} lead rows and {chunk.steps} steps: "
                f"{self.spec.id} looks back on {self._depth} rows, so {lead} lead rows are needed"
            )
        rows = chunk.lead + chunk.steps
        if chunk.steps > self.capacity or rows > self._row_capacity:
            raise BadInput(
                f"{name} has {chunk.steps} steps and the replay memory holds {self.capacity}: raise replay.capacity, or "
                "replay.capacity_bytes if it is set"
            )
        for column, (shape, dtype) in self._expected.items():
            values = chunk.columns.get(column)
            if values is None:
                raise BadInput(f"{name} lacks the column '{column}': {self.spec.id} needs {', '.join(self._expected)}")
            if values.shape != (rows, *shape) or values.dtype != dtype:
                raise BadInput(
                    f"column '{column}' of {name} is {values.dtype} {values.shape}, "
                    f"{self.spec.id} needs {dtype} {(rows, *shape)}: worker and trainer must use the same environment"
                )
        state = chunk.state.get(POLICY)
        if self._state_size and state is not None:
            if state.shape != (chunk.steps, self._state_size) or state.dtype != "float16":
                raise BadInput(
                    f"what the policy remembered at the steps of {name} is {state.dtype} {state.shape}, and float16 "
                    f"{(chunk.steps, self._state_size)} is needed: worker and trainer must use the same network"
                )
            if not np.isfinite(state).all():
                raise BadInput(f"what the policy remembered at the steps of {name} is not finite: its weights have diverged")
        if chunk.columns["terminated"][:-1].any() or chunk.columns["truncated"][:-1].any():
            raise BadInput(f"{name} goes on after its episode's end: only its last row may be terminated or truncated")
