"""TMRL's LIDAR geometry and measurement on pictures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmrld.envs.trackmania.lidar import BEAMS, DARK, beam_pixels, distances


def white(height: int = 488, width: int = 958) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def test_beams_start_twenty_pixels_from_the_origin_and_end_at_the_edge() -> None:
    beams = beam_pixels(958, 488)

    assert len(beams) == BEAMS
    assert [int(axis[0]) for axis in beams[0]] == [438, 499]  # to the right
    assert [int(axis[0]) for axis in beams[9]] == [418, 479]  # up
    assert [int(axis[0]) for axis in beams[18]] == [438, 459]  # left
    assert int(beams[0][1][-1]) == 956
    assert int(beams[9][0][-1]) == 1
    assert int(beams[18][1][-1]) == 1


def test_without_a_border_each_beam_reads_one_less_than_its_length() -> None:
    measured = distances(white())

    assert measured.dtype == np.float32
    assert measured.min() == 417  # straight up
    assert measured.max() == 603
    assert measured.tolist() == [len(rows) - 1 for rows, _ in beam_pixels(958, 488)]


def test_a_beam_reads_the_pixels_up_to_the_first_dark_one() -> None:
    image = white()
    image[300, :] = 0  # a border across the road: row 418 is the first pixel of beam 9

    assert distances(image)[9] == 118


@pytest.mark.parametrize("colour", [(55, 0, 0), (0, 55, 0), (0, 0, 55)])
def test_one_bright_channel_is_no_border(colour: tuple[int, int, int]) -> None:
    image = white()
    image[300, :] = colour

    assert distances(image)[9] == 417


def test_what_is_drawn_close_to_the_origin_is_not_seen() -> None:
    image = white()
    image[425:452, 466:493] = 0

    assert distances(image).tolist() == distances(white()).tolist()


def test_every_window_size_is_measured() -> None:
    assert distances(white(128, 256)).shape == (19,)
    assert distances(np.zeros((128, 256, 4), np.uint8)).tolist() == [0.0] * 19


def beam_by_beam(image: NDArray[np.uint8]) -> list[float]:
    """As the LIDAR is defined: the place of a beam's first dark pixel, or of its last."""
    measured = []
    for rows, columns in beam_pixels(image.shape[1], image.shape[0]):
        dark = np.flatnonzero((image[rows, columns, :3] < DARK).all(axis=1))
        measured.append(float(dark[0]) if len(dark) else len(rows) - 1.0)
    return measured


@given(st.integers(64, 400), st.integers(64, 300), st.sampled_from([3, 4]), st.floats(0, 0.5), st.integers(0, 2**32))
def test_all_beams_at_once_are_what_each_is_alone(width: int, height: int, channels: int, dark: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(DARK - 1, 256, (height, width, channels)).astype(np.uint8)
    image[random.random((height, width)) < dark / 10] = DARK - 1
    wider = np.pad(image, ((0, 0), (1, 2), (0, 0)))

    assert distances(image).tolist() == beam_by_beam(image)
    assert distances(wider[:, 1:-2]).tolist() == beam_by_beam(image)  # rows that do not follow one another in memory


def test_the_fourth_channel_is_not_looked_at() -> None:
    image = np.full((488, 958, 4), 0, np.uint8)
    image[:, :, 3] = 255
    assert distances(image).tolist() == [0.0] * BEAMS
    image[:] = (255, 255, 255, 0)
    assert distances(image).tolist() == distances(white()).tolist()
