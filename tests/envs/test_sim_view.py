"""What the simulator shows: frames from the driver's seat, and the LIDAR's shortcut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.sim.beams import Beams
from tmrld.envs.sim.camera import HILLS, camera
from tmrld.envs.sim.ground import BORDER, GRASS, PALETTE
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.track import Track
from tmrld.envs.sim.tracks import BLUE, DEFAULT, GREEN
from tmrld.envs.trackmania.lidar import DARK, distances


def test_far_away_everything_is_grass() -> None:
    assert not ground_of(DEFAULT).on_road(-5000.0, 0.0)
    assert not ground_of(DEFAULT).on_road(0.0, 1e9)
    assert set(Beams(958, 488).distances(ground_of(DEFAULT), 5000.0, -3000.0, 1.0)) == set(
        distances(np.full((488, 958, 3), 200, np.uint8))
    )


def test_only_the_border_is_dark_enough_for_the_lidar() -> None:
    dark = [(colour < DARK).all() for colour in PALETTE]

    assert dark == [index == BORDER for index in range(len(PALETTE))]


def frame_at(s: float, aside: float = 0.0, turn: float = 0.0) -> np.ndarray:
    pose = DEFAULT.pose(s).right(aside)
    return camera(958, 488).render(ground_of(DEFAULT), pose.x, pose.z, pose.heading + turn)


def is_grass(pixel: np.ndarray) -> bool:
    return bool(pixel[1] > pixel[0] + 30 and pixel[1] > pixel[2] + 30)


def is_tarmac(pixel: np.ndarray) -> bool:
    return bool(pixel.min() > 100 and pixel.max() < 130)


def is_border(pixel: np.ndarray) -> bool:
    return bool((pixel < DARK).all())


def test_a_frame_looks_like_a_road_from_a_car() -> None:
    frame = frame_at(5.0)

    assert frame.shape == (488, 958, 3)
    assert frame.dtype == np.uint8
    assert frame[5, 479, 2] > frame[5, 479, 0] + 50  # blue sky
    assert frame[115, 479].tolist() == list(HILLS)
    assert is_tarmac(frame[470, 10])
    assert is_tarmac(frame[470, 950])
    assert is_tarmac(frame[350, 479])
    assert is_tarmac(frame[200, 479])
    for column in (2, 955):  # on either side: grass, then the border, then the road
        ground = frame[140:, column]
        border = [row for row, pixel in enumerate(ground) if is_border(pixel)]
        assert border == list(range(border[0], border[-1] + 1))
        assert 40 < len(border) < 120
        assert is_grass(ground[border[0] - 2])
        assert is_tarmac(ground[border[-1] + 2])


def test_above_the_horizon_nothing_is_dark() -> None:
    assert (frame_at(5.0)[:131].max(axis=2) >= DARK).all()


def test_the_view_is_symmetrical_on_a_straight() -> None:
    dark = frame_at(5.0)[180:].max(axis=2) < DARK
    mirrored = dark[:, ::-1]

    assert (dark != mirrored).mean() < 0.01  # the raster's cells


def test_a_right_bend_opens_to_the_right() -> None:
    measured = distances(frame_at(45.0))

    assert measured[:9].sum() > measured[10:].sum() + 100


def test_from_the_left_edge_the_left_border_is_near() -> None:
    middle, left = distances(frame_at(10.0)), distances(frame_at(10.0, aside=-4.0))

    assert left[18] < middle[18] - 20
    assert left[15] < middle[15] - 50
    assert left[3] > middle[3] + 20


def test_turning_left_moves_the_world_to_the_right() -> None:
    straight, turned = frame_at(10.0), frame_at(10.0, turn=-0.3)
    hills = [(frame[70:110] == HILLS).all(axis=2) for frame in (straight, turned)]

    assert distances(turned)[16] < distances(straight)[16]
    assert not np.array_equal(*hills)


def test_the_finish_is_in_sight() -> None:
    frame = frame_at(DEFAULT.length - 15.0)
    red = (frame[..., 0] > 180) & (frame[..., 1] < 80)

    assert red.sum() > 500


sizes = st.sampled_from([(958, 488), (256, 128), (640, 480), (1920, 400)])


@given(
    road=st.sampled_from([(DEFAULT, 0), (GREEN, 0), (BLUE, 0), (BLUE, 1)]),
    size=sizes,
    s=st.floats(-20, 1150),
    aside=st.floats(-30, 30),
    turn=st.floats(-math.pi, math.pi),
)
@settings(max_examples=150, deadline=None)
def test_the_shortcut_sees_what_the_whole_frame_shows(
    road: tuple[Track, int], size: tuple[int, int], s: float, aside: float, turn: float
) -> None:
    pose = road[0].pose(s).right(aside)
    frame = camera(*size).render(ground_of(*road), pose.x, pose.z, pose.heading + turn)
    quick = Beams(*size).distances(ground_of(*road), pose.x, pose.z, pose.heading + turn)

    assert quick.tolist() == distances(frame).tolist()


SEEN_BEFORE = {
    (0.0, 0.0, 0.0): [457, 400, 337, 298, 276, 264, 261, 267, 423, 285, 281, 267, 261, 264, 276, 298, 337, 400, 458],
    (80.0, 2.5, 0.1): [346, 297, 273, 265, 273, 327, 320, 301, 267, 249, 239, 239, 246, 261, 287, 325, 387, 465, 458],
    (250.0, -4.0, -0.3): [457, 465, 488, 471, 338, 239, 164, 117, 88, 73, 61, 55, 51, 48, 47, 53, 55, 64, 78],
    (420.0, 6.0, 0.5): [0] * 19,
    (600.0, -1.0, 0.0): [457, 407, 331, 285, 254, 236, 226, 222, 224, 233, 248, 270, 306, 367, 603, 341, 358, 406, 458],
}
"""What the LIDAR saw of the default track (metres along it, aside, radians askew) when policies first learned to drive it."""


@pytest.mark.parametrize("place", SEEN_BEFORE)
def test_the_default_track_looks_as_it_always_did(place: tuple[float, float, float]) -> None:
    s, aside, turn = place
    pose = DEFAULT.pose(s).right(aside)

    seen = Beams(958, 488).distances(ground_of(DEFAULT), pose.x, pose.z, pose.heading + turn)
    assert seen.tolist() == SEEN_BEFORE[place]


def test_a_bridge_is_seen_by_those_who_drive_on_it_and_by_nobody_below() -> None:
    for passage in BLUE.passages:
        pose = BLUE.pose(passage.middle - 30.0)
        ahead = [Beams(958, 488).distances(ground_of(BLUE, deck), pose.x, pose.z, pose.heading)[9] for deck in (0, 1)]

        assert ahead[passage.deck] > ahead[1 - passage.deck] + 30


@given(st.floats(-400, 900), st.floats(-400, 900), st.floats(-10, 10))
@settings(max_examples=60, deadline=None)
def test_the_shortcut_is_right_off_the_raster_too(x: float, z: float, heading: float) -> None:
    frame = camera(958, 488).render(ground_of(DEFAULT), x, z, heading)

    assert Beams(958, 488).distances(ground_of(DEFAULT), x, z, heading).tolist() == distances(frame).tolist()


def test_the_edge_of_the_raster_is_grass() -> None:
    cells = ground_of(DEFAULT).cells

    assert cells.dtype == np.uint8
    assert (cells[[0, -1]] == GRASS).all()
    assert (cells[:, :740] <= 1).all()
    assert (cells[:, -740:] <= 1).all()
