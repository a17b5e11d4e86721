"""The next batch may be drawn while the update before it runs, in a thread: numpy lets go of the interpreter while it copies.

What is drawn is what would be drawn without: batch k is made from the memory, the options and the random state as they are when
update k begins.  A batch that was drawn ahead is a guess that none of these change until then.  Where one does (new samples,
another revision of the options), `Drawing.discard` throws it away and takes the random state back, and the batch is drawn
anew.  A checkpoint keeps the state from before the guess.  So neither journal nor checkpoint knows of drawing ahead, and a run
that is resumed goes on bit for bit as it would have, with or without it.

It is worth the wait for a batch where a batch is large, as one of images (an update takes 99 ms instead of 105, if a core is free),
and where a card computes meanwhile.  Two threads that both want the interpreter all the time hold each other up: an update with the
LIDAR, which takes 3.9 ms of a processor, takes 0.4 ms more with it, so those of vectors on a processor are drawn in their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np

B = TypeVar("B")


class Drawing(Generic[B]):
    """Draws what ``draw`` makes of a random generator, now or ahead; used by one thread.

    While something is drawn ahead (between `begin` and the next `take` or `discard`), nobody else may change what ``draw`` reads.
    """

    def __init__(self, draw: Callable[[np.random.Generator], B], random: np.random.Generator) -> None:
        self._draw = draw
        self._random = random
        self._thread = ThreadPoolExecutor(1, "drawing")
        self._ahead: Future[B] | None = None
        self._before: dict[str, Any] = {}
        """The random state before what is drawn ahead."""

    def take(self) -> B:
        """The next batch: the one that was drawn ahead, waiting for it if need be, or else a fresh one."""
        ahead, self._ahead = self._ahead, None
        return self._draw(self._random) if ahead is None else ahead.result()

    def begin(self) -> None:
        """Draw the next batch ahead, beside what the caller does now."""
        if self._ahead is None:
            self._before = self.state
            self._ahead = self._thread.submit(self._draw, self._random)

    def discard(self) -> None:
        """What is drawn ahead was never drawn: afterwards nothing reads the memory, and all of it may be changed."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.exception()  # waits; if it failed, the next `take` fails like it
            self._random.bit_generator.state = self._before

    @property
    def state(self) -> dict[str, Any]:
        """The random state that the next batch is drawn from, as numpy has it: plain values."""
        return self._before if self._ahead is not None else dict(self._random.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.discard()
        self._random.bit_generator.state = state
