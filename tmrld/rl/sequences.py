"""Windows of episodes, to learn from step after step: which transitions they hold, and which of these are learned from.

Pure index arithmetic.  A window is a piece of one episode: at first up to ``burn_in`` transitions, which are read so that something
is remembered and are not learned from (R2D2, Kapturowski et al. 2019, section 3, where gradients end before them; here they pass),
then up to ``length`` that are, then what a target of several steps looks ahead to.  It ends early where the episode does, or what
is known of it.

Transitions are told by their rows in the replay memory; ``previous`` and ``following`` say for each row which one lies next to it in
its episode, `NONE` where none does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tmrld.payloads import Array

NONE = -1


@dataclass(frozen=True)
class Windows:
    """Some windows of the same number of positions; each axis of (windows, transitions) beyond an episode's end repeats its last.

    Position p of a window is the observation before its transition p; the one after its last transition stands behind that.
    """

    rows: Array
    """(windows, transitions)"""
    count: Array
    """How many of these transitions there are: (windows,), at least 1."""
    learned: Array
    """Whether it is learned from: (windows, transitions) bool."""

    @property
    def positions(self) -> int:
        """How many observations a window has room for."""
        return int(self.rows.shape[1]) + 1


def windows_around(
    rows: Array, before: Array, previous: Array, following: Array, burn_in: int, length: int, ahead: int
) -> Windows:
    """A window around each of these transitions, (windows,), of which up to ``before`` come earlier among those learned from.

    ``before`` is (windows,), from 0 to ``length`` - 1: drawn evenly, no place of an episode is learned from less than others but for
    its ends.  ``ahead`` is how many transitions a target looks beyond its own.
    """
    start, walked = rows.copy(), np.zeros(len(rows), np.int64)
    for step in range(burn_in + length - 1):
        earlier = previous[start]
        goes = (earlier != NONE) & (step < burn_in + before)
        start = np.where(goes, earlier, start)
        walked += goes
    begin = np.maximum(walked - before, 0)

    found = np.empty((len(rows), burn_in + length + ahead), np.int64)
    count = np.ones(len(rows), np.int64)
    found[:, 0] = start
    for step in range(1, found.shape[1]):
        later = following[found[:, step - 1]]
        goes = (later != NONE) & (count == step)
        found[:, step] = np.where(goes, later, found[:, step - 1])
        count += goes
    place = np.arange(found.shape[1]) - begin[:, None]
    learned = (place >= 0) & (place < length) & (np.arange(found.shape[1]) < count[:, None])
    return Windows(found, count, learned)
