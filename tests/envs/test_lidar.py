"""TMRL's LIDAR geometry and measurement on pictures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tmrld.envs.trackmania.lidar import BEAMS, beam_pixels, distances


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
