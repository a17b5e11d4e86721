"""Filming an episode, and the files that come of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import make
from tmrld.errors import BadInput, EngineError, StorageError
from tmrld.worker import pictures
from tmrld.worker.filming import filmed

SHORT = EnvironmentOptions(max_steps=12)


def shades(count: int) -> list[np.ndarray]:
    return [np.full((48, 64, 3), 40 + 8 * k, np.uint8) for k in range(count)]


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_there_is_a_picture_for_each_step() -> None:
    film = filmed(SHORT, "random", 0)

    assert len(film) == 12
    assert film.time_s(-1) == pytest.approx(0.6)
    assert len(filmed(SHORT, "random", 0, steps=5)) == 5


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, again, other = (filmed(SHORT, "scripted", seed, perturbed=True).frame(11) for seed in (3, 3, 4))

    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("id", ["tmrld/TM20Full-v0", "tmrld/TM20LidarProgress-v0"])
def test_every_flavour_can_be_filmed(id: str) -> None:
    film = filmed(SHORT.model_copy(update={"id": id}), "random", 0, steps=3)

    assert film.frame(2).shape == (720, 1280, 3)


@pytest.mark.parametrize("id", ["tmrld/TM20Full-v0", "tmrld/TM20Lidar-v0", "tmrld/TM20LidarProgress-v0"])
def test_every_flavour_renders_its_window(id: str) -> None:
    options = EnvironmentOptions(id=id)
    environment = make(options, "rgb_array")
    try:
        environment.reset(seed=0)
        at_start = np.asarray(environment.render())
        for _ in range(20):
            environment.step(np.array((1.0, 0.0, 0.0), np.float32))
        later = np.asarray(environment.render())
    finally:
        environment.close()

    assert at_start.shape == (*reversed(options.window), 3)
    assert at_start.dtype == np.uint8
    assert (at_start != later).any()


def test_a_randomised_world_looks_on_film_as_it_does_to_the_driver() -> None:
    randomisation = SHORT.randomisation.model_copy(update={"brightness": 0.4})
    plain = filmed(SHORT, "random", 1, steps=1).frame(0)
    changed = filmed(SHORT.model_copy(update={"randomisation": randomisation}), "random", 1, steps=1).frame(0)

    assert (plain[80:400, 20:800] != changed[80:400, 20:800]).mean() > 0.5


@pytest.mark.parametrize(
    "options", [EnvironmentOptions(id="Pendulum-v1"), EnvironmentOptions(game="trackmania", clock="realtime")]
)
def test_a_world_without_a_picture_is_refused(options: EnvironmentOptions) -> None:
    with pytest.raises(BadInput, match="has no picture to film: the simulator has, in tmrld/TM20"):
        filmed(options, "random", 0)


def test_actions_from_a_file_are_driven_again(tmp_path: Path) -> None:
    path = tmp_path / "actions.csv"
    path.write_text("gas,brake,steer\n1,0,0\n0.5,0,-0.25\n")
    film = filmed(SHORT, str(path), 0, steps=4)

    assert [scene.action for scene in film.scenes] == [(1, 0, 0), (0.5, 0, -0.25), (0, 0, 0), (0, 0, 0)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gas,brake,steer\n1,2\n", "3 numbers a step"),
        ("gas,brake,steer\n", "3 numbers a step"),
        ("gas,brake,steer\n1,0,x\n", "does not hold actions .*expected a line of names"),
        ("gas,brake,steer\n1,0,0\n1,0\n", "does not hold actions .*expected a line of names"),
    ],
)
def test_a_file_that_holds_no_actions_is_told_why(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "actions.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=sentence):
        filmed(SHORT, str(path), 0)


# Files


def test_a_video_has_all_frames_in_order_and_plays_in_browsers(tmp_path: Path) -> None:
    path = tmp_path / "episode.mp4"

    assert pictures.write_mp4(path, shades(23), 0.05) == 23
    with av.open(path) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate) == (23, Fraction(20))
        assert (stream.width, stream.height) == (64, 48)
    levels = [frame.mean() for frame in decoded(path)]
    assert levels == pytest.approx([40 + 8 * k for k in range(23)], abs=4)
    assert [each.name for each in tmp_path.iterdir()] == ["episode.mp4"]


def test_a_video_of_another_time_step_plays_as_fast_as_it_was_driven(tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    pictures.write_mp4(path, shades(5), 0.08)

    with av.open(path) as container:
        assert container.streams.video[0].average_rate == Fraction(25, 2)


def test_a_video_that_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "episode.mp4"
    path.write_bytes(b"older")

    def failing() -> Iterator[np.ndarray]:
        yield from shades(3)
        raise BadInput("no more")

    with pytest.raises(BadInput, match="no more"):
        pictures.write_mp4(path, failing(), 0.05)
    assert path.read_bytes() == b"older"
    assert [each.name for each in tmp_path.iterdir()] == ["episode.mp4"]


def test_a_picture_is_a_png(tmp_path: Path) -> None:
    path = tmp_path / "moment.png"
    pictures.write_png(path, shades(3)[2])

    with Image.open(path) as image:
        assert (image.format, image.size, image.getpixel((5, 5))) == ("PNG", (64, 48), (56, 56, 56))


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"Cannot write .*moment\.png"):
        pictures.write_png(tmp_path / "gone" / "moment.png", shades(1)[0])
    with pytest.raises(StorageError, match=r"Cannot write .*film\.mp4"):
        pictures.write_mp4(tmp_path / "gone" / "film.mp4", shades(1), 0.05)


def test_pyav_that_cannot_be_loaded_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "av.py").write_text("raise ImportError('libxcb.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "av")
    with pytest.raises(EngineError, match=r"PyAV is installed but cannot be loaded .*libxcb.*--force-reinstall av"):
        pictures.check_codec()


def test_a_build_without_the_encoder_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "CODEC", "no-such-codec")
    with pytest.raises(EngineError, match="has no encoder no-such-codec: `pip install"):
        pictures.check_codec()
