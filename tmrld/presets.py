"""Runs that are ready to be made: each is what it changes of the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tmrld.errors import NotFound


@dataclass(frozen=True)
class Preset:
    """A run to begin from; ``config`` is a merge patch over the defaults."""

    name: str
    title: str
    description: str
    config: Mapping[str, Any]


PRESETS = (
    Preset(
        "demo",
        "Demo: the simulator, by LIDAR",
        "The embedded simulator on its default track, as fast as this machine can. The car sees its speed and 19 distances, and "
        "completes its first lap within a minute or two.",
        {},
    ),
    Preset(
        "long-track",
        "Long track",
        "The same car on a track that is several times as long, with episodes long enough for all of it.",
        {
            "environment": {"track": "long", "max_steps": 4000},
            "algorithm": {"gamma": 0.99},
            "training": {"evaluation_interval_updates": 2000},
        },
    ),
    Preset(
        "random-tracks",
        "A new track each episode",
        "The simulator on roads that are generated as it drives, another one for each episode: it learns to drive, not to drive "
        "one track. It takes several times as long to learn, and drives tracks that it has never seen.",
        {
            "environment": {"track": "medium-650-any", "max_steps": 1500},
            "algorithm": {"gamma": 0.99, "update_to_data": 0.2},
            "training": {"evaluation_interval_updates": 4000},
        },
    ),
    Preset(
        "real-time",
        "Real-time simulator",
        "The simulator by the wall clock, 20 steps a second, as the game runs: nothing waits for the driver, and learning takes as "
        "many hours as it would there. Every step is learned from four times.",
        {
            "environment": {"clock": "realtime"},
            "algorithm": {"update_to_data": 4.0},
            "training": {"weights_interval_updates": 200, "evaluation_interval_updates": 8000},
        },
    ),
)


def preset(name: str) -> Preset:
    """The preset of this name.  Raises NotFound, with all names."""
    for found in PRESETS:
        if found.name == name:
            return found
    raise NotFound(f"there is no preset {name!r}: there are {', '.join(found.name for found in PRESETS)}")
