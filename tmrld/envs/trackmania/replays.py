"""Asking the game to save a replay of the race: our plugin, or TMRL's ``TMRL_SaveGhost``, takes a connection as the request."""

from __future__ import annotations

import socket

from tmrld.errors import GameError

ANSWER_S = 2.0
"""How long the plugin may take to answer the call."""


def save(host: str, port: int) -> None:
    """Connect and hang up; the plugin does the rest.  Raises GameError, which names the cause."""
    try:
        socket.create_connection((host, port), ANSWER_S).close()
    except (socket.gaierror, UnicodeError) as error:
        raise GameError(
            f"there is no host {host!r} to save a replay on: set environment.trackmania.telemetry_host to where the game runs"
        ) from error
    except (ConnectionRefusedError, TimeoutError) as error:
        raise GameError(
            f"no replay was saved, for nothing answers at {host}:{port}: load the plugin tmrld in OpenPlanet (the game "
            "lets accounts with Club access save one), or set environment.trackmania.save_replays to false"
        ) from error
    except OSError as error:
        raise GameError(f"no replay was saved, for {host}:{port} cannot be reached: {error.strerror or error}") from error
