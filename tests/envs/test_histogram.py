"""Histograms as a picture."""

from __future__ import annotations

import numpy as np
import pytest

from tmrld.envs.sim import drawing
from tmrld.envs.sim.histogram import BINS, HEAD, HEIGHT, MARGIN, WIDTH, Panel, picture


def pixels(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where the picture has exactly this colour."""
    same: np.ndarray = np.all(image == np.array(colour, np.uint8), axis=2)
    return same


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_there_is_a_picture_with_a_panel_for_each_kind(count: int) -> None:
    colours = (drawing.BLUE, drawing.GREEN, drawing.VIOLET, drawing.AMBER)[:count]
    random = np.random.default_rng(0)
    image = picture("bench", "words", [Panel("n", "t", random.gamma(2.0, size=500).tolist(), colour) for colour in colours])
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert all(pixels(image, colour).sum() > 1000 for colour in colours)


def test_more_values_make_a_higher_bar() -> None:
    values = [0.0] * 500 + [5.0] * 50 + [10.0] * 5
    blue = pixels(picture("a", "b", [Panel("n", "t", values, drawing.BLUE)]), drawing.BLUE)[HEAD + 80 : -60]
    heights = blue.sum(axis=0)
    columns = np.flatnonzero(heights > 10)
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 5) + 1)
    first, middle, last = (int(heights[group].max()) for group in groups)
    assert first > middle > last > 0
    assert len(groups) == 3


def test_an_outlier_is_counted_in_red_and_does_not_squeeze_the_others() -> None:
    values = [*np.random.default_rng(0).normal(1.0, 0.1, 2000).tolist(), 500.0]
    image = picture("a", "b", [Panel("n", "t", values, drawing.GREEN)])[HEAD + 80 :]
    green = np.flatnonzero(pixels(image, drawing.GREEN).any(axis=0))
    red = np.flatnonzero(pixels(image, drawing.RED).any(axis=0))
    assert green.max() - green.min() > WIDTH / 3
    assert red.min() > WIDTH - MARGIN - 20 - 2 * WIDTH / BINS


@pytest.mark.parametrize("values", [[], [0.0], [3.0] * 10, [-1.0, -1.0], [float(np.nextafter(1.0, 2.0)), 1.0]])
def test_few_or_equal_values_can_be_drawn(values: list[float]) -> None:
    assert picture("a", "b", [Panel("n", "t", values, drawing.BLUE)]).shape == (HEIGHT, WIDTH, 3)
