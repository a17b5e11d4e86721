"""Tracks without end: a road made of features that are drawn one after the other, from a difficulty, a length and a seed.

`generated` is a pure function: the same three give the same road.  Its features are straights, corners, sweepers, hairpins,
chicanes, S-bends, changes of width, and loops that cross themselves on a bridge.  A feature that comes too near to the road
that is there already is drawn again; where none fits, the last ones are taken back.
"""

from __future__ import annotations

import difflib
import math
from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.bends import bend
from tmrld.envs.sim.track import BORDER_M, RAMP_M, Segment, Straight, Track
from tmrld.errors import WorldError

SHORTEST_M, LONGEST_M = 200, 20_000
GRASS_M = 6.0
"""Between two parts of the road, at least: from border to border."""
MIN_CROSSING = math.radians(50.0)
"""Smallest angle between two roads at a bridge."""
TAPER_M = 30.0
"""Along which the width changes."""
SAMPLE_M = 3.0
FINAL_M = (25.0, 75.0)
"""Length of the last straight: what is left of the wanted length."""
SMALLEST_REGION_M = 300.0
REGION = 8.0
"""A road turns back where it has left a circle of this radius times the root of its length: else its raster would be huge."""
STRAIGHT_ON = math.radians(10.0)
"""A road that is askew by less may turn to either side."""
TRIES = 12
"""Features that are drawn before the last one is taken back."""
LOOP_EVERY_M = 600.0
"""Loops are at least that far apart, from start to start."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """What features measure: ranges in metres and degrees; ``weights`` say how often each is drawn, in relation to the others."""

    name: str
    width: Range
    straight: Range
    corner: Range
    corner_turn: Range
    hairpin: Range
    sweeper: Range
    wave: Range
    """Radii of chicanes and S-bends."""
    wave_turn: Range
    loop: Range
    easement: float
    weights: Mapping[str, float] = field(hash=False)


DIFFICULTIES = {
    each.name: each
    for each in (
        Difficulty(
            "easy",
            width=(18, 20),
            straight=(40, 90),
            corner=(38, 60),
            corner_turn=(40, 90),
            hairpin=(35, 42),
            sweeper=(70, 120),
            wave=(45, 65),
            wave_turn=(25, 45),
            loop=(40, 50),
            easement=20.0,
            weights={"straight": 2, "corner": 4, "sweeper": 3, "esses": 1, "hairpin": 0.7, "width": 0.7},
        ),
        Difficulty(
            "medium",
            width=(14, 18),
            straight=(20, 60),
            corner=(30, 45),
            corner_turn=(45, 110),
            hairpin=(28, 34),
            sweeper=(60, 110),
            wave=(32, 45),
            wave_turn=(30, 55),
            loop=(32, 40),
            easement=14.0,
            weights={"straight": 1, "corner": 5, "sweeper": 2, "esses": 1, "chicane": 1, "hairpin": 1.5, "width": 1, "loop": 1},
        ),
        Difficulty(
            "hard",
            width=(12, 15),
            straight=(20, 80),
            corner=(20, 35),
            corner_turn=(60, 130),
            hairpin=(16, 21),
            sweeper=(50, 100),
            wave=(20, 30),
            wave_turn=(35, 65),
            loop=(26, 34),
            easement=10.0,
            weights={
                "straight": 1,
                "corner": 5,
                "sweeper": 1,
                "esses": 1.5,
                "chicane": 2,
                "hairpin": 2.5,
                "width": 1.5,
                "loop": 1.5,
            },
        ),
    )
}


@dataclass(frozen=True)
class Feature:
    """A part of a road; ``width`` is the new width, which the first `TAPER_M` lead to, or None if it stays."""

    segments: tuple[Segment, ...]
    width: float | None = None
    crosses: bool = False

    @property
    def length(self) -> float:
        """Metres along the centre line."""
        return sum(segment.length for segment in self.segments)


class Draw:
    """Draws numbers in turn; the same seed gives the same ones."""

    def __init__(self, seed: list[int]) -> None:
        self._generator = np.random.default_rng(seed)

    def between(self, low: float, high: float) -> float:
        """Any number of one digit behind the point in that range."""
        return round(low + (high - low) * float(self._generator.random()), 1)

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return float(self._generator.random()) < share

    def one_of(self, weights: Mapping[str, float]) -> str:
        """A key, as often as its weight says."""
        totals = list(accumulate(weights.values()))
        return list(weights)[bisect(totals, float(self._generator.random()) * totals[-1])]


def checked(difficulty: str, length: int) -> Difficulty:
    """The difficulty of that name.  Raises WorldError if there is none, or the length is none that can be made."""
    if difficulty not in DIFFICULTIES:
        near = difflib.get_close_matches(difficulty, DIFFICULTIES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(DIFFICULTIES)}"
        raise WorldError(f"there is no difficulty called {difficulty!r}: {hint}")
    if not SHORTEST_M <= length <= LONGEST_M:
        raise WorldError(
            f"a track of {length:,} m cannot be made: its length must be from {SHORTEST_M} to {LONGEST_M:,} m, as in "
            f"{difficulty}-650-1"
        )
    return DIFFICULTIES[difficulty]


@lru_cache(maxsize=32)
def generated(difficulty: str, length: int, seed: int) -> Track:
    """The track ``difficulty-length-seed``; its centre line is as long as asked for.  Raises WorldError as `checked` does."""
    level = checked(difficulty, length)
    if seed < 0:
        raise WorldError(f"a track's seed is a whole number from 0 up, not {seed}")
    draw = Draw([seed, length, list(DIFFICULTIES).index(difficulty)])
    road = _Road(draw.between(*level.width))
    road.add(Feature((Straight(draw.between(max(30.0, level.straight[0]), max(50.0, level.straight[1] * 0.8))),)))
    region = max(SMALLEST_REGION_M, REGION * math.sqrt(length))
    dead_ends = 0
    while True:
        left = length - road.length
        if left <= FINAL_M[1]:
            if road.add(Feature((Straight(left),)), run_out=Track.run_out):
                return road.track(f"{difficulty}-{length}-{seed}")
        elif _grow(road, level, draw, left, region):
            continue
        dead_ends += 1
        road.take_back(1 + dead_ends % 8)  # the same way out is not tried for ever


def _grow(road: _Road, level: Difficulty, draw: Draw, left: float, region: float) -> bool:
    """Add a feature; False if none of those drawn fits."""
    askew = road.askew(region)
    for _ in range(TRIES):
        kind = draw.one_of(level.weights)
        # Rather back than round and round: then roads meet themselves less often.
        right = 0.5 if abs(askew) < STRAIGHT_ON else 0.7 if askew > 0.0 else 0.3
        side = 1.0 if draw.chance(right) else -1.0
        feature = FEATURES[kind](level, draw, side)
        if feature.length <= left - FINAL_M[0] and road.add(feature):
            return True
    return False


class _Road:
    """A road that grows; its run-in is there from the beginning."""

    def __init__(self, width: float) -> None:
        self._features: list[Feature] = []
        self._ends = [(0.0, 0.0, 0.0, 0.0)]  # x, z, heading, metres: of the start, and after each feature
        self._widths = [width]
        s = np.arange(-Track.run_in, 0.0, SAMPLE_M)
        # Samples of the centre line: x, z, metres, half width; those of the run-in, then of each feature.
        self._samples = [np.stack([np.zeros_like(s), s, s, np.full_like(s, width / 2)])]
        self._last_loop = [-LOOP_EVERY_M]

    @property
    def length(self) -> float:
        """Metres of centre line so far."""
        return self._ends[-1][3]

    def askew(self, region: float) -> float:
        """How far it would have to turn, right if positive, to lead as at the start, or home if it has left this circle: radians."""
        x, z, heading, _ = self._ends[-1]
        home = math.atan2(-x, region - z) if math.hypot(x, region - z) > region + Track.run_in else 0.0
        return math.remainder(home - heading, 2 * math.pi)

    def add(self, feature: Feature, run_out: float = 0.0) -> bool:
        """Add a feature if there is room for it, and for ``run_out`` metres behind it."""
        if feature.crosses and self.length - self._last_loop[-1] < LOOP_EVERY_M:
            return False
        x, z, heading, reached = self._ends[-1]
        width = self._widths[-1] if feature.width is None else feature.width
        part = Track("", feature.segments)
        s = np.append(np.arange(0.0, part.length + run_out, SAMPLE_M), part.length)
        right, ahead, _ = part.centre(s)
        samples = np.stack(
            [
                x + right * math.cos(heading) + ahead * math.sin(heading),
                z + ahead * math.cos(heading) - right * math.sin(heading),
                reached + s,
                np.full_like(s, max(width, self._widths[-1]) / 2),
            ]
        )
        if not self._has_room(samples, part if feature.crosses else None):
            return False
        samples, end = samples[:, :-1], samples[:, -1]
        turned = sum(segment.curvature * segment.length for segment in feature.segments)
        self._features.append(feature)
        self._ends.append((float(end[0]), float(end[1]), heading + turned, reached + part.length))
        self._widths.append(width)
        self._samples.append(samples)
        self._last_loop.append(reached if feature.crosses else self._last_loop[-1])
        return True

    def take_back(self, count: int) -> None:
        """Take the last features away again, but for the first."""
        count = min(count, len(self._features) - 1)
        if count > 0:
            for each in (self._features, self._ends, self._widths, self._samples, self._last_loop):
                del each[-count:]

    def track(self, name: str) -> Track:
        """The finished road."""
        widths = []
        for i, feature in enumerate(self._features):
            if feature.width is not None:
                start = self._ends[i][3]
                widths += [(start, self._widths[i]), (start + TAPER_M, feature.width)]
        segments = tuple(segment for feature in self._features for segment in feature.segments)
        return Track(name, segments, self._widths[0], widths=tuple(widths))

    def _has_room(self, new: NDArray[np.float64], loop: Track | None) -> bool:
        """Whether these samples keep their distance from those before, and among themselves, but for the bridge of a loop."""
        x, z, s, half = np.concatenate([*self._samples, new], axis=1)
        need = half + new[3][:, None] + 2 * BORDER_M + GRASS_M
        apart = new[2][:, None] - s
        near = (new[0][:, None] - x) ** 2 + (new[1][:, None] - z) ** 2 < need * need
        near &= apart > 1.3 * need  # nearer along the road, it is the road itself
        if loop is None:
            return not near.any()
        if len(loop.crossings) != 1:
            return False
        crossing = loop.crossings[0]
        below, above = crossing.below + self.length, crossing.above + self.length
        window = float(need.max()) / math.sin(crossing.angle) + 2 * SAMPLE_M
        explained = (np.abs(new[2] - above) <= window)[:, None] & (np.abs(s - below) <= window)
        reach = 2 * crossing.overlap(float(half.max()) + BORDER_M, float(half.max()) + BORDER_M)
        fits = crossing.angle >= MIN_CROSSING and above - below >= reach + RAMP_M and crossing.below >= reach / 2
        return fits and not (near & ~explained).any()


# Features


def _straight(level: Difficulty, draw: Draw, side: float) -> Feature:
    return Feature((Straight(draw.between(*level.straight)),))


def _corner(level: Difficulty, draw: Draw, side: float) -> Feature:
    corner = bend(draw.between(*level.corner), side * draw.between(*level.corner_turn), level.easement)
    return Feature((*corner, _link(level, draw)))


def _sweeper(level: Difficulty, draw: Draw, side: float) -> Feature:
    return Feature(bend(draw.between(*level.sweeper), side * draw.between(30.0, 80.0), 2 * level.easement))


def _hairpin(level: Difficulty, draw: Draw, side: float) -> Feature:
    corner = bend(draw.between(*level.hairpin), side * draw.between(155.0, 185.0), level.easement)
    return Feature((Straight(draw.between(*level.straight)), *corner, _link(level, draw)))


def _chicane(level: Difficulty, draw: Draw, side: float) -> Feature:
    turn = draw.between(*level.wave_turn)
    first = bend(draw.between(*level.wave), side * turn, level.easement)
    second = bend(draw.between(*level.wave), -side * turn, level.easement)
    return Feature((*first, *second, _link(level, draw)))


def _esses(level: Difficulty, draw: Draw, side: float) -> Feature:
    radius, turn = draw.between(*level.wave) * 1.2, draw.between(*level.wave_turn)
    outer = bend(radius, side * turn, level.easement)
    return Feature((*outer, *bend(radius, -2 * side * turn, level.easement), *outer, _link(level, draw)))


def _width(level: Difficulty, draw: Draw, side: float) -> Feature:
    return Feature((Straight(TAPER_M + draw.between(5.0, level.straight[0])),), width=draw.between(*level.width))


def _loop(level: Difficulty, draw: Draw, side: float) -> Feature:
    radius = draw.between(*level.loop)
    lead = Straight(round(1.2 * radius + level.width[1] + level.easement / 2, 1))
    return Feature((lead, *bend(radius, side * draw.between(258.0, 284.0), level.easement), lead), crosses=True)


def _link(level: Difficulty, draw: Draw) -> Straight:
    """The straight behind a corner."""
    return Straight(draw.between(level.straight[0] / 2, level.straight[1] / 2))


FEATURES: dict[str, Callable[[Difficulty, Draw, float], Feature]] = {
    "straight": _straight,
    "corner": _corner,
    "sweeper": _sweeper,
    "hairpin": _hairpin,
    "chicane": _chicane,
    "esses": _esses,
    "width": _width,
    "loop": _loop,
}
