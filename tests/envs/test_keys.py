"""The keys to drive with, by their places."""

from __future__ import annotations

import pytest

from tmrld.envs.keys import driven


@pytest.mark.parametrize(
    ("down", "what"),
    [
        ((), set()),
        ((82,), {"gas"}),
        ((26, 82), {"gas"}),
        ((81, 80), {"brake", "left"}),
        ((22, 4), {"brake", "left"}),
        ((79, 7, 44, 42), {"right"}),
    ],
)
def test_arrows_and_letters_drive_and_nothing_else_does(down: tuple[int, ...], what: set[str]) -> None:
    assert driven(set(down)) == what
