"""For programs that want the environment alone, and bring an algorithm of their own: `tmrld.get_environment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium

from tmrld.envs.pacing import PacedEnv
from tmrld.envs.registry import make
from tmrld.local import placed
from tmrld.settings import load


def get_environment(config: str | Path | None = None, **changes: Any) -> WaitingEnv:
    """The environment that the settings name (``[run.environment]``), as TMRL's function of this name returns that of its config.

    ``config`` is a settings file (None: TMRLD_CONFIG, or ``tmrld.toml`` in the working directory if there is one); ``changes`` are
    settings of the environment that win over it, such as ``game="trackmania"``, for which the track may be one on this machine's
    shelf.  Raises SettingsError for settings that cannot be used and WorldError for an environment that cannot be made.
    """
    flags = {"run": {"environment": changes}} if changes else None
    settings = load(None if config is None else Path(config), flags)
    return WaitingEnv(make(placed(settings.run.environment, settings)))


class WaitingEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment with rtgym's ``wait``, which Gymnasium's wrappers hide."""

    def wait(self) -> None:
        """Pause the world until the next reset; in one that waits for its driver anyway there is nothing to do."""
        if isinstance(self.unwrapped, PacedEnv):
            self.unwrapped.wait()
