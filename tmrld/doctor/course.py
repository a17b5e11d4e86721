"""The line of the track: whether it can be read, and whether the car is where it leads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmrld.doctor.arrays import Points
from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.patient import Evidence
from tmrld.doctor.telemetry import X, Z
from tmrld.envs.options import RewardOptions, names_a_file
from tmrld.envs.trackmania.tracks import SPACING_M, name_of, read
from tmrld.errors import WorldError

AREA = "track"
MOST_POINTS = 5000
SHORT_M = 50.0
"""No map's line is shorter: a recording that ended at once is."""
ELSEWHERE_M = 20.0
"""Who is always further from the line than a road is wide is on another map."""


class Course(Evidence):
    """The line that ``track`` names: at most `MOST_POINTS` of its ``points``, evenly spread, and the last.

    ``shelf`` says that it is the name of a track that is not on this machine's shelf, but may be on a relay's; ``problem`` why a
    file cannot be read.
    """

    track: str
    shelf: bool = False
    missing: bool = False
    problem: str = ""
    length_m: float = 0.0
    points: Points


# Looking


def gather_course(track: str) -> Course:
    """Read the file that ``track`` names."""
    nothing = np.zeros((0, 3))
    shown = _shown(track)
    if not names_a_file(track):
        return Course(track=shown, shelf=True, points=nothing)
    path = Path(track).expanduser()
    if not path.exists():
        return Course(track=shown, missing=True, points=nothing)
    try:
        line = read(path)
    except WorldError as error:
        return Course(track=shown, problem=str(error).replace(str(path), shown), points=nothing)
    every = np.unique(np.append(np.arange(0, len(line), -(-len(line) // MOST_POINTS)), len(line) - 1))
    length_m = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    return Course(track=shown, length_m=length_m, points=np.ascontiguousarray(line[every]))


def _shown(track: str) -> str:
    """Without who the user is."""
    home = str(Path.home())
    return track.replace(home, "~", 1) if len(home) > 1 else track


# Judging

CODES = frozenset(
    {"track-on-shelf", "track-missing", "track-unreadable", "track-short", "track-elsewhere", "track-starts-elsewhere"}
)
RECORD = "`tmrld track record NAME` while you drive a lap"


def judge_course(seen: Course, told: NDArray[np.float64], reward: RewardOptions, *, at_start: bool) -> Iterator[Diagnosis]:
    """``told`` are the plugin's records; ``at_start`` says that the car stands at the start."""
    if seen.shelf:
        yield note(
            AREA,
            "line",
            f"the track {seen.track!r} is not on this machine's shelf, or damaged there: perhaps the relay's has it; it was not read",
            f"{RECORD} puts one here, and `tmrld track list` has those that there are; environment.track names it",
            code="track-on-shelf",
        )
    elif seen.missing:
        yield wrong(
            AREA,
            "line",
            f"there is no file {seen.track} with the line of the track",
            f"{RECORD}; or, of TMRL's, `tmrld import-tmrl`; then environment.track is its name",
            code="track-missing",
        )
    elif seen.problem:
        yield wrong(AREA, "line", seen.problem, RECORD, code="track-unreadable")
    elif seen.length_m < SHORT_M:
        yield wrong(
            AREA,
            "line",
            f"the line of {seen.track} is only {seen.length_m:.1f} m long: every episode ends at once",
            f"record the whole lap: {RECORD}, and end with the finish",
            code="track-short",
        )
    else:
        yield ok(AREA, "line", f"the line of {name_of(seen.track)} is {seen.length_m:,.0f} m long")
        if len(told):
            yield _judge_place(seen, told, reward, at_start=at_start)


def _judge_place(seen: Course, told: NDArray[np.float64], reward: RewardOptions, *, at_start: bool) -> Diagnosis:
    places = told[:: max(1, len(told) // 50), X : Z + 1]
    apart = np.linalg.norm(places[:, None] - seen.points[None], axis=2)
    name = name_of(seen.track)
    distance_m, nearest = float(np.median(apart.min(axis=1))), int(apart[0].argmin())
    spacing_m = seen.length_m / max(1, len(seen.points) - 1)
    along_m = nearest * spacing_m
    if distance_m > min(ELSEWHERE_M, reward.max_stray) + spacing_m:
        x, y, z = places[0]
        return wrong(
            AREA,
            "place",
            f"the car (at {x:.0f}, {y:.0f}, {z:.0f}) is {distance_m:,.0f} m from the line of {name}: it was recorded on "
            "another map, "
            "and every episode would end at once",
            f"load the map of {name}; or record this one: {RECORD}, and set environment.track",
            code="track-elsewhere",
        )
    reach_m = reward.check_forward * SPACING_M
    if at_start and along_m > reach_m:
        return wrong(
            AREA,
            "place",
            f"the car stands at the start, but the line of {name} is nearest {along_m:,.0f} m after its own: no progress "
            "would be seen, "
            f"for it is looked for within {reach_m:g} m",
            f"record the line from the start to the finish: {RECORD}",
            code="track-starts-elsewhere",
        )
    return ok(AREA, "place", f"the car is {distance_m:.1f} m from the line, {along_m:,.0f} m after its start")
