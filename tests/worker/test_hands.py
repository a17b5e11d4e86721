"""What a person's keys mean to the car."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.worker.hands import DRIVING, RETURN_S, TURN_S, Hands


def test_pedals_are_pressed_at_once() -> None:
    hands = Hands()
    assert hands.move({"gas"}, 0.01)[:2] == (1.0, 0.0)
    assert hands.move({"brake"}, 0.01)[:2] == (0.0, 1.0)
    assert hands.move({"gas", "brake"}, 0.01)[:2] == (1.0, 1.0)
    assert hands.move((), 0.01)[:2] == (0.0, 0.0)


def test_the_wheel_takes_its_time() -> None:
    hands = Hands()
    assert hands.move({"right"}, TURN_S / 4)[2] == pytest.approx(0.25)
    assert hands.move({"right"}, TURN_S / 4)[2] == pytest.approx(0.5)
    assert hands.move({"right"}, 10 * TURN_S)[2] == 1.0
    assert hands.move({"left", "right"}, RETURN_S / 2)[2] == pytest.approx(0.5)
    assert hands.move((), 10 * RETURN_S)[2] == 0.0


def test_to_the_other_side_it_goes_through_the_middle() -> None:
    hands = Hands()
    hands.move({"right"}, TURN_S)
    assert hands.move({"left"}, RETURN_S)[2] == 0.0
    assert hands.move({"left"}, TURN_S / 2)[2] == pytest.approx(-0.5)


@given(st.lists(st.tuples(st.sets(st.sampled_from(DRIVING)), st.floats(0, 2)), max_size=30))
def test_what_it_says_is_always_an_action(moves: list[tuple[set[str], float]]) -> None:
    hands = Hands()
    for held, seconds in moves:
        gas, brake, steer = hands.move(held, seconds)
        assert gas in (0.0, 1.0)
        assert brake in (0.0, 1.0)
        assert -1.0 <= steer <= 1.0
