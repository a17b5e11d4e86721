"""The flavours of TrackMania's environment as data, and their Gymnasium spaces.

=============================  ==========  ==========================================================
flavour                        part        shape
=============================  ==========  ==========================================================
all                            `speed`     (1,)
`tmrld/TM20Full-v0`            `gear`      (1,)
`tmrld/TM20Full-v0`            `rpm`       (1,)
`tmrld/TM20Full-v0`            `images`    (4, 64, 64), or (4, 64, 64, 3) when in RGB; oldest first
`tmrld/TM20LidarProgress-v0`   `progress`  (1,)
both with LIDAR                `lidar`     (4, 19); oldest first
all                            actions     (3,), twice; newest last
=============================  ==========  ==========================================================

The parts come in that order; `MEANINGS` says what each is, and in which unit.  Action: ``Box(-1, 1, (3,))``, see `ACTIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from tmrld.envs.options import FULL_ID, LIDAR_PROGRESS_ID, EnvironmentOptions
from tmrld.envs.trackmania.lidar import BEAMS
from tmrld.envs.trackmania.reward import REWARD_TERMS
from tmrld.payloads import EnvSpec, PartSpec

ACTION_SIZE = 3
MAX_SPEED_KMH = 1000.0

# The scales bring ordinary driving (100 km/h, third gear, some 300 free pixels) near 1 for networks.
SPEED = PartSpec("speed", (1,), low=0.0, high=MAX_SPEED_KMH, scale=100.0)
GEAR = PartSpec("gear", (1,), low=0.0, high=6.0, scale=3.0)
RPM = PartSpec("rpm", (1,), low=0.0, scale=10_000.0)
PROGRESS = PartSpec("progress", (1,), low=0.0, high=1.0)


@dataclass(frozen=True)
class Meaning:
    """What a number is: its unit ("" for none), and a line for people."""

    unit: str
    text: str


MEANINGS = {
    "speed": Meaning("km/h", "how fast the car drives, as the game displays it"),
    "gear": Meaning("", "the gear; 0 is reverse"),
    "rpm": Meaning("1/min", "revolutions of the engine"),
    "images": Meaning("levels", "the newest pictures of the window, made small; the oldest first"),
    "progress": Meaning("", "the share of the track's line that lies behind the car"),
    "lidar": Meaning("px", "how far the road reaches in the picture, from beam 0 (right) to 18 (left); the oldest frame first"),
}
"""Of each part of an observation."""

ACTIONS = {
    "gas": Meaning("", "the right pedal; below 0 is none"),
    "brake": Meaning("", "the left pedal; below 0 is none"),
    "steer": Meaning("", "the wheel; +1 is full right"),
}
"""Of each number of an action, in order."""


def flavour_spec(options: EnvironmentOptions) -> EnvSpec:
    """The flavour that ``options.id`` names, one of `tmrld.envs.options.OURS`.  What is seen is the last of its parts."""
    lidar = PartSpec("lidar", (BEAMS,), low=0.0, history=options.history, scale=300.0)
    parts: tuple[PartSpec, ...] = (SPEED, lidar)
    if options.id == FULL_ID:
        shape = (options.image_height, options.image_width)
        frame = shape if options.grayscale else (*shape, 3)
        parts = (SPEED, GEAR, RPM, PartSpec("images", frame, "uint8", 0.0, 255.0, options.history, 255.0))
    elif options.id == LIDAR_PROGRESS_ID:
        parts = (SPEED, PROGRESS, lidar)
    return EnvSpec(
        id=options.id,
        parts=parts,
        action_size=ACTION_SIZE,
        action_buffer=options.action_buffer,
        default_action=(0.0,) * ACTION_SIZE,
        step_s=options.time_step_s,
        reward_terms=REWARD_TERMS,
    )


def frame_space(spec: EnvSpec) -> spaces.Tuple[Any]:
    """The space of the parts alone; rtgym adds the action buffer."""
    return spaces.Tuple(
        [spaces.Box(part.low, part.high, part.observed_shape, np.dtype(part.dtype).type) for part in spec.parts]
    )


def action_space() -> spaces.Box:
    """Gas, brake and steer."""
    return spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
