"""The simulator's tracks, by name: those that it brings, and generated ones without end.

======== ====== ===============================================================================
name     metres what it is for
======== ====== ===============================================================================
short      301  a first lap within seconds: one corner to either side
default    675  eight corners, two of them slow: what the benchmarks drive
long      2023  long straights, and hairpins after them
white     1129  fast and flowing: sweepers one after the other, hardly a reason to brake
green      883  technical: chicanes, S-bends and a road that narrows twice
blue      1088  two loops, each over its own bridge, and a hairpin between them
======== ====== ===============================================================================

White, green and blue are harder in that order, as the colours of TrackMania's campaigns are; the roads are our own.

A generated track's name is all there is to it: ``medium-650-17`` is difficulty, length in metres and seed
(`tmrld.envs.sim.generator`), ``medium-650-any`` is another one for each episode.  That never draws a seed below `HELD_OUT`: the
first ten thousand tracks of every kind are for tests of what was learned on the others.
"""

from __future__ import annotations

import difflib
import re

from tmrld.envs.sim.bends import bend
from tmrld.envs.sim.generator import DIFFICULTIES, checked, generated
from tmrld.envs.sim.track import Arc, Segment, Straight, Track
from tmrld.errors import WorldError


def _row(*parts: Segment | tuple[Arc, ...]) -> tuple[Segment, ...]:
    """Straights and corners, one after the other."""
    return tuple(segment for part in parts for segment in (part if isinstance(part, tuple) else (part,)))


SHORT = Track("short", _row(Straight(50), bend(40, 80), Straight(45), bend(36, -100), Straight(55)))

DEFAULT = Track(
    "default",
    (
        *(Straight(60), Arc(40, 60), Straight(25), Arc(36, -80), Straight(40), Arc(30, 150)),  # slow right
        *(Straight(30), Arc(34, -80), Straight(25), Arc(30, -110)),  # slow left
        *(Straight(30), Arc(36, 70), Straight(20), Arc(40, 45), Straight(15), Arc(45, -50), Straight(40)),
    ),
)
"""The two tightest corners want some 80 km/h."""

LONG = Track(
    "long",
    (
        *(Straight(150), Arc(40, 90), Straight(80), Arc(60, -90), Straight(120), Arc(16, 180), Straight(90), Arc(35, -90)),
        *(Straight(80), Arc(18, -170), Straight(50), Arc(25, 80), Straight(40), Arc(35, 60), Straight(120), Arc(45, -100)),
        *(Straight(130), Arc(50, -70), Straight(120), Arc(18, 165), Straight(90), Arc(60, -60), Straight(50), Arc(26, -90)),
        *(Straight(40), Arc(26, 90), Straight(140)),
    ),
)
"""Its straights are long enough for 150 km/h."""

WHITE = Track(
    "white",
    _row(
        *(Straight(90), bend(90, 70, 40), bend(110, -95, 40), Straight(60), bend(75, 100, 35)),
        *(Straight(50), bend(100, -60, 40), bend(85, 65, 40), Straight(110)),
    ),
    width=18.0,
)

GREEN = Track(
    "green",
    _row(
        *(Straight(80), bend(26, 45, 10), bend(26, -45, 10), Straight(60), bend(32, 95, 12), Straight(40)),
        *(bend(30, -60, 12), bend(30, 110, 12), bend(30, -60, 12), Straight(70), bend(24, -120, 10)),
        *(Straight(50), bend(24, -40, 10), bend(24, 40, 10), Straight(40), bend(30, 85, 12), Straight(90)),
    ),
    widths=((90, 16), (140, 13), (470, 13), (500, 16), (600, 16), (630, 13)),
)

BLUE = Track(
    "blue",
    _row(
        *(Straight(90), bend(34, 272, 14), Straight(85), bend(40, -70, 14), Straight(45), bend(18, 175, 10), Straight(60)),
        *(bend(45, -60, 16), Straight(80), bend(32, -268, 14), Straight(80), bend(40, 60, 16), Straight(60)),
    ),
    width=15.0,
)

BUNDLED = {track.name: track for track in (SHORT, DEFAULT, LONG, WHITE, GREEN, BLUE)}

GENERATED = re.compile(r"([^\W\d_]+)-([0-9]{1,9})-([0-9]{1,20}|any)")
ANY = "any"
HELD_OUT = 10_000


def named(name: str, seed: int | None = None) -> Track:
    """The track of that name; ``seed`` chooses one where the name leaves it open.  Raises WorldError as `check` does."""
    check(name)
    if name in BUNDLED:
        return BUNDLED[name]
    difficulty, length, number = _parts(name)
    return generated(difficulty, length, HELD_OUT + (seed or 0) if number == ANY else int(number))


def changes(name: str) -> bool:
    """Whether that name stands for another track in each episode."""
    return name.endswith(f"-{ANY}")


def check(name: str) -> None:
    """Raises WorldError, which names the nearest one, if there is no such track.  Generates none."""
    if name in BUNDLED:
        return
    if GENERATED.fullmatch(name):
        checked(*_parts(name)[:2])
        return
    near = difflib.get_close_matches(name, (*BUNDLED, *(f"{level}-650-{ANY}" for level in DIFFICULTIES)), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it brings {', '.join(BUNDLED)}."
    raise WorldError(
        f"the simulator has no track called {name!r}: {hint} Generated ones are called by difficulty, length and seed, as in "
        f"medium-650-17, or medium-650-{ANY} for another one in each episode"
    )


def _parts(name: str) -> tuple[str, int, str]:
    """Difficulty, length and seed of a generated track's name."""
    difficulty, length, seed = name.split("-")
    return difficulty, int(length), seed
