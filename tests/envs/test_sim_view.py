"""What the simulator shows: its tracks from above, frames from the driver's seat, and the LIDAR's shortcut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.sim.beams import Beams
from tmrld.envs.sim.camera import HILLS, camera
from tmrld.envs.sim.car import GRAVITY, GRIP, TOP_SPEEDS
from tmrld.envs.sim.ground import BORDER, GRASS, PALETTE
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.track import Arc, Gate, Pose, Track
from tmrld.envs.sim.tracks import BUNDLED, DEFAULT, LONG, named
from tmrld.envs.trackmania.lidar import DARK, distances
from tmrld.errors import WorldError

TRACK_LIST = list(BUNDLED.values())


@pytest.mark.parametrize("track", TRACK_LIST, ids=list(BUNDLED))
def test_tracks_are_worth_learning(track: Track) -> None:
    bends = [segment for segment in track.segments if isinstance(segment, Arc)]
    limits = [math.sqrt(GRIP * GRAVITY * bend.radius) for bend in bends]

    assert track.length >= 600
    assert sum(bend.degrees > 30 for bend in bends) >= 3
    assert sum(bend.degrees < -30 for bend in bends) >= 3
    assert len(bends) >= 8
    assert sum(limit < TOP_SPEEDS[-1] / 2 for limit in limits) >= 2


def test_the_long_track_is_about_two_kilometres() -> None:
    assert 1900 < LONG.length < 2100


@pytest.mark.parametrize("track", TRACK_LIST, ids=list(BUNDLED))
def test_the_line_runs_from_start_to_finish_in_tenths_of_a_metre(track: Track) -> None:
    gaps = np.linalg.norm(np.diff(track.line, axis=0), axis=1)

    assert track.line[0].tolist() == [0, 0, 0]
    assert gaps == pytest.approx(np.full(len(gaps), 0.1), abs=0.001)
    assert len(gaps) == round(track.length * 10)
    finish = track.pose(track.length)
    assert track.line[-1] == pytest.approx([finish.x, 0, finish.z])


@pytest.mark.parametrize("track", TRACK_LIST, ids=list(BUNDLED))
def test_two_legs_of_a_track_never_touch(track: Track) -> None:
    line = track.line[::20, ::2]
    apart = np.linalg.norm(line[:, None] - line[None], axis=2)
    index = np.arange(len(line))
    apart[np.abs(index[:, None] - index[None]) < 30] = np.inf  # within 60 m along the road

    assert apart.min() > track.width + 6


@pytest.mark.parametrize("track", TRACK_LIST, ids=list(BUNDLED))
def test_the_road_is_painted_where_it_is(track: Track) -> None:
    ground = ground_of(track)
    for s in np.arange(-10.0, track.length + 50, 7.3):
        for aside, expected in ((0.0, True), (7.8, True), (-7.8, True), (10.2, True), (10.8, False), (-10.8, False)):
            spot = track.pose(float(s)).right(aside)

            assert ground.on_road(spot.x, spot.z) is expected
            row, column = int((spot.z - ground.z0) * 10), int((spot.x - ground.x0) * 10)
            assert (ground.cells[row, column] == BORDER) is np.bool_(8.0 < abs(aside) < 10.5)


def test_far_away_everything_is_grass() -> None:
    assert not ground_of(DEFAULT).on_road(-5000.0, 0.0)
    assert not ground_of(DEFAULT).on_road(0.0, 1e9)
    assert set(Beams(958, 488).distances(ground_of(DEFAULT), 5000.0, -3000.0, 1.0)) == set(
        distances(np.full((488, 958, 3), 200, np.uint8))
    )


def test_only_the_border_is_dark_enough_for_the_lidar() -> None:
    dark = [(colour < DARK).all() for colour in PALETTE]

    assert dark == [index == BORDER for index in range(len(PALETTE))]


def test_a_gate_counts_when_it_is_crossed_forwards_within_its_width() -> None:
    gate = Gate(Pose(10.0, 20.0, math.pi / 2), 5.0, 100.0)  # facing along x

    assert gate.crossed(8.0, 20.0, 12.0, 20.0) == 0.5
    assert gate.crossed(9.0, 23.0, 13.0, 23.0) == pytest.approx(0.25)
    assert gate.crossed(12.0, 20.0, 8.0, 20.0) is None
    assert gate.crossed(8.0, 26.0, 12.0, 26.0) is None
    assert gate.crossed(8.0, 20.0, 9.0, 20.0) is None


def test_an_unknown_track_is_answered_with_the_nearest() -> None:
    assert named("long") is LONG
    with pytest.raises(WorldError, match="did you mean 'default'"):
        named("defualt")


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
    track=st.sampled_from(TRACK_LIST),
    size=sizes,
    s=st.floats(-20, 2100),
    aside=st.floats(-30, 30),
    turn=st.floats(-math.pi, math.pi),
)
@settings(max_examples=150, deadline=None)
def test_the_shortcut_sees_what_the_whole_frame_shows(
    track: Track, size: tuple[int, int], s: float, aside: float, turn: float
) -> None:
    pose = track.pose(s).right(aside)
    frame = camera(*size).render(ground_of(track), pose.x, pose.z, pose.heading + turn)
    quick = Beams(*size).distances(ground_of(track), pose.x, pose.z, pose.heading + turn)

    assert quick.tolist() == distances(frame).tolist()


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
