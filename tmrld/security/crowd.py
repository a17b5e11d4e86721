"""How many strangers are looked at at once, in all and of each source.  Pure: no socket and no clock.

Whoever comes when all places are taken waits in line, which costs next to nothing, and is called in when somebody leaves.  Sources do
not wait for each other: one that has taken all of its own places keeps only itself waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Place:
    """One stranger's: within, in line, or left."""

    def __init__(self, crowd: Crowd, source: str | None, call_in: Callable[[], None]) -> None:
        self.source = source
        self.within = False
        self._crowd = crowd
        self._call_in = call_in

    def enter(self) -> None:
        """There is room now."""
        self.within = True
        self._call_in()

    def leave(self) -> None:
        """Is no stranger any more, or gone; may be called twice."""
        self._crowd.leave(self)


class Crowd:
    """At most ``most`` within, and ``most_of_source`` of one source; ``most_waiting`` in line, half of them of one source."""

    def __init__(self, most: int = 64, most_of_source: int = 48, most_waiting: int = 2048) -> None:
        self._most = most
        self._most_of_source = most_of_source
        self._most_waiting = most_waiting
        self._within: set[Place] = set()
        self._line: dict[Place, None] = {}
        self._within_of: Counter[str | None] = Counter()
        self._waiting_of: Counter[str | None] = Counter()

    def __len__(self) -> int:
        """How many are within."""
        return len(self._within)

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._line)

    def arrive(self, source: str | None, call_in: Callable[[], None]) -> Place | None:
        """Somebody comes, of this source (None for one without limits of its own): ``call_in`` is called at once or later.

        None for who is turned away, because even the line is full.
        """
        place = Place(self, source, call_in)
        if self._has_room(source):
            self._take_in(place)
        elif len(self._line) < self._most_waiting and (source is None or self._waiting_of[source] < self._most_waiting // 2):
            self._line[place] = None
            self._waiting_of[source] += 1
        else:
            return None
        return place

    def leave(self, place: Place) -> None:
        """Somebody goes, from within or out of the line; whoever waited longest for the room takes it."""
        if place in self._line:
            self._out_of_line(place)
        elif place in self._within:
            self._within.remove(place)
            place.within = False
            self._less(self._within_of, place.source)
            following = next((each for each in self._line if self._has_room(each.source)), None)
            if following is not None:
                self._out_of_line(following)
                self._take_in(following)

    def _has_room(self, source: str | None) -> bool:
        return len(self._within) < self._most and (source is None or self._within_of[source] < self._most_of_source)

    def _take_in(self, place: Place) -> None:
        self._within.add(place)
        self._within_of[place.source] += 1
        place.enter()

    def _out_of_line(self, place: Place) -> None:
        del self._line[place]
        self._less(self._waiting_of, place.source)

    @staticmethod
    def _less(counter: Counter[str | None], source: str | None) -> None:
        counter[source] -= 1
        if not counter[source]:
            del counter[source]
