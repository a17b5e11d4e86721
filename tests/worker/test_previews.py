"""Pictures for people: what they show, and that driving does not wait for them."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tmrld.envs.options import FULL_ID, EnvironmentOptions
from tmrld.envs.registry import make, newest_frames, track_of, view_of
from tmrld.envs.sim.view import View
from tmrld.envs.trackmania.spec import flavour_spec
from tmrld.protocol.messages import MAX_TRACK_POINTS, Preview
from tmrld.worker import previews
from tmrld.worker.engine import track_line
from tmrld.worker.previews import Previews, jpeg

OPTIONS = EnvironmentOptions()
INFO = {"x": 0.0, "z": 10.0, "heading": 0.1, "speed": 12.5, "progress": 0.0}
LIDAR = np.full(19, 50, np.float32)
ACTION = np.array([1.0, -1.0, 0.5], np.float32)


class SlowView:
    """Draws when it is allowed to."""

    width, height = 4, 2

    def __init__(self) -> None:
        self.allowed = threading.Event()
        self.drawn = 0

    def image(self, info: Any) -> Any:
        self.allowed.wait(20)
        self.drawn += 1
        return np.zeros((2, 4, 3), np.uint8)

    def beams(self, lidar: Any) -> list[list[float]]:
        return []


@pytest.fixture
def view() -> View:
    return View(OPTIONS)


def test_a_picture_shows_the_road_in_the_shape_of_the_window(view: View) -> None:
    sent: list[Preview] = []
    Previews("demo", view, sent.append, in_thread=False).see(17, INFO, LIDAR, ACTION)
    (preview,) = sent
    assert (preview.run, preview.width, preview.height, preview.step, preview.speed) == ("demo", 480, 245, 17, 12.5)
    assert preview.action == [1.0, -1.0, 0.5]
    image = Image.open(io.BytesIO(preview.payload))
    assert (image.format, image.size) == ("JPEG", (480, 245))
    assert len(preview.payload) < 20_000


def test_a_flavour_without_lidar_shows_a_picture_without_beams() -> None:
    view = view_of(EnvironmentOptions(id=FULL_ID))
    assert view is not None
    sent: list[Preview] = []
    Previews("demo", view, sent.append, in_thread=False).see(17, INFO, None, ACTION)
    (preview,) = sent

    assert preview.beams == []
    assert Image.open(io.BytesIO(preview.payload)).size == (256, 128)


def test_beams_end_where_the_border_of_the_road_is_drawn(view: View) -> None:
    world = make(OPTIONS)
    observation, info = world.reset(seed=1)
    beams = view.beams(newest_frames(flavour_spec(OPTIONS), observation)["lidar"])
    image = view.image(info)
    assert len(beams) == 19
    origin_x = {round(x0) for x0, *_ in beams[9:10]}
    assert origin_x == {240}
    for _, _, x1, y1 in (beams[3], beams[15]):  # to the right and to the left of a straight road
        around = image[int(y1) - 2 : int(y1) + 3, int(x1) - 2 : int(x1) + 3]
        assert around.max(axis=2).min() < 55
    world.close()


def test_in_lockstep_pictures_take_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 0.06, 1.99, 2.0])
    monkeypatch.setattr(previews, "time", SimpleNamespace(monotonic=lambda: next(now)))
    view = SlowView()
    view.allowed.set()
    shown = Previews("demo", view, lambda _preview: None, in_thread=False)
    assert shown.due
    shown.see(0, INFO, LIDAR, ACTION)  # takes 0.06 s, of which 3 % are 2 s
    assert not shown.due
    assert shown.due


def test_against_the_clock_nobody_waits_for_a_picture_and_one_too_many_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "INTERVAL_S", 0.0)
    view = SlowView()
    sent: list[Preview] = []
    shown = Previews("demo", view, sent.append, in_thread=True)
    for step in range(5):
        shown.see(step, INFO, LIDAR, ACTION)
    view.allowed.set()
    shown.close()
    assert [preview.step for preview in sent] == [0]


def test_what_cannot_be_drawn_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    view = SlowView()
    shown = Previews("demo", view, lambda _preview: None, in_thread=False)
    shown.on = True
    view.allowed.set()
    shown.see(0, {"x": 0.0}, LIDAR, ACTION)
    assert not shown.on
    assert "no pictures can be shown" in caplog.text


def test_a_jpeg_is_one() -> None:
    assert jpeg(np.zeros((4, 4, 3), np.uint8))[:2] == b"\xff\xd8"


def test_a_track_is_told_with_its_first_and_last_point() -> None:
    track = track_of(OPTIONS)
    assert track is not None
    line = track_line("demo", track)
    points = np.frombuffer(line.payload, "<f4").reshape(-1, 2)
    assert (line.run, line.track, line.width_m, len(points)) == ("demo", "default", 16.0, MAX_TRACK_POINTS)
    assert points[0].tolist() == [0.0, 0.0]
    assert points[-1].tolist() == track.points[-1, [0, 2]].astype("<f4").tolist()


def test_worlds_of_others_have_neither_pictures_nor_a_track() -> None:
    other = EnvironmentOptions(id="Pendulum-v1")
    assert view_of(other) is None
    assert track_of(other) is None
