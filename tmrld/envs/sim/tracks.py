"""The tracks that the simulator brings, and all others, by name."""

from __future__ import annotations

import difflib

from tmrld.envs.sim.track import Arc, Straight, Track
from tmrld.errors import WorldError

DEFAULT = Track(
    "default",
    (
        *(Straight(60), Arc(40, 60), Straight(25), Arc(36, -80), Straight(40), Arc(30, 150)),  # slow right
        *(Straight(30), Arc(34, -80), Straight(25), Arc(30, -110)),  # slow left
        *(Straight(30), Arc(36, 70), Straight(20), Arc(40, 45), Straight(15), Arc(45, -50), Straight(40)),
    ),
)
"""Eight corners over 650 m; the two tightest want some 80 km/h."""

LONG = Track(
    "long",
    (
        *(Straight(150), Arc(40, 90), Straight(80), Arc(60, -90), Straight(120), Arc(16, 180), Straight(90), Arc(35, -90)),
        *(Straight(80), Arc(18, -170), Straight(50), Arc(25, 80), Straight(40), Arc(35, 60), Straight(120), Arc(45, -100)),
        *(Straight(130), Arc(50, -70), Straight(120), Arc(18, 165), Straight(90), Arc(60, -60), Straight(50), Arc(26, -90)),
        *(Straight(40), Arc(26, 90), Straight(140)),
    ),
)
"""Two kilometres with straights long enough for 150 km/h, and hairpins after them."""

BUNDLED = {track.name: track for track in (DEFAULT, LONG)}


def named(name: str, seed: int | None = None) -> Track:
    """The track of that name.  Raises WorldError naming the nearest one."""
    if name in BUNDLED:
        return BUNDLED[name]
    near = difflib.get_close_matches(name, BUNDLED, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(BUNDLED)}"
    raise WorldError(f"the simulator has no track called {name!r}: {hint}")
