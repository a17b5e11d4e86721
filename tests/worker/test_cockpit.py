"""What the cockpit draws, looked at without a display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pygame
import pytest
from pygame import Rect

from tmrld.envs.options import FULL_ID, EnvironmentOptions, RandomisationOptions
from tmrld.envs.sim import drawing
from tmrld.envs.sim.film import Scene
from tmrld.envs.sim.tracks import named
from tmrld.envs.sim.view import View
from tmrld.worker.cockpit import CAMERA, HEIGHT, SIDE, STRIP, WIDTH, Cockpit, picture_of
from tmrld.worker.stage import Sight

DEFAULT = named("default")
LIDAR = np.linspace(60, 300, 19).astype(np.float32)


def scene(s: float, time_s: float = 1.0, action: tuple[float, float, float] = (1.0, 0.0, -0.5), **more: object) -> Scene:
    """Standing on the centre line."""
    pose = DEFAULT.pose(s)
    place = {"x": pose.x, "z": pose.z, "heading": pose.heading, "progress": s / DEFAULT.length, "track": "default"}
    info = place | {"speed": 20.0, "gear": 3, "rpm": 6000.0, "finished": False, "lap_time_s": None} | more
    return Scene(time_s, info, {"speed": np.array([72.0]), "lidar": LIDAR}, action, time_s)


def sight(*scenes: Scene, picture: np.ndarray | None = None, late_steps: int = 0) -> Sight:
    return Sight(scenes[-1], scenes, picture, 0, late_steps)


def painted(
    seen: Sight | None, notice: str = "", *, beams: bool = True, options: EnvironmentOptions | None = None
) -> np.ndarray:
    """The picture as RGB (height, width, 3)."""
    surface = pygame.Surface((WIDTH, HEIGHT))
    Cockpit(options or EnvironmentOptions(), "somebody", beams=beams, hint="Esc: end").paint(surface, seen, notice)
    return np.asarray(pygame.surfarray.array3d(surface)).swapaxes(0, 1)


def inside(picture: np.ndarray, box: Rect) -> np.ndarray:
    return picture[box.top : box.bottom, box.left : box.right]


def count(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels have exactly this colour."""
    return int((pixels == colour).all(axis=2).sum())


def test_the_camera_shows_what_the_car_sees() -> None:
    here = scene(100.0)
    picture = inside(painted(sight(here), beams=False), CAMERA)
    seen = View(EnvironmentOptions(), picture.shape[1]).image(here.info)
    assert (picture[: seen.shape[0]] == seen).mean() > 0.99


def test_beams_are_drawn_if_they_are_wanted() -> None:
    plain, with_beams = (inside(painted(sight(scene(100.0)), beams=beams), CAMERA) for beams in (False, True))
    assert 0.01 < (plain != with_beams).any(axis=2).mean() < 0.2


def test_a_captured_picture_is_shown_instead_of_a_drawn_one() -> None:
    captured = np.full((488, 958, 3), (10, 20, 200), np.uint8)
    picture = inside(painted(sight(scene(100.0), picture=captured), beams=False), CAMERA)
    assert (np.abs(picture.astype(int) - (10, 20, 200)).max(axis=2) < 5).mean() > 0.99


def test_pedals_and_wheel_are_as_long_as_they_are_pressed() -> None:
    box = Rect(STRIP.left, STRIP.top, 200, STRIP.height)
    none, half, full = (inside(painted(sight(scene(100.0, action=(gas, gas, gas)))), box) for gas in (0.0, 0.5, 1.0))
    for colour in (drawing.GREEN, drawing.RED, drawing.AMBER):
        assert count(none, colour) == 0
        assert 0 < count(half, colour) < count(full, colour)


def test_the_curves_show_what_happened() -> None:
    box = Rect(STRIP.left + 270, STRIP.top, STRIP.width - 336, STRIP.height)
    one = inside(painted(sight(scene(100.0))), box)
    many = inside(painted(sight(*(scene(100.0 + k, 0.05 * k) for k in range(200)))), box)
    changed = np.flatnonzero((one != many).any(axis=(0, 2)))
    assert changed.max() - changed.min() > box.width * 0.45  # ten of the twenty seconds


def test_the_way_is_drawn_on_the_map() -> None:
    one, many = (
        inside(painted(sight(*(scene(s, s / 20) for s in places))), SIDE)
        for places in ([300.0], np.arange(0.0, 301.0, 2.0).tolist())
    )
    assert (one != many).any(axis=2).sum() > 100


def test_the_images_that_a_policy_sees_are_enlarged() -> None:
    options = EnvironmentOptions(id=FULL_ID)
    scenes = []
    for k, level in enumerate((60, 90, 120, 150)):
        seen = {"images": np.full((64, 64), level, np.uint8)}
        scenes.append(Scene(0.05 * k, scene(50.0).info, seen, (0.0, 0.0, 0.0), 0.0))
    side = inside(painted(sight(*scenes), options=options), SIDE)
    sizes = [count(side, (level, level, level)) for level in (60, 90, 120, 150)]
    assert min(sizes) > 100 * 100
    assert max(sizes) - min(sizes) < 1000


def test_a_finish_is_told_in_green() -> None:
    head = Rect(SIDE.left, 0, SIDE.width, SIDE.top)
    assert count(inside(painted(sight(scene(600.0))), head), drawing.GREEN) == 0
    done = painted(sight(scene(670.0, finished=True, lap_time_s=31.5)))
    assert count(inside(done, head), drawing.GREEN) > 100


def test_late_steps_are_told() -> None:
    head = Rect(0, 0, CAMERA.right, CAMERA.top)
    assert count(inside(painted(sight(scene(100.0))), head), drawing.AMBER) == 0
    assert count(inside(painted(sight(scene(100.0), late_steps=2)), head), drawing.AMBER) > 10


def test_a_notice_is_shown_even_before_anything_is_seen() -> None:
    blank, told = painted(None), painted(None, "begin the race")
    assert count(inside(blank, CAMERA), drawing.TEXT) == 0
    assert count(inside(told, CAMERA), drawing.TEXT) > 100
    assert count(inside(painted(sight(scene(100.0)), "go"), CAMERA), drawing.TEXT) > 20


def test_the_games_map_is_its_line(tmp_path: Path) -> None:
    np.save(tmp_path / "line.npy", DEFAULT.line)
    options = EnvironmentOptions(game="trackmania", clock="realtime", track=str(tmp_path / "line.npy"))
    captured = np.zeros((488, 958, 3), np.uint8)
    side = inside(painted(sight(scene(0.0, track="line"), picture=captured), options=options), SIDE)
    assert count(side, (66, 74, 86)) > 1500  # the road


def test_every_episode_looks_as_its_seed_says() -> None:
    options = EnvironmentOptions(randomisation=RandomisationOptions(brightness=0.4))
    surface = pygame.Surface((WIDTH, HEIGHT))
    cockpit = Cockpit(options, "somebody", beams=False, hint="")
    pictures = []
    for seed in (1, 2, 1):
        cockpit.paint(surface, Sight(scene(100.0), (scene(100.0),), None, seed, 0))
        pictures.append(pygame.surfarray.array3d(surface))
    assert (pictures[0] != pictures[1]).mean() > 0.2
    assert (pictures[0] == pictures[2]).mean() > 0.98  # but for the seed's number


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_pictures_in_gray_and_in_colour_become_surfaces(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    back = pygame.surfarray.array3d(picture_of(pixels)).swapaxes(0, 1)
    assert (back == (pixels if pixels.ndim == 3 else pixels[..., None])).all()
