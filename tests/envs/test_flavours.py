"""The three flavours of TrackMania's environment, in both kinds of time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pydantic import ValidationError

from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID, OURS, EnvironmentOptions, RewardOptions
from tmrld.envs.registry import describe, known, make, newest_frames, track_of, view_of
from tmrld.envs.sim.tracks import BUNDLED
from tmrld.payloads import EnvSpec

GAS = np.array((1.0, 0.0, 0.0), np.float32)
BRAKE = np.array((-1.0, 1.0, 0.0), np.float32)
SHOWN = {
    FULL_ID: ["speed", "gear", "rpm", "images"],
    LIDAR_ID: ["speed", "lidar"],
    LIDAR_PROGRESS_ID: ["speed", "progress", "lidar"],
}


@pytest.fixture
def full() -> Iterator[Any]:
    env = make(EnvironmentOptions(id=FULL_ID))
    yield env
    env.close()


def test_all_flavours_are_known_and_registered() -> None:
    assert [name for name, _ in known()] == list(OURS) == list(SHOWN)
    assert all(name in gymnasium.registry for name in OURS)


@pytest.mark.parametrize("id", OURS)
@pytest.mark.parametrize("clock", ["lockstep", "realtime"])
def test_each_flavour_shows_its_parts_in_tmrls_order(id: str, clock: Any) -> None:
    options = EnvironmentOptions(id=id, clock=clock, time_step_s=0.01, start_obs_capture_s=0.005)
    env = make(options)
    spec = describe(env, options)
    first, _ = env.reset(seed=0)
    observation, *_, info = env.step(GAS)
    env.close()

    assert [part.name for part in spec.parts] == SHOWN[id]
    assert EnvSpec.from_plain(spec.to_plain()) == spec
    assert observation in env.observation_space
    assert [part.shape for part in observation[:-2]] == [part.observed_shape for part in spec.parts]
    assert list(newest_frames(spec, observation)) == SHOWN[id]
    assert all((frame == first[-3][0]).all() for frame in first[-3])  # the first frame fills the history
    assert info["track"] == "default"


# The game bounds neither its revolutions nor the LIDAR, which Gymnasium frowns on.
@pytest.mark.filterwarnings("ignore:.*maximum value is infinity")
@pytest.mark.parametrize("id", OURS)
def test_gymnasiums_checker_is_content(id: str) -> None:
    env = gymnasium.make(id, game="sim", clock="lockstep")
    check_env(env.unwrapped)
    env.close()


def test_spaces_are_those_of_tmrls_full_flavour(full: Any) -> None:
    speed, gear, rpm, images, *actions = full.observation_space.spaces

    assert (speed.shape, speed.low.min(), speed.high.max()) == ((1,), 0, 1000)
    assert (gear.shape, gear.low.min(), gear.high.max()) == ((1,), 0, 6)
    assert (rpm.shape, rpm.low.min(), rpm.high.max()) == ((1,), 0, math.inf)
    assert (images.shape, images.low.min(), images.high.max(), images.dtype) == ((4, 64, 64), 0, 255, np.uint8)
    assert [action.shape for action in actions] == [(3,), (3,)]


def test_images_may_have_colours_and_any_size() -> None:
    options = EnvironmentOptions(id=FULL_ID, grayscale=False, image_width=80, image_height=48, history=2)
    env = make(options)
    observation, _ = env.reset(seed=0)
    env.close()

    assert observation[3].shape == (2, 48, 80, 3)
    sky = observation[3][0, 2].mean(axis=0)
    assert sky[2] > sky[0] + 50  # blue comes last: RGB


def test_gear_and_revolutions_are_the_cars(full: Any) -> None:
    full.reset(seed=0)
    gears, rpms = [], []
    for _ in range(60):
        (_, gear, rpm, *_), *_ = full.step(GAS)
        gears.append(gear[0])
        rpms.append(rpm[0])

    assert gears[0] == 1
    assert gears[-1] >= 3
    assert set(np.diff(gears)) == {0, 1}
    assert 1000 < min(rpms) < max(rpms) <= 10_200


def test_reverse_is_gear_0(full: Any) -> None:
    full.reset(seed=0)
    for _ in range(20):
        observation, *_ = full.step(BRAKE)

    assert observation[1] == 0
    assert observation[0] > 0


def test_images_slide_oldest_first_and_belong_to_the_caller(full: Any) -> None:
    before = full.reset(seed=0)[0][3].copy()
    for _ in range(20):
        images = full.step(GAS)[0][3]
        assert np.array_equal(images[:-1], before[1:])
        before = images.copy()
        images[:] = 0
    assert not np.array_equal(before[0], before[-1])


def test_progress_grows_with_the_way_and_shrinks_on_the_way_back() -> None:
    env = make(EnvironmentOptions(id=LIDAR_PROGRESS_ID, reward=RewardOptions(failure_countdown=1000)))
    seen, furthest = [float(env.reset(seed=0)[0][1][0])], []
    for action in [GAS] * 40 + [BRAKE] * 75:
        observation, *_, info = env.step(action)
        seen.append(float(observation[1][0]))
        furthest.append(info["progress"])
    env.close()

    assert seen[0] == 0.0
    assert seen[40] == pytest.approx(furthest[39])
    assert seen[-1] < max(seen) == pytest.approx(furthest[-1])
    assert max(seen) * BUNDLED["default"].length == pytest.approx(info["z"], abs=30.0)


def test_the_lidar_is_the_same_with_progress() -> None:
    with_progress, without = (make(EnvironmentOptions(id=id)) for id in (LIDAR_PROGRESS_ID, LIDAR_ID))
    with_progress.reset(seed=0)
    without.reset(seed=0)
    for _ in range(30):
        one, other = with_progress.step(GAS), without.step(GAS)
        assert np.array_equal(one[0][2], other[0][1])
        assert one[1] == other[1]
    with_progress.close()
    without.close()


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        ({"id": LIDAR_ID}, (958, 488)),
        ({"id": LIDAR_PROGRESS_ID}, (958, 488)),
        ({"id": FULL_ID}, (256, 128)),
        ({"id": FULL_ID, "window_width": 958, "window_height": "auto"}, (958, 128)),
        ({"id": LIDAR_ID, "window_width": 256, "window_height": 128}, (256, 128)),
    ],
)
def test_each_flavour_has_a_window_of_its_own(settings: dict[str, Any], window: tuple[int, int]) -> None:
    assert EnvironmentOptions(**settings).window == window


@pytest.mark.parametrize(
    "settings",
    [{"window_width": 63}, {"window_height": 5000}, {"window_width": "wide"}, {"image_width": 4}, {"image_height": 2000}],
)
def test_a_size_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        EnvironmentOptions(id=FULL_ID, **settings)


@pytest.mark.parametrize("id", OURS)
def test_tracks_are_checked_and_drawn_for_every_flavour(id: str) -> None:
    options = EnvironmentOptions(id=id)
    line, view = track_of(options), view_of(options)
    assert line is not None
    assert view is not None
    image = view.image({"x": 0.0, "z": 0.0, "heading": 0.0, "progress": 0.0})

    assert (line.name, image.shape) == ("default", (view.height, view.width, 3))
    with pytest.raises(ValidationError, match="did you mean 'default'"):
        EnvironmentOptions(id=id, track="defaultt")


@pytest.mark.parametrize("id", OURS)
def test_the_game_itself_waits_for_no_driver(id: str) -> None:
    with pytest.raises(ValidationError, match="the game waits for no driver: set it to 'realtime', or game to 'sim'"):
        EnvironmentOptions(id=id, game="trackmania")


def test_a_flavour_that_is_misspelt_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match="did you mean 'tmrld/TM20LidarProgress-v0'"):
        EnvironmentOptions(id="tmrld/TM20LidarProgres-v0")


@pytest.mark.parametrize("id", OURS)
def test_the_window_is_rendered_for_people(id: str) -> None:
    options = EnvironmentOptions(id=id)
    env = make(options, "rgb_array")
    env.reset(seed=0)
    frame: Any = env.render()
    env.close()

    assert frame.shape == (*options.window[::-1], 3)


def test_a_track_that_changes_with_each_episode_has_no_line_of_its_own() -> None:
    assert track_of(EnvironmentOptions(track="medium-650-any")) is None
    assert track_of(EnvironmentOptions(track="medium-650-3")) is not None
