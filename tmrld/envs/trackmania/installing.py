"""What driving the game needs of this machine: how it stands, what an installation does about it, and what it leaves to the player.

Nothing is looked at and nothing is changed here: `openplanet`, `driver` and `display` look, the command line acts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tmrld.envs.trackmania.display import Display
from tmrld.envs.trackmania.driver import Driver
from tmrld.envs.trackmania.openplanet import FILE, ID, Look

Action = Literal["nothing", "copy", "start", "edit", "resize", "tell"]
"""What an installation does: nothing, copy the plugin, start an installer, edit the game's settings, give the window its size, or
tell the player what to do."""

NAMES = {"TMRL_GrabData": "TMRL Grab Data", "TMRL_SaveGhost": "TMRL Save Ghost"}
"""TMRL's plugins, as OpenPlanet's menus call them."""


@dataclass(frozen=True)
class Wanted:
    """What the settings ask for: the window, its size in pixels, whether LIDAR looks at it, and the plugin's ports."""

    title: str
    width: int
    height: int
    is_lidar: bool
    telemetry_port: int
    replay_port: int
    saves_replays: bool


@dataclass(frozen=True)
class Found:
    """What was found on this machine; a driver or display of None was not to be looked at."""

    look: Look
    driver: Driver | None
    display: Display | None
    display_problem: str
    """Why there is no `display`; "" when there is, or it was not to be looked at."""
    game_runs: bool


@dataclass(frozen=True)
class Part:
    """One thing that is needed: how it stands, and what is done about it."""

    name: Literal["plugin", "driver", "window"]
    is_ready: bool
    text: str
    action: Action
    intent: str = ""
    """What an installation will do, or "" for nothing."""
    commands: tuple[str, ...] = ()
    """What a person runs."""


def parts(found: Found, wanted: Wanted, version: str) -> Iterator[Part]:
    """How each thing stands; ``version`` is ours."""
    yield _plugin(found.look, version)
    if found.driver is not None:
        yield _driver(found.driver)
    if found.display is not None:
        yield _window(found.display, wanted, runs=found.game_runs)
    elif found.display_problem:
        yield Part("window", False, found.display_problem, "tell")


def _plugin(look: Look, version: str) -> Part:
    file = look.plugins / FILE
    copy = f"copy the plugin {ID} {version} to {file}"
    if look.version is None:
        return Part("plugin", False, f"OpenPlanet has no plugin {ID} in {look.plugins}", "copy", copy)
    if look.is_current:
        return Part("plugin", True, f"the plugin {ID} {version} is in {file}", "nothing")
    if look.version == "":
        return Part("plugin", False, f"the plugin in {file} is damaged", "copy", copy)
    other = look.version if look.version != version else f"{version}, but not as this tmrld has it,"
    return Part("plugin", False, f"the plugin {ID} {other} is in {file}", "copy", f"{copy}, in place of that one")


def _driver(driver: Driver) -> Part:
    if driver.is_ready:
        return Part("driver", True, driver.text, "nothing")
    if driver.installer:
        command = " ".join(f'"{word}"' if " " in word else word for word in driver.installer)
        return Part("driver", False, driver.text, "start", f"start its installer, {command}", (command,))
    return Part("driver", False, driver.text, "tell", commands=driver.commands)


def _window(display: Display, wanted: Wanted, *, runs: bool) -> Part:
    size = f"{wanted.width}x{wanted.height}"
    has = "another size" if display.size is None else f"{display.size[0]}x{display.size[1]}"
    if runs:
        text = f"the game runs; its settings have it in {'a window' if display.is_window else f'the mode {display.mode}'}"
        if display.is_window:
            return Part("window", True, text, "resize", f"give the game's window {size} pixels")
        return Part("window", False, text, "tell")
    if not display.is_window:
        text = f"the game's display mode is {display.mode} ({display.file})"
    elif display.size != (wanted.width, wanted.height):
        text = f"the game starts in a window of {has} pixels ({display.file})"
    else:
        return Part("window", True, f"the game starts in a window of {size} pixels", "nothing")
    return Part("window", False, text, "edit", f"let the game start in a window of {size} pixels, by changing that file")


def clicks(found: Found, wanted: Wanted, *, copied: bool) -> list[str]:
    """What only the player can do in the game, in order; ``copied`` says that the plugin's file was put there just now."""
    look = found.look
    steps: list[str] = []
    if not found.game_runs:
        steps.append("Start TrackMania.")
    if look.developer is not True:
        steps.append(
            "Press F3; in the bar at the top choose Openplanet, Signature Mode, Developer: the plugin is not signed, and other modes "
            "load signed plugins alone. That mode switches School Mode on, too (no leaderboards, online play on few maps), and needs "
            "Standard or Club access."
        )
    if look.rivals:
        names = " and ".join(NAMES[name] for name in look.rivals)
        steps.append(
            f"Switch TMRL's {names} off (F3, Openplanet, Plugin Manager, Installed), for ours wants the same port, and whichever is "
            "loaded first gets it. Or keep TMRL's, and do without ours: tmrld trackmania uninstall."
        )
    if look.has_sources:
        steps.append(
            f"There is a folder {look.plugins / ID} as well, which developer mode prefers: delete it, unless you work on it."
        )
    if copied and found.game_runs:
        steps.append(f"Press F3, Developer, (Re)load plugin, {ID}; or start the game anew.")
    steps += _ports(look, wanted)
    if found.display_problem or (found.display is not None and found.game_runs and not found.display.is_window):
        steps.append("In the game's settings (Video), set the display mode to windowed.")
    if wanted.is_lidar:
        steps.append(
            "Load a map whose road has black borders, begin a race, and press 3 until the camera is in front and no car is seen."
        )
    else:
        steps.append("Load a map, begin a race, and choose the camera (1, 2, 3): the same one for training and for driving.")
    steps.append(
        f"See whether it works: tmrld doctor. The log (F3, Openplanet, Log) has a line “{ID}: telemetry on 127.0.0.1:…”."
    )
    return steps


def _ports(look: Look, wanted: Wanted) -> Iterator[str]:
    """The plugin's ports where they are not those of the settings; a plugin that never ran has the usual ones."""
    has = (9000, 10000) if look.running is None else (look.running.telemetry_port, look.running.replay_port)
    if wanted.telemetry_port != has[0]:
        yield f"Set the plugin's telemetry port to {wanted.telemetry_port}, as in tmrld's settings: F3, Openplanet, Settings, {ID}."
    if wanted.saves_replays and wanted.replay_port != has[1]:
        yield f"Set the plugin's replay port to {wanted.replay_port}, as in tmrld's settings: F3, Openplanet, Settings, {ID}."
