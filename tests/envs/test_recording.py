"""What a line is recorded from: runs as the plugin tells them, with restarts, respawns and nonsense in between."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmrld.envs.trackmania.recording import GAP_S, START_M, Phase, Recorder
from tmrld.envs.trackmania.telemetry import Record
from tmrld.envs.trackmania.tracks import SPACING_M, resampled

FRAME_S = 1 / 60
CORNERED = np.array([(0, 8, 0), (0, 8, 30), (20, 9, 30), (20, 9, 60)], np.float64)
"""Two right angles, which are there exactly in what is recorded."""


def record(**changes: float | bool) -> Record:
    still = Record(0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, finished=False, gear=1.0, rpm=1200.0, received=0.0)
    return replace(still, **changes)  # type: ignore[arg-type]


def standing(at: Iterable[float] = CORNERED[0], *, since: float = 0.0, frames: int = 3, finished: bool = False) -> list[Record]:
    """A car that stands there for some frames."""
    x, y, z = at
    return [record(x=x, y=y, z=z, received=since + k * FRAME_S, finished=finished) for k in range(frames)]


def driving(corners: NDArray[np.float64] = CORNERED, speed: float = 20.0, *, since: float = 0.0) -> list[Record]:
    """A car that drives along these corners, every one of them seen; the first is where it stands."""
    found: list[Record] = []
    along, now = 0.0, since
    for start, end in pairwise(corners):
        length = float(np.linalg.norm(end - start))
        for k in range(1, math.ceil(length / (speed * FRAME_S)) + 1):
            share = min(k * speed * FRAME_S / length, 1.0)
            now += FRAME_S
            x, y, z = (start + share * (end - start)).tolist()
            found.append(record(x=x, y=y, z=z, speed=speed, distance=along + share * length, received=now))
        along += length
    return found


def finished(records: list[Record]) -> list[Record]:
    """The same, with the flag at its end."""
    return [*records[:-1], replace(records[-1], finished=True)]


def later(records: list[Record], by_s: float) -> list[Record]:
    return [replace(each, received=each.received + by_s) for each in records]


def seen(recorder: Recorder, records: Iterable[Record]) -> Phase:
    """How it stands after all of these."""
    phase = None
    for each in records:
        phase = recorder.see(each)
    assert phase is not None
    return phase


def a_run(**changes: float) -> list[Record]:
    return [*standing(), *finished(driving(**changes))]  # type: ignore[arg-type]


def test_a_run_from_standstill_to_the_flag_is_a_line_with_its_corners() -> None:
    recorder = Recorder()

    assert seen(recorder, standing()) is Phase.READY
    assert seen(recorder, driving()) is Phase.RUNNING
    assert recorder.length_m == pytest.approx(30 + math.hypot(20, 1) + 30)
    assert seen(recorder, [replace(driving()[-1], finished=True)]) is Phase.DONE
    assert np.allclose(recorder.line, resampled(CORNERED), atol=1e-9)
    assert recorder.run_s == pytest.approx(len(driving()) * FRAME_S, abs=0.1)
    assert recorder.reason == ""


def test_nothing_changes_a_line_that_is_done() -> None:
    recorder = Recorder()
    seen(recorder, a_run())
    line = recorder.line.copy()

    assert seen(recorder, [*standing(since=100.0), *driving(since=101.0)]) is Phase.DONE
    assert np.array_equal(recorder.line, line)


def test_the_time_at_the_start_is_not_part_of_the_lap() -> None:
    recorder = Recorder()
    seen(recorder, [*standing(frames=600), *later(finished(driving()), 10.0)])

    assert recorder.run_s == pytest.approx(len(driving()) * FRAME_S, abs=0.2)


def test_a_car_that_sinks_into_its_springs_has_not_started() -> None:
    recorder = Recorder()

    assert seen(recorder, [*standing(), record(y=7.95, received=1.0)]) is Phase.READY
    assert recorder.length_m == 0.0


def test_a_finish_flag_that_is_set_already_is_waited_away() -> None:
    recorder = Recorder()

    assert seen(recorder, standing(at=CORNERED[-1], finished=True)) is Phase.FINISHED
    assert seen(recorder, later(a_run(), 5.0)) is Phase.DONE
    assert len(recorder.line) == len(resampled(CORNERED))


def test_a_start_that_the_plugin_counts_otherwise_is_known_by_the_flag_that_is_taken_back() -> None:
    recorder = Recorder()
    far = [replace(each, distance=each.distance + 5000.0) for each in later(a_run(), 5.0)]

    assert seen(recorder, [*standing(at=CORNERED[-1], finished=True), *far]) is Phase.DONE


@pytest.mark.parametrize("speed", [20.0, 0.0])
def test_a_car_on_its_way_is_not_recorded_before_a_restart(speed: float) -> None:
    recorder = Recorder()
    away = [replace(each, speed=speed) for each in driving()[60:]]

    assert seen(recorder, away) is Phase.AWAY
    assert seen(recorder, later(a_run(), 5.0)) is Phase.DONE
    assert np.allclose(recorder.line, resampled(CORNERED))


@given(st.integers(10, 200))
def test_a_restart_at_any_moment_begins_anew(moment: int) -> None:
    recorder = Recorder()
    first = driving()[:moment]

    assert seen(recorder, [*standing(), *first]) is Phase.RUNNING
    assert recorder.restarts == 0
    assert seen(recorder, standing(since=50.0)) is Phase.READY
    assert recorder.restarts == 1
    assert seen(recorder, later(finished(driving()), 50.0 + 2 * FRAME_S)) is Phase.DONE
    assert np.allclose(recorder.line, resampled(CORNERED))
    assert recorder.run_s == pytest.approx(len(driving()) * FRAME_S, abs=0.2)


@given(st.integers(30, 200), st.floats(15, 500), st.floats(0, 2 * math.pi))
def test_a_respawn_at_any_moment_spoils_the_run_until_a_restart(moment: int, far: float, direction: float) -> None:
    recorder = Recorder()
    last = driving()[min(moment, len(driving()) - 1)]
    place = (last.x + far * math.sin(direction), last.y, last.z + far * math.cos(direction))
    if math.dist(place, CORNERED[0]) < 1.0:
        return
    respawned = replace(last, x=place[0], z=place[2], speed=0.0, received=last.received + FRAME_S)

    assert seen(recorder, [*standing(), *driving()[: moment + 1], respawned]) is Phase.VOID
    assert f"jumped by {far:.0f} m" in recorder.reason
    drives_on = later(finished(driving()[moment:]), 10.0)
    assert seen(recorder, drives_on) is Phase.VOID
    assert seen(recorder, later(a_run(), 50.0)) is Phase.DONE
    assert np.allclose(recorder.line, resampled(CORNERED))


@pytest.mark.parametrize("speed", [5.0, 60.0, 270.0])
@pytest.mark.parametrize("fps", [20, 60, 240])
def test_no_speed_is_taken_for_a_jump(speed: float, fps: int) -> None:
    recorder = Recorder()
    straight = np.array([(0.0, 8.0, 0.0), (0.0, 8.0, 3000.0)])
    moving = [each for k, each in enumerate(driving(straight, speed)) if k % max(1, round(60 / fps)) == 0]

    assert seen(recorder, [*standing(), *finished(moving)]) is Phase.DONE, recorder.reason


def test_a_silence_in_which_the_car_moved_spoils_the_run() -> None:
    recorder = Recorder()
    run = driving(np.array([(0.0, 8.0, 0.0), (0.0, 8.0, 300.0)]))

    assert seen(recorder, [*standing(), *run[:100], *run[400:]]) is Phase.VOID
    assert "nothing was heard of the game for 5.0 s" in recorder.reason


def test_a_pause_in_which_the_car_stood_is_none() -> None:
    """The game is paused: nothing comes, and it goes on where it was."""
    recorder = Recorder()
    run = driving()

    assert seen(recorder, [*standing(), *run[:100], *later(finished(run[100:]), 3.0 + GAP_S)]) is Phase.DONE


def test_a_finish_near_the_start_is_too_short() -> None:
    recorder = Recorder()

    assert seen(recorder, [*standing(), *finished(driving(np.array([(0.0, 8.0, 0.0), (0.0, 8.0, 7.5)])))]) is Phase.VOID
    assert "too short: 7.5 m" in recorder.reason


def test_the_speed_may_be_told_in_kilometres_per_hour() -> None:
    def told(records: list[Record]) -> list[Record]:
        return [replace(each, speed=each.speed * 3.6) for each in records]

    slow = Recorder(1 / 3.6)
    assert seen(slow, told(a_run())) is Phase.DONE
    crawling = [record(speed=1.0, distance=1.0), record(speed=1.7, received=FRAME_S)]
    assert seen(Recorder(1 / 3.6), crawling) is Phase.READY
    assert seen(Recorder(), crawling) is Phase.AWAY


@pytest.mark.parametrize("name", ["x", "y", "z", "speed"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("moment", [0, 2, 40])
def test_what_is_no_number_spoils_the_run_and_never_the_next(name: str, value: float, moment: int) -> None:
    recorder = Recorder()
    run = a_run()
    broken = replace(run[moment], **{name: value})  # type: ignore[arg-type]

    assert seen(recorder, [*run[:moment], broken]) is Phase.VOID
    assert "no number" in recorder.reason
    assert seen(recorder, later(a_run(), 5.0)) is Phase.DONE
    assert np.isfinite(recorder.line).all()


FLOATS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-100, 100)
ANY = st.builds(
    record,
    speed=FLOATS,
    distance=FLOATS,
    x=FLOATS,
    y=FLOATS,
    z=FLOATS,
    finished=st.booleans(),
    received=st.floats(-10, 1e6) | st.just(math.nan),
)


@given(st.lists(ANY, max_size=60), st.booleans())
def test_whatever_comes_nothing_breaks_and_a_line_is_a_line(records: list[Record], at_the_start: bool) -> None:
    recorder = Recorder()
    phases = [recorder.see(each) for each in [*(standing() if at_the_start else []), *records]]

    assert (Phase.VOID in phases) <= (recorder.reason != "")
    if phases and phases[-1] is Phase.DONE:
        gaps = np.linalg.norm(np.diff(recorder.line, axis=0), axis=1)
        assert np.isfinite(recorder.line).all()
        assert gaps.max() < 1.6 * SPACING_M
        assert recorder.length_m >= 10.0


@st.composite
def roads(draw: st.DrawFn) -> NDArray[np.float64]:
    """Corners of a road that goes ever on, so that it does not come back to its start."""
    steps = draw(st.lists(st.tuples(st.floats(-30, 30), st.floats(-3, 3), st.floats(3, 40)), min_size=1, max_size=8))
    return np.cumsum([(0.0, 8.0, 0.0), (0.0, 0.0, 2 * START_M), *steps], axis=0)


@given(roads(), st.floats(4, 100))
def test_the_line_is_what_was_driven(road: NDArray[np.float64], speed: float) -> None:
    recorder = Recorder()

    assert seen(recorder, [*standing(road[0]), *finished(driving(road, speed))]) is Phase.DONE
    line = resampled(road)
    assert recorder.line[0] == pytest.approx(road[0])
    assert recorder.line[-1] == pytest.approx(road[-1])
    assert len(recorder.line) == pytest.approx(len(line), abs=2)
    assert np.abs(recorder.line[: len(line) - 2] - line[: len(recorder.line)][: len(line) - 2]).max() < 0.05
