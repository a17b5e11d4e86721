"""What the stand-in's race shows when, and what leads from there to where."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.envs.standin.race import IMPROVE, POP_UP_S, Phase, Race

MIDDLE_OF_IMPROVE = ((IMPROVE[0] + IMPROVE[2]) / 2, (IMPROVE[1] + IMPROVE[3]) / 2)


def driving() -> Race:
    race = Race(1.0)
    race.pass_time(1.0)
    return race


def finished() -> Race:
    race = driving()
    race.cross_the_line()
    return race


def at_the_pop_up() -> Race:
    race = finished()
    race.pass_time(POP_UP_S)
    return race


def test_the_countdown_holds_the_car_and_the_rest_of_its_last_frame_moves_it() -> None:
    race = Race(1.5)
    assert (race.pass_time(1.0), race.phase) == (0.0, Phase.COUNTDOWN)
    assert (race.pass_time(0.75), race.phase) == (0.25, Phase.DRIVING)
    assert race.pass_time(0.5) == 0.5


def test_without_a_countdown_the_car_goes_at_once() -> None:
    race = Race(0.0)
    assert race.pass_time(0.5) == 0.5
    assert race.phase is Phase.DRIVING


@pytest.mark.parametrize("race", [Race(1.0), driving()], ids=["countdown", "driving"])
def test_before_the_line_giving_up_starts_anew(race: Race) -> None:
    race.pass_time(0.75)
    race.give_up()
    assert (race.restarts, race.phase) == (1, Phase.COUNTDOWN)
    assert race.pass_time(0.75) == 0.0
    assert race.pass_time(0.75) == 0.5


@pytest.mark.parametrize("make", [finished, at_the_pop_up])
def test_past_the_line_giving_up_does_nothing(make: Callable[[], Race]) -> None:
    race = make()
    race.give_up()
    assert race.finished
    assert race.restarts == 0


def test_the_pop_up_comes_a_moment_after_the_line() -> None:
    race = finished()
    phases = []
    for share in (0.5, 0.4, 0.2):
        assert race.pass_time(share * POP_UP_S) == share * POP_UP_S  # the car rolls on
        assert race.finished
        phases.append(race.phase)
    assert phases == [Phase.FINISHED, Phase.FINISHED, Phase.POP_UP]


def test_past_the_line_the_car_does_not_obey() -> None:
    assert [race.obeys for race in (Race(1.0), driving(), finished(), at_the_pop_up())] == [True, True, False, False]


def test_confirming_the_pop_up_starts_anew() -> None:
    race = at_the_pop_up()
    race.confirm()
    assert (race.restarts, race.phase, race.finished) == (1, Phase.COUNTDOWN, False)


@pytest.mark.parametrize("race", [Race(1.0), driving(), finished()], ids=["countdown", "driving", "finished"])
def test_without_a_pop_up_there_is_nothing_to_confirm(race: Race) -> None:
    before = race.phase
    race.confirm()
    race.click(*MIDDLE_OF_IMPROVE)
    assert (race.restarts, race.phase) == (0, before)


@pytest.mark.parametrize(
    ("place", "restarts"),
    [
        (MIDDLE_OF_IMPROVE, 1),
        ((0.55, 0.60), 1),  # where TMRL clicks
        (((550 - 8) / 958, (320 - 31) / 488), 1),  # in pixels of a window with Windows' borders
        ((IMPROVE[0] - 0.01, 0.60), 0),
        ((IMPROVE[2] + 0.01, 0.60), 0),
        ((0.55, IMPROVE[1] - 0.01), 0),
        ((0.55, IMPROVE[3] + 0.01), 0),
    ],
)
def test_a_click_must_hit_the_button(place: tuple[float, float], restarts: int) -> None:
    race = at_the_pop_up()
    race.click(*place)
    assert race.restarts == restarts


def test_a_lap_is_finished_once_and_only_by_a_car_that_drives() -> None:
    held = Race(1.0)
    held.cross_the_line()
    assert held.phase is Phase.COUNTDOWN
    race = at_the_pop_up()
    race.cross_the_line()
    assert race.phase is Phase.POP_UP


@pytest.mark.parametrize("make", [lambda: Race(1.0), driving, finished, at_the_pop_up])
def test_in_the_menu_time_stands_still_and_nothing_else_is_obeyed(make: Callable[[], Race]) -> None:
    race, same = make(), make()
    race.toggle_menu()
    assert race.pass_time(100.0) == 0.0
    race.give_up()
    race.confirm()
    race.click(*MIDDLE_OF_IMPROVE)
    assert not race.obeys
    race.toggle_menu()
    assert (race.restarts, race.phase, race.obeys) == (0, same.phase, same.obeys)
    assert race.pass_time(0.25) == same.pass_time(0.25)
    assert race.phase is same.phase


def test_a_race_can_begin_in_the_menu() -> None:
    race = Race(1.0, in_menu=True)
    assert race.pass_time(5.0) == 0.0
    race.toggle_menu()
    assert race.pass_time(1.5) == 0.5


@given(st.lists(st.floats(0.0, 0.3), max_size=20))
def test_the_car_moves_for_as_long_as_the_countdown_leaves_however_long_the_frames_are(frames: list[float]) -> None:
    race = Race(1.5)
    moved = sum(race.pass_time(frame) for frame in frames)
    assert moved == pytest.approx(max(0.0, sum(frames) - 1.5))
