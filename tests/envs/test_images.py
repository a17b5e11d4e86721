"""The images of the full flavour are the window, shrunk as TMRL shrinks it, though the window was never drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmrld.envs.sim.camera import PLAIN, Look, camera, look_of
from tmrld.envs.sim.images import ImageSensor
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.randomness import Conditions
from tmrld.envs.sim.track import Track
from tmrld.envs.sim.tracks import BUNDLED

LIKE = 2.0
"""Mean difference that is accepted, in levels of 255, at any place; 0.35 is usual."""
LIKE_ON_AVERAGE = 0.6
CORRELATED = 0.97

SIZES = [(64, 64, 256, 128), (64, 64, 958, 488), (84, 100, 320, 200), (256, 128, 256, 128), (200, 140, 128, 100)]


def resized(picture: NDArray[Any], width: int, height: int) -> NDArray[np.float64]:
    """OpenCV's ``resize`` with its default, bilinear interpolation between the four nearest pixel centres, written out."""

    def between(side: int, whole: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        place = np.clip((np.arange(side) + 0.5) * (whole / side) - 0.5, 0, whole - 1)
        left = np.minimum(place.astype(np.intp), whole - 2)
        return left, place - left

    values = picture.astype(np.float64)
    row, down = between(height, picture.shape[0])
    column, right = between(width, picture.shape[1])
    down, right = down[:, None, None], right[:, None]
    values = values[row] * (1 - down) + values[row + 1] * down
    return np.rint(values[:, column] * (1 - right) + values[:, column + 1] * right)


def gray(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.rint(picture @ (0.299, 0.587, 0.114))


class Difference:
    """How far images lie from the windows that they stand for."""

    def __init__(self, width: int, height: int, in_gray: bool, window: tuple[int, int], look: Look = PLAIN) -> None:
        self._size = width, height
        self._gray = in_gray
        self._window = camera(*window)
        self._sensor = ImageSensor(width, height, in_gray, *window)
        self._look = look

    def at(self, track: Track, s: float, aside: float, turn: float) -> tuple[float, float]:
        """Mean absolute difference in levels, and correlation."""
        pose = track.pose(s).right(aside)
        place = ground_of(track), pose.x, pose.z, pose.heading + turn, self._look
        expected = resized(self._window.render(*place), *self._size)
        image = self._sensor.see(*place)
        expected = gray(expected) if self._gray else expected
        assert image.dtype == np.uint8
        assert image.shape == expected.shape
        correlation = np.corrcoef(image.ravel(), expected.ravel())[0, 1]
        return float(np.abs(image - expected).mean()), float(correlation)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("in_gray", [True, False], ids=["gray", "colour"])
def test_an_image_is_the_window_shrunk(size: tuple[int, int, int, int], in_gray: bool) -> None:
    width, height, *window = size
    difference = Difference(width, height, in_gray, (window[0], window[1]))
    rng = np.random.default_rng(1)
    found = [
        difference.at(track, rng.uniform(0, track.length), rng.uniform(-9, 9), rng.uniform(-0.6, 0.6))
        for track in BUNDLED.values()
        for _ in range(8)
    ]

    levels, correlations = zip(*found, strict=True)
    assert np.mean(levels) < LIKE_ON_AVERAGE
    assert max(levels) < LIKE
    assert min(correlations) > CORRELATED


def test_an_image_as_large_as_the_window_is_the_window() -> None:
    sensor = ImageSensor(256, 128, False, 256, 128)
    track = BUNDLED["default"]
    pose = track.pose(130.0)
    place = ground_of(track), pose.x, pose.z, pose.heading, PLAIN
    different = (sensor.see(*place) != camera(256, 128).render(*place)).any(axis=2)

    assert not different[35:].any()  # the ground, to the last pixel
    assert different[:35].mean() < 0.02  # the outline of the hills is as fine as the panorama


@given(
    track=st.sampled_from(list(BUNDLED.values())),
    s=st.floats(-20, 700),
    aside=st.floats(-30, 30),
    turn=st.floats(-math.pi, math.pi),
    brightness=st.floats(0.6, 1.4),
    border=st.integers(0, 35),
    height=st.floats(0.5, 1.5),
    in_gray=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_whatever_the_episode_looks_like(
    track: Track, s: float, aside: float, turn: float, brightness: float, border: int, height: float, in_gray: bool
) -> None:
    look = look_of(Conditions(brightness=brightness, border=(border, border // 2, 0), camera_height=height))
    levels, correlation = Difference(64, 64, in_gray, (256, 128), look).at(track, s, aside, turn)

    assert levels < 2 * LIKE
    assert correlation > 0.9


def test_each_image_is_an_array_of_its_own() -> None:
    sensor = ImageSensor(64, 64, True, 256, 128)
    place = ground_of(BUNDLED["default"]), 0.0, 0.0, 0.0, PLAIN
    first = sensor.see(*place)
    kept = first.copy()
    sensor.see(*place)[:] = 0

    assert np.array_equal(first, kept)
