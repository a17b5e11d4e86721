"""What is pressed for an action, and when a person has taken over."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.envs.trackmania.controls import ASK_S, Key, Takeover, keys_for, limited


@pytest.mark.parametrize(
    ("action", "keys"),
    [
        ((0.0, 0.0, 0.0), set()),
        ((0.01, 0.0, 0.0), {Key.GAS}),
        ((-1.0, 0.01, 0.5), {Key.BRAKE}),
        ((1.0, 1.0, 0.51), {Key.GAS, Key.BRAKE, Key.RIGHT}),
        ((0.0, -1.0, -0.51), {Key.LEFT}),
        ((0.0, 0.0, -0.5), set()),
    ],
)
def test_keys_are_those_of_tmrl(action: tuple[float, float, float], keys: set[Key]) -> None:
    assert keys_for(*action) == keys


@given(st.tuples(st.floats(), st.floats(), st.floats()))
def test_nothing_leaves_the_range_of_a_device(action: tuple[float, float, float]) -> None:
    gas, brake, steer = limited(*action)
    assert 0 <= gas <= 1
    assert 0 <= brake <= 1
    assert -1 <= steer <= 1
    if all(0 <= value <= 1 for value in action):
        assert (gas, brake, steer) == action


def test_what_is_no_number_drives_nobody() -> None:
    assert limited(math.nan, math.nan, math.nan) == (0.0, 0.0, 0.0)


# A person


def is_held(key: int) -> bool:
    """What a system says while every key is held whose release was not told."""
    return True


def is_not_held(key: int) -> bool:
    """What it says when no key is held."""
    return False


def test_nobody_drives_at_first() -> None:
    person = Takeover(5.0, is_held)
    assert not person.drives
    assert person.look_at == math.inf
    assert not person.look(1e9)


def test_a_person_drives_until_no_key_was_touched_for_a_while() -> None:
    person = Takeover(5.0, is_held)
    person.press(1, now=8.0)
    person.press(2, now=9.0)
    person.release(1, now=10.0)
    assert not person.look(15.0)  # one is held
    assert person.drives
    person.release(2, now=20.0)
    assert person.look_at == 25.0
    assert not person.look(24.9)
    assert person.drives
    assert person.look(25.0)
    assert not person.drives
    assert person.look_at == math.inf
    assert not person.look(26.0)  # it is told once


def test_another_key_begins_the_wait_anew() -> None:
    person = Takeover(5.0, is_held)
    person.press(1, now=9.0)
    person.release(1, now=10.0)
    person.press(2, now=14.0)
    assert not person.look(16.0)
    person.release(2, now=17.0)
    assert not person.look(21.9)
    assert person.look(22.0)


def test_the_release_of_a_key_whose_press_was_not_told_means_nothing() -> None:
    person = Takeover(5.0, is_held)
    person.release(1, now=1.0)
    assert not person.drives
    assert person.look_at == math.inf


def test_a_key_that_repeats_counts_once() -> None:
    person = Takeover(0.0, is_held)
    for _ in range(3):
        person.press(1, now=0.0)
    person.release(1, now=1.0)
    assert person.look(1.0)


def test_a_key_whose_release_is_never_told_is_forgotten() -> None:
    person = Takeover(5.0, is_not_held)
    person.press(1, now=10.0)
    assert not person.look(14.9)
    assert person.drives  # nobody has asked the system yet
    assert person.look(15.0)
    assert not person.drives
    person.release(1, now=16.0)
    assert person.look_at == math.inf


def test_the_system_is_asked_about_each_key_that_is_left() -> None:
    down = {1, 2}
    person = Takeover(5.0, lambda key: key in down)
    person.press(1, now=0.0)
    person.press(2, now=0.0)
    down.remove(1)
    assert not person.look(5.0)
    person.release(2, now=6.0)
    assert person.look_at == 11.0
    assert person.look(11.0)


def test_the_system_is_not_asked_without_pause_though_nobody_waits() -> None:
    person = Takeover(0.0, is_held)
    person.press(1, now=0.0)
    assert person.look_at == ASK_S
    assert not person.look(ASK_S)
    assert person.look_at == 2 * ASK_S
