"""Pictures of episodes and maps of tracks: what is drawn lies where it should."""

from __future__ import annotations

import numpy as np
import pytest

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim import drawing, film
from tmrld.envs.sim.drawing import SCALE
from tmrld.envs.sim.film import Film, Scene
from tmrld.envs.sim.map import CAR, PORTRAIT_WIDTH, TrackMap, portrait
from tmrld.envs.sim.track import Arc, Straight, Track
from tmrld.envs.sim.tracks import BUNDLED, named
from tmrld.errors import BadInput

DEFAULT = named("default")
LIDAR = np.linspace(60, 300, 19).astype(np.float32)


def scene(s: float, time_s: float = 1.0, **more: object) -> Scene:
    """Standing on the centre line."""
    pose = DEFAULT.pose(s)
    info = {"x": pose.x, "z": pose.z, "heading": pose.heading, "speed": 20.0, "progress": s / DEFAULT.length, **more}
    return Scene(time_s, info, {"speed": np.array([72.0]), "lidar": LIDAR}, (1.0, 0.0, -0.5), time_s)


def episode(*places: float) -> Film:
    return Film(EnvironmentOptions(), [scene(s, 0.05 * (k + 1)) for k, s in enumerate(places)], "somebody")


def near(picture: np.ndarray, x: float, y: float, radius: int = 2) -> np.ndarray:
    """The pixels around a place."""
    column, row = round(x), round(y)
    return picture[row - radius : row + radius + 1, column - radius : column + radius + 1].reshape(-1, 3).astype(int)


def has(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 25) -> bool:
    return bool((np.abs(pixels - colour).max(axis=1) <= tolerance).any())


def test_a_frame_is_a_picture_of_1280_by_720() -> None:
    frame = episode(10.0, 20.0).frame(1)

    assert frame.shape == (720, 1280, 3)
    assert frame.dtype == np.uint8


@pytest.mark.parametrize("s", [0.0, 130.0, 400.0, 640.0])
def test_the_car_is_marked_where_it_is(s: float) -> None:
    pictures = episode(s, 300.0)
    pose = DEFAULT.pose(s)
    here = pictures.map_place(pose.x, pose.z)

    assert has(near(pictures.frame(0), *here, radius=1), CAR)
    assert not has(near(pictures.frame(1), *here), CAR)


def test_what_was_driven_is_drawn_and_what_is_to_come_is_not() -> None:
    pictures = episode(100.0, 150.0, 300.0, 350.0)
    pose, after = DEFAULT.pose(125.0), DEFAULT.pose(325.0)
    fast = drawing.speed_colour(1.0)
    now, later = pictures.frame(2), pictures.frame(3)

    assert has(near(now, *pictures.map_place(pose.x, pose.z), radius=5), fast)
    assert not has(near(now, *pictures.map_place(after.x, after.z)), fast)
    assert has(near(later, *pictures.map_place(after.x, after.z), radius=5), fast)


def test_frames_can_be_drawn_in_any_order() -> None:
    pictures = episode(10.0, 20.0, 30.0)
    last = pictures.frame(2)
    pictures.frame(0)

    assert (pictures.frame(2) == last).all()
    assert [frame.shape for frame in pictures] == [(720, 1280, 3)] * 3


def test_the_beams_are_lines_in_the_camera_picture() -> None:
    with_beams = episode(10.0)
    without = Film(EnvironmentOptions(), [Scene(0.05, scene(10.0).info, {}, (1.0, 0.0, -0.5), 0.0)], "somebody")
    different = (with_beams.frame(0) != without.frame(0)).any(axis=2)
    left, top, right, bottom = film.CAMERA

    assert different[top:bottom, left:right].sum() > 2000
    assert not different[:bottom, right:].any()


def test_images_that_a_policy_sees_stand_beside_the_window_newest_first() -> None:
    shades = (40, 120, 200, 250)
    scenes = [
        Scene(0.05, scene(10.0).info, {"images": np.full((64, 64), shade, np.uint8)}, (0.0, 0.0, 0.0), 0.0) for shade in shades
    ]
    frame = Film(EnvironmentOptions(), scenes).frame(3)
    column = frame[film.CAMERA[1] : film.CAMERA[3], film.CAMERA[2] - 50].astype(int)
    places = [next(row for row, pixel in enumerate(column) if (pixel == shade).all()) for shade in reversed(shades)]

    assert places == sorted(places)


