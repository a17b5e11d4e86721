"""One examination from beginning to end: look at everything that the settings ask for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ValidationError

from tmrld.doctor.game import gather_game
from tmrld.doctor.machine import gather_machine
from tmrld.doctor.network import gather_network
from tmrld.doctor.patient import patient_of
from tmrld.doctor.report import Report, without_secrets
from tmrld.envs.options import EnvironmentOptions
from tmrld.errors import TmrldError
from tmrld.local import placed
from tmrld.settings import Settings

Game = Literal["sim", "trackmania"]
Say = Callable[[str], None]

GAME_S = 5.0
"""How long the game is watched, unless it is said."""


def examine(
    settings: Settings,
    *,
    environment: EnvironmentOptions | None = None,
    game: Game | None = None,
    everything: bool = False,
    seconds: float = GAME_S,
    drive: bool = False,
    settings_file: str = "",
    settings_error: str = "",
    say: Say = lambda sentence: None,
) -> Report:
    """Look at network, machine and game; takes some ten seconds and ``seconds`` more in the game.  Never raises for what it finds.

    ``environment`` is what a worker here drives; None asks the relay, and takes the settings' where that does not say.  ``game`` says
    which game it is, whatever they say; ``drive`` lets the car in the game be driven a little.
    """
    network, told = gather_network(settings, say)
    world = with_game(environment or _world(told) or settings.run.environment, game)
    patient = patient_of(settings, world, everything=everything, settings_file=settings_file, settings_error=settings_error)
    machine = gather_machine(settings, patient, say)
    seen = gather_game(with_line(world, settings), seconds, say, drive=drive) if "worker" in patient.roles else None
    report = Report(made=time.time(), patient=patient, machine=machine, network=network, game=seen)
    return without_secrets(report, secrets_of(settings))


def with_game(environment: EnvironmentOptions, game: Game | None) -> EnvironmentOptions:
    """The same environment in that game; the game's clock is the wall's, and nothing varies in it."""
    if game is None or game == environment.game:
        return environment
    plain = environment.model_dump(exclude={"randomisation"})
    if game == "trackmania":
        return EnvironmentOptions.model_validate(plain | {"game": game, "clock": "realtime"})
    return EnvironmentOptions.model_validate(plain | {"game": game, "track": "default"})


def with_line(environment: EnvironmentOptions, settings: Settings) -> EnvironmentOptions:
    """The same environment, with the file of its track where that is on this machine's shelf and can be read."""
    try:
        return placed(environment, settings)
    except (TmrldError, OSError):
        return environment


def _world(told: Mapping[str, Any]) -> EnvironmentOptions | None:
    """What the relay says that is driven here; None where it says nothing that this version knows."""
    try:
        return EnvironmentOptions.model_validate(told) if told else None
    except ValidationError:
        return None


def secrets_of(settings: Settings) -> list[str]:
    """What must be in no report: the token, and the password of a proxy."""
    try:
        proxy = urlsplit(settings.peers.proxy)
        password = proxy.password or ""
    except ValueError:
        password = ""
    return [settings.peers.token.get_secret_value(), password]
