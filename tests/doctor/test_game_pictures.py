"""What is grabbed of a window and measured in it: windows that show what a game shows when something is wrong."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.doctor.looks import by_code
from tests.envs.plain_windows import PlainWindow
from tmrld.doctor.diagnosis import Diagnosis
from tmrld.doctor.pictures import Pictures, drawn, gather_pictures, judge_pictures, moving_picture
from tmrld.envs.options import FULL_ID, EnvironmentOptions
from tmrld.envs.sim.tracks import SHORT
from tmrld.envs.sim.view import View
from tmrld.envs.trackmania.lidar import distances
from tmrld.envs.trackmania.screen import WindowScreen
from tmrld.envs.trackmania.windows import find

WIDTH, HEIGHT = 958, 488
LIDAR = EnvironmentOptions(game="trackmania", clock="realtime")
IMAGES = EnvironmentOptions(game="trackmania", clock="realtime", id=FULL_ID)
NEVER = np.zeros(0)
Image4 = NDArray[np.uint8]
Grab = Callable[[], Image4]


def road() -> Image4:
    """What is seen from the start of a track."""
    info = {"x": 0.0, "z": 0.0, "heading": 0.0, "progress": 0.0, "track": "short"}
    rgb = View(EnvironmentOptions(track=SHORT.name), WIDTH).image(info)
    return np.dstack([rgb[:, :, ::-1], np.full(rgb.shape[:2], 255, np.uint8)])


def painted(level: int) -> Image4:
    return np.full((HEIGHT, WIDTH, 4), level, np.uint8)


def seen(grab: Grab, count: int = 5, options: EnvironmentOptions = LIDAR) -> Pictures:
    """After so many grabs."""
    numbers = itertools.count(1)
    return gather_pictures(grab, options, lambda: next(numbers) < count - 1, time.perf_counter)


def judged(found: Pictures, options: EnvironmentOptions = LIDAR, **told: object) -> dict[str, Diagnosis]:
    moves, at_start = told.get("moves", NEVER), bool(told.get("at_start"))
    assert isinstance(moves, np.ndarray)
    return by_code(judge_pictures(found, options, moves=moves, at_start=at_start))


def codes(picture: Image4, *, at_start: bool = False) -> set[str]:
    """What is said of a window that shows this, apart from how long it takes here."""
    return set(judged(seen(lambda: picture), at_start=at_start)) - {"capture-slow", "capture-too-slow"}


def of_window(picture: Image4 | None, count: int = 5, left: int = 0) -> Pictures:
    """What is grabbed of a real window that shows it."""
    with PlainWindow("Trackmania", left, 0, WIDTH, HEIGHT) as game:
        if picture is not None:
            game.paint(picture)
        window = find("Trackmania")
        screen = WindowScreen(window)
        try:
            return seen(screen.grab, count)
        finally:
            screen.close()
            window.close()


def test_a_road_is_seen_and_measured(display: str) -> None:
    picture = road()
    found = of_window(picture)
    assert np.array_equal(found.frames[-1], picture[:, :, :3])
    assert np.array_equal(found.lidar[-1], distances(picture))
    assert set(judged(found, at_start=True)) <= {"capture-slow", "capture-too-slow"}
    assert len(found.times) == len(found.took_s) == len(found.saw_s) == len(found.changed) + 1 == len(found.lidar)


def test_a_black_window(display: str) -> None:
    assert set(judged(of_window(painted(0)))) == {"picture-black"}


def test_a_window_of_one_colour(display: str) -> None:
    assert set(judged(of_window(None))) == {"picture-plain"}  # as it is when a program has not painted it


def test_a_window_that_cannot_be_grabbed(display: str) -> None:
    found = judged(of_window(road(), left=-100))
    assert "off the screen" in found["picture-missing"].text
    assert set(found) == {"picture-missing"}


def test_a_picture_of_another_size() -> None:
    assert codes(road()[:400]) == {"picture-size"}


def test_a_road_without_black_borders() -> None:
    picture = np.maximum(road(), 60)
    assert codes(picture) == {"lidar-no-borders"}


def test_the_car_itself_is_in_the_picture() -> None:
    picture = road()
    picture[300:, 200:760, :3] = 20
    assert codes(picture) == {"lidar-blocked"}


def test_only_the_bonnet_is_in_the_picture() -> None:
    picture = road()
    picture[400:425, 470:490, :3] = 20
    assert codes(picture) == {"lidar-blocked-ahead"}


def test_one_side_is_much_nearer_than_the_other_at_the_start() -> None:
    picture = road()
    picture[:, 510:560, :3] = 20
    assert codes(picture, at_start=True) == {"lidar-lopsided"}
    assert codes(picture) == set()


def test_a_picture_that_stands_still_while_the_car_drives() -> None:
    picture = road()
    found = seen(lambda: picture, 20)
    driving = np.arange(found.times[0], found.times[-1], 0.01)
    assert "picture-frozen" in judged(found, moves=driving)
    assert "picture-frozen" not in judged(found)


def test_a_picture_that_changes_is_none_that_stands_still() -> None:
    picture, numbers = road(), itertools.count()
    found = seen(lambda: np.roll(picture, next(numbers), axis=1), 20)
    driving = np.arange(found.times[0], found.times[-1], 0.01)
    assert "picture-frozen" not in judged(found, moves=driving)


def test_a_moving_picture_is_one_of_which_most_changes() -> None:
    numbers = itertools.count()
    random = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    assert moving_picture(seen(lambda: np.roll(random, next(numbers), axis=1)))
    picture = road()

    def with_a_clock() -> Image4:
        changed = picture.copy()
        changed[:20, :60, :3] = next(numbers) % 256
        return changed

    assert not moving_picture(seen(with_a_clock))


def test_a_machine_that_takes_too_long_for_a_picture() -> None:
    picture = road()

    def slow() -> Image4:
        time.sleep(0.03)
        return picture

    assert judged(seen(slow))["capture-too-slow"].state == "wrong"


@pytest.mark.parametrize(("late", "codes"), [(0, set()), (2, {"capture-slow"}), (15, {"capture-too-slow"})])
def test_how_many_late_pictures_are_too_many(late: int, codes: set[str]) -> None:
    found = seen(lambda: road(), 2)
    took_s = [0.02] * late + [0.004] * (20 - late)
    timed = found.model_copy(update={"took_s": took_s, "saw_s": [0.001] * 20})
    assert set(judged(timed)) == codes


def test_images_have_no_lidar() -> None:
    picture = np.ascontiguousarray(road()[:128, :256])
    found = seen(lambda: picture, options=IMAGES)
    assert len(found.lidar) == 0
    assert not any(code.startswith("lidar") for code in judged(found, IMAGES))


def test_the_picture_for_people_shows_the_beams() -> None:
    found = seen(road)
    with Image.open(io.BytesIO(drawn(found))) as image, Image.open(io.BytesIO(drawn(without_beams(found)))) as plain:
        assert (image.format, image.size) == ("JPEG", (WIDTH, HEIGHT))
        beams = np.abs(np.asarray(image, np.int16) - np.asarray(plain, np.int16)).max(axis=2) > 30
    assert beams[300:400, 478:482].any(axis=1).all()  # the one ahead
    assert not beams[470:].any()


def without_beams(found: Pictures) -> Pictures:
    return found.model_copy(update={"lidar": found.lidar[:0]})


def test_the_picture_for_people_is_made_as_small_as_it_must_be() -> None:
    found = seen(road)
    data = drawn(found, 8000)
    assert len(data) <= 8000
    with Image.open(io.BytesIO(data)) as image:
        assert image.width < WIDTH
    assert drawn(found.model_copy(update={"frames": found.frames[:0]})) == b""