def test_colour_images_are_shown_in_colour() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 222
    frame = Film(EnvironmentOptions(), [Scene(0.05, scene(10.0).info, {"images": image}, (0.0, 0.0, 0.0), 0.0)]).frame(0)

    assert has(frame[film.TOP + 20 : film.TOP + 21, film.CAMERA[2] - 50].astype(int), (222, 0, 0), 0)


def test_gear_and_revolutions_come_from_the_info_or_from_what_is_seen() -> None:
    informed = scene(10.0, gear=3, rpm=9000.0)
    seeing = Scene(0.1, scene(10.0).info, {"gear": np.array([2.0]), "rpm": np.array([5000.0])}, (0.0, 0.0, 0.0), 0.0)

    assert (informed.telemetry("gear"), informed.telemetry("rpm")) == (3.0, 9000.0)
    assert (seeing.telemetry("gear"), seeing.telemetry("rpm")) == (2.0, 5000.0)
    assert scene(10.0).telemetry("gear") is None


def test_a_finished_lap_is_told_in_green() -> None:
    options = EnvironmentOptions()
    running = Film(options, [scene(600.0)]).frame(0)
    finished = Film(options, [scene(600.0, finished=True, lap_time_s=31.5)]).frame(0)
    header = np.s_[: film.TOP - 20, film.MAP[0] :]

    assert not has(running[header].reshape(-1, 3).astype(int), drawing.GREEN)
    assert has(finished[header].reshape(-1, 3).astype(int), drawing.GREEN)


def test_the_track_that_was_driven_is_the_one_on_the_map() -> None:
    driven = Film(EnvironmentOptions(), [scene(10.0, track="long")])
    pose = named("long").pose(900.0)
    across, down = driven.map_place(pose.x, pose.z)

    assert film.MAP[0] < across < film.MAP[2]
    assert film.MAP[1] < down < film.MAP[3]


def test_a_moment_is_found_by_its_time() -> None:
    pictures = episode(*range(10))

    assert pictures.index_at(0.01) == 0
    assert pictures.index_at(0.25) == 4
    assert pictures.time_s(-1) == pytest.approx(0.5)
    with pytest.raises(BadInput, match=r"it lasts 0\.50 s, choose an earlier moment"):
        pictures.index_at(0.6)


# Maps


@pytest.mark.parametrize(("width", "height"), [(400, 400), (600, 200), (120, 500)])
def test_the_whole_road_is_on_the_map_whatever_its_shape(width: int, height: int) -> None:
    track_map = TrackMap(DEFAULT, width, height)
    for s in range(-15, round(DEFAULT.length) + 60, 10):
        for aside in (-8.0, 8.0):
            pose = DEFAULT.pose(s).right(aside)
            across, down = track_map.place(pose.x, pose.z)
            assert 0 <= across < width * SCALE
            assert 0 <= down < height * SCALE


@pytest.mark.parametrize(("width", "height"), [(300, 500), (500, 300)])
def test_a_map_is_turned_and_never_mirrored(width: int, height: int) -> None:
    track_map = TrackMap(DEFAULT, width, height)
    here, ahead, right = (np.array(track_map.place(x, z)) for x, z in ((0, 0), (0, 10), (10, 0)))
    forward, aside = ahead - here, right - here

    assert forward @ aside == pytest.approx(0.0)
    assert np.linalg.norm(forward) == pytest.approx(np.linalg.norm(aside))
    assert forward[0] * aside[1] - forward[1] * aside[0] > 0  # down is positive, so that clockwise is, too


def test_a_bridge_is_drawn_over_what_runs_below() -> None:
    loop = Track("loop", (Straight(120), Arc(40, 270), Straight(120)), width=8.0)
    (_, above) = loop.passages
    pose = loop.pose(above.middle)
    track_map = TrackMap(loop, 400, 400)
    picture = drawing.finished(track_map.picture)

    assert above.deck == 1
    for side in (-1.0, 1.0):  # a gap beside the bridge cuts the road below
        spots = [pose.right(side * (6.5 + 0.2 * k)) for k in range(10)]
        places = [track_map.place(spot.x, spot.z) for spot in spots]
        assert any(has(near(picture, x / SCALE, y / SCALE, 0), drawing.PANEL, 12) for x, y in places)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_portrait_shows_the_whole_track(name: str) -> None:
    picture = portrait(named(name))
    empty = (picture == drawing.PANEL).all(axis=2)

    assert picture.shape[1] == PORTRAIT_WIDTH
    assert 200 < picture.shape[0] <= PORTRAIT_WIDTH + 60
    assert empty[[0, -1]].all()
    assert empty[:, [0, -1]].all()
    assert not empty.all()
