"""How a change of an option reaches a run that is under way: marks for the fields of the options modules.

Each returns what a field hands to pydantic as ``json_schema_extra``; ``x-applies`` and ``x-unit`` then stand in the JSON Schema.
"""

from __future__ import annotations

from typing import Any, Literal

Applies = Literal["live", "restart", "new-run"]

KEY = "x-applies"
UNIT = "x-unit"


def live(unit: str = "") -> dict[str, Any]:
    """In effect from the next update, step or episode on; nothing stops."""
    return _marked("live", unit)


def restart(unit: str = "") -> dict[str, Any]:
    """The engines that use it stop and start again, from their last checkpoint."""
    return _marked("restart", unit)


def new_run(unit: str = "") -> dict[str, Any]:
    """What was learned or collected would no longer fit: only a run that has not begun may change it."""
    return _marked("new-run", unit)


def _marked(applies: Applies, unit: str) -> dict[str, Any]:
    return {KEY: applies, **({UNIT: unit} if unit else {})}
