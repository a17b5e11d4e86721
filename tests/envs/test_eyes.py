"""What a flavour sees of a picture is, to the last bit, what TMRL's order of steps makes of it."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID, EnvironmentOptions
from tmrld.envs.trackmania.eyes import eye_of, image_eye
from tmrld.envs.trackmania.lidar import distances
from tmrld.errors import GameError


def as_tmrl(captured: NDArray[np.uint8], width: int, height: int, gray: bool) -> NDArray[Any]:
    """The fourth channel is dropped, then the picture is shrunk, then its colours are mixed or turned around."""
    small = cv2.resize(captured[:, :, :3], (width, height))
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY) if gray else small[:, :, ::-1]


def picture(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4)).astype(np.uint8)


sides = st.integers(1, 150)
halves = st.tuples(sides, sides).map(lambda size: (size, (2 * size[0], 2 * size[1])))  # OpenCV has a way of its own for these
pairs = st.tuples(st.tuples(sides, sides), st.tuples(sides, sides)) | halves


@given(pairs, st.booleans(), st.integers(0, 2**32))
def test_an_image_is_that_of_tmrl(sizes: tuple[tuple[int, int], tuple[int, int]], gray: bool, seed: int) -> None:
    (width, height), window = sizes
    captured = picture(*window, seed)

    seen = image_eye(width, height, gray=gray)(captured)

    assert seen.dtype == np.uint8
    assert seen.shape == ((height, width) if gray else (height, width, 3))
    assert np.array_equal(seen, as_tmrl(captured, width, height, gray))


@pytest.mark.parametrize("window", [(256, 128), (958, 488), (1920, 1080)])
@pytest.mark.parametrize("gray", [True, False])
def test_the_windows_of_tmrl_are_shrunk_as_there(window: tuple[int, int], gray: bool) -> None:
    captured = picture(*window, 1)

    assert np.array_equal(image_eye(64, 64, gray=gray)(captured), as_tmrl(captured, 64, 64, gray))


def test_an_image_is_an_array_of_its_own() -> None:
    captured = picture(64, 64, 2)
    for gray in (True, False):
        eye = image_eye(64, 64, gray=gray)
        seen = eye(captured)
        before = seen.copy()
        assert not np.shares_memory(seen, captured)
        eye(picture(64, 64, 3))
        assert np.array_equal(seen, before)


@pytest.mark.parametrize("flavour", [LIDAR_ID, LIDAR_PROGRESS_ID])
def test_the_lidar_looks_at_three_channels_of_what_is_captured(flavour: str) -> None:
    captured = picture(958, 488, 4)
    captured[::7, :, :3] = 0
    captured[:, :, 3] = 255

    seen = eye_of(EnvironmentOptions(id=flavour))(captured)

    assert np.array_equal(seen, distances(captured[:, :, :3]))


def test_a_flavour_has_the_size_and_colours_that_are_set() -> None:
    captured = picture(256, 128, 5)
    for gray in (True, False):
        eye = eye_of(EnvironmentOptions(id=FULL_ID, image_width=30, image_height=20, grayscale=gray))
        assert np.array_equal(eye(captured), as_tmrl(captured, 30, 20, gray))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(GameError, match=r'pip install "tmrld\[game\]"; on Linux also: apt install libgl1'):
        eye_of(EnvironmentOptions(id=FULL_ID))
    eye_of(EnvironmentOptions(id=LIDAR_ID))  # needs none
