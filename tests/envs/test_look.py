"""How an episode looks: brightness, the border's colour, the camera's height; and what the LIDAR makes of it."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.sim.beams import Beams
from tmrld.envs.sim.camera import PLAIN, camera, look_of
from tmrld.envs.sim.ground import BORDER, PALETTE
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.randomness import Conditions
from tmrld.envs.sim.track import Track
from tmrld.envs.sim.tracks import BUNDLED
from tmrld.envs.trackmania.lidar import DARK, distances

DEFAULT = BUNDLED["default"]

levels = st.integers(0, 35)
looks = st.builds(
    lambda brightness, border, height: look_of(Conditions(brightness=brightness, border=border, camera_height=height)),
    st.floats(0.6, 1.4),
    st.tuples(levels, levels, levels),
    st.floats(0.5, 1.5),
)
"""All that the settings admit."""

BEAMS = {size: Beams(*size) for size in ((958, 488), (256, 128))}


@given(
    look=looks,
    track=st.sampled_from(list(BUNDLED.values())),
    size=st.sampled_from(list(BEAMS)),
    s=st.floats(-20, 2100),
    aside=st.floats(-30, 30),
    turn=st.floats(-math.pi, math.pi),
)
@settings(max_examples=100, deadline=None)
def test_under_any_look_the_shortcut_sees_what_the_whole_frame_shows(
    look: object, track: Track, size: tuple[int, int], s: float, aside: float, turn: float
) -> None:
    pose = track.pose(s).right(aside)
    place = ground_of(track), pose.x, pose.z, pose.heading + turn, look

    assert BEAMS[size].distances(*place).tolist() == distances(camera(*size).render(*place)).tolist()  # type: ignore[arg-type]


@given(looks)
def test_only_the_border_may_be_dark(look: object) -> None:
    dark = (look.palette < DARK).all(axis=1)  # type: ignore[attr-defined]

    assert not np.delete(dark, BORDER).any()
    assert dark[BORDER] == look.border_is_dark  # type: ignore[attr-defined]


def test_ordinary_conditions_change_nothing() -> None:
    assert look_of(Conditions()) is PLAIN
    assert PLAIN.palette is PALETTE


def test_a_border_that_is_too_bright_is_not_seen() -> None:
    ground = ground_of(DEFAULT)
    bright = look_of(Conditions(brightness=1.4, border=(35, 35, 35)))
    free = distances(np.full((488, 958, 3), 255, np.uint8))

    assert (BEAMS[958, 488].distances(ground, 0.0, 0.0, 0.0) < free).any()
    assert BEAMS[958, 488].distances(ground, 0.0, 0.0, 0.0, bright).tolist() == free.tolist()


def test_from_higher_up_the_border_lies_nearer_to_the_middle() -> None:
    ground = ground_of(DEFAULT)
    low, high = (look_of(Conditions(camera_height=height)) for height in (0.7, 1.4))
    sides = [BEAMS[958, 488].distances(ground, 0.0, 0.0, 0.0, look)[[3, 15]] for look in (high, PLAIN, low)]

    assert (sides[0] < sides[1]).all()
    assert (sides[1] < sides[2]).all()


def test_brightness_is_that_of_the_whole_frame() -> None:
    dim = look_of(Conditions(brightness=0.7))
    place = ground_of(DEFAULT), 0.0, 20.0, 0.3
    frame, dimmed = camera(256, 128).render(*place), camera(256, 128).render(*place, dim)

    assert np.abs(dimmed - frame * 0.7).max() <= 0.5 + 1e-6
