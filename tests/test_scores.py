"""What episodes say together, and as the league counts, against the plainest way to work the same out."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.errors import BadInput
from tmrld.scores import Outcome, league, score

LAPS = st.floats(0.05, 1e4)
RETURNS = st.floats(-1e4, 1e4) | st.just(math.nan)
FINISHED = st.builds(Outcome, st.just(True), LAPS, RETURNS)
CRASHED = st.builds(Outcome, st.just(False), st.none(), RETURNS)
TIMELESS = st.builds(Outcome, st.booleans(), st.none(), RETURNS)
ANY = st.lists(st.one_of(FINISHED, CRASHED, TIMELESS), max_size=40)
TIMED = st.lists(st.one_of(FINISHED, CRASHED), max_size=40)

LAP, CRASH = Outcome(True, 40.0), Outcome(False, None)


@given(ANY)
def test_the_numbers_are_those_of_numpy_and_statistics(outcomes: list[Outcome]) -> None:
    found = score(outcomes)
    laps = [each.lap_time_s for each in outcomes if each.lap_time_s is not None]
    returns = np.array([each.episode_return for each in outcomes])
    assert (found.episodes, found.finished) == (len(outcomes), len([each for each in outcomes if each.finished]))
    assert found.finish_share == (found.finished / found.episodes if outcomes else None)
    if laps:
        assert found.mean_lap_s == pytest.approx(np.mean(laps))
        assert found.std_lap_s == pytest.approx(np.std(laps), abs=1e-6)
        assert (found.median_lap_s, found.best_lap_s) == (statistics.median(laps), sorted(laps)[0])
    else:
        assert (found.mean_lap_s, found.std_lap_s, found.median_lap_s, found.best_lap_s) == (None,) * 4
    if np.isnan(returns).all():
        assert found.mean_return is None
    else:
        assert found.mean_return == pytest.approx(np.nanmean(returns), abs=1e-6)


@given(ANY, st.randoms())
def test_a_score_does_not_depend_on_the_order(outcomes: list[Outcome], random: object) -> None:
    shuffled = list(outcomes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' own Random
    assert score(shuffled) == score(outcomes)


@given(st.lists(FINISHED, min_size=1, max_size=10), st.lists(CRASHED, min_size=1, max_size=10))
def test_who_finishes_more_often_is_ahead_however_slow(finished: list[Outcome], crashed: list[Outcome]) -> None:
    assert score(finished).rank > score([*finished, *crashed]).rank > score(crashed).rank >= score([]).rank


def test_of_equally_safe_drivers_the_faster_one_is_ahead() -> None:
    assert score([Outcome(True, 20.0, 1.0)]).rank > score([Outcome(True, 21.0, 99.0)]).rank
    assert score([LAP] * 10).rank > score([LAP]).rank


# The league


def by_the_rules(outcomes: list[Outcome]) -> tuple[list[float], int]:
    """The times and crashes of an entry, read off a text of laps and crashes."""
    text = "".join("L" if each.finished else "c" for each in outcomes)
    ends = [len(text)]
    ends += [end for end in range(len(text)) if text[:end].count("L") == 10 or text[:end].count("c") == 3]
    driven = text[: min(ends)]
    times = []
    for place, letter in enumerate(driven):
        if letter == "L":
            before = driven[:place]
            times.append(outcomes[place].lap_time_s + 10.0 * (len(before) - len(before.rstrip("c"))))  # type: ignore[operator]
    return times, driven.count("c")


@given(TIMED)
def test_the_league_counts_as_its_rules_say(outcomes: list[Outcome]) -> None:
    found = league(outcomes)
    times, crashes = by_the_rules(outcomes)
    assert (list(found.times_s), found.crashes, found.eliminated) == (times, crashes, crashes == 3)
    assert found.over == (crashes == 3 or len(times) == 10)
    if len(times) == 10 and crashes < 3:
        assert found.mean_s == pytest.approx(np.mean(times))
        assert found.std_s == pytest.approx(np.std(times), abs=1e-6)
    else:
        assert (found.mean_s, found.std_s) == (None, None)


def test_ten_clean_runs_are_their_mean() -> None:
    found = league([Outcome(True, 40.0 + index) for index in range(10)])
    assert (found.mean_s, found.crashes, found.over) == (44.5, 0, True)
    assert found.std_s == pytest.approx(math.sqrt(8.25))


def test_a_crash_is_no_run_and_adds_ten_seconds_to_the_next() -> None:
    found = league([LAP, CRASH, *[LAP] * 9])
    assert found.times_s == (40.0, 50.0, *[40.0] * 8)
    assert (found.mean_s, found.crashes, found.eliminated) == (41.0, 1, False)


def test_two_crashes_in_a_row_add_twenty_seconds() -> None:
    assert league([CRASH, CRASH, *[LAP] * 10]).times_s[:2] == (60.0, 40.0)


def test_the_third_crash_ends_it() -> None:
    found = league([LAP, CRASH, LAP, CRASH, *[LAP] * 7, CRASH, LAP])
    assert (found.eliminated, found.over, found.mean_s, len(found.times_s)) == (True, True, None, 9)


def test_before_the_tenth_run_there_is_no_mean() -> None:
    found = league([LAP] * 9)
    assert (found.mean_s, found.over, league([*[LAP] * 9, CRASH]).over) == (None, False, False)


def test_a_finish_without_a_time_cannot_be_counted() -> None:
    with pytest.raises(BadInput, match="the league counts times"):
        league([Outcome(True, None)])
