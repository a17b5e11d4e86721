"""The flavours of TrackMania's environment as data, and their Gymnasium spaces.

LIDAR (``tmrld/TM20Lidar-v0``):

=============  ===========  ==============  ====================================================================
part           shape        unit, range     what it is
=============  ===========  ==============  ====================================================================
``speed``      (1,)         km/h, 0–1000    as the game displays it
``lidar``      (4, 19)      pixels, 0–inf   the four newest measurements, oldest first; beam 0 looks right, 18 left
actions        (3,) twice   -1 to 1         the two newest actions, newest last: gas, brake, steer (+1 is right)
=============  ===========  ==============  ====================================================================

Action: ``Box(-1, 1, (3,))``: gas and brake (below 0 is none), steer (+1 is full right).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.trackmania.lidar import BEAMS
from tmrld.envs.trackmania.reward import REWARD_TERMS
from tmrld.payloads import EnvSpec, PartSpec

ACTION_SIZE = 3
MAX_SPEED_KMH = 1000.0


def lidar_spec(options: EnvironmentOptions) -> EnvSpec:
    """The LIDAR flavour.  The scales bring ordinary driving (100 km/h, some 300 free pixels) near 1 for networks."""
    return EnvSpec(
        id=options.id,
        parts=(
            PartSpec("speed", (1,), low=0.0, high=MAX_SPEED_KMH, scale=100.0),
            PartSpec("lidar", (BEAMS,), low=0.0, history=options.history, scale=300.0),
        ),
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
