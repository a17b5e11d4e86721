"""tmrld trains an AI to control something in real time: a car in TrackMania 2020, a robot, any real-time program.

Importing this package runs nothing.  ``tmrld.get_environment()`` makes the environment that the settings name, ``tmrld.envs``
registers the Gymnasium ids, ``tmrld.cli`` is the program.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tmrld.library import get_environment as get_environment

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "get_environment":  # imports rtgym, which nobody needs who only asks for the version
        from tmrld.library import get_environment

        return get_environment
    raise AttributeError(f"module 'tmrld' has no attribute {name!r}")
