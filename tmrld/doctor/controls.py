"""Gamepad and keys: whether they could be held, and, if that is asked for, whether the game obeys them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmrld.doctor import importing
from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.installation import INSTALL
from tmrld.doctor.patient import Evidence
from tmrld.doctor.telemetry import FINISHED, GAS, TIME, X, Z
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.trackmania.driver import DEVICE, RULE, RULE_FILE
from tmrld.envs.trackmania.guarded import GuardedControls
from tmrld.envs.trackmania.keyboard import system_keys
from tmrld.envs.trackmania.windows import find
from tmrld.errors import GameError

AREA = "controls"
GAS_S = 1.5
"""How long the gas is held in a try."""
TOLD_S = 0.5
"""So long is it waited for what the plugin tells of it."""
OBEYED = 0.5
MOVED_M = 1.0
SAME_PLACE_M = 2.0

Uinput = Literal["ok", "missing", "forbidden", ""]


class Try(Evidence):
    """Times of what was done, in seconds as records count them.

    ``problem`` says what went wrong meanwhile, ``behind`` why the game did not come to the front.

    The race was begun anew until ``began_s``, then the gas was held until ``held_s``, then the race was begun anew until ``again_s``.
    """

    problem: str = ""
    behind: str = ""
    person: bool = False
    began_s: float = 0.0
    held_s: float = 0.0
    again_s: float = 0.0


class Controls(Evidence):
    """``wanted`` is what `trackmania.controls` is.

    For a gamepad: ``error`` is what importing vgamepad said, ``missing`` that it is not installed, ``uinput`` how it stands with
    Linux' device for it, ``wine`` that this Python runs in Wine or Proton.  For keys: ``keys`` is why none can be pressed.
    """

    system: str
    wanted: Literal["gamepad", "keyboard", "none"]
    error: str = ""
    missing: bool = False
    uinput: Uinput = ""
    wine: bool = False
    keys: str = ""
    tried: Try | None = None


# Looking


def gather_controls(wanted: Literal["gamepad", "keyboard", "none"], uinput: Path = DEVICE) -> Controls:
    """See whether these controls could be had.  Nothing is pressed, and no gamepad is plugged in."""
    seen = Controls(system=sys.platform, wanted=wanted)
    if wanted == "gamepad":
        said = importing.ask(["vgamepad"])["vgamepad"]
        update = {"error": str(said.get("error", "")), "missing": bool(said.get("missing")), "wine": _in_wine()}
        if sys.platform == "linux":
            update["uinput"] = look_at_uinput(uinput)
        return seen.model_copy(update=update)
    if wanted == "keyboard":
        try:
            system_keys().close()
        except GameError as error:
            return seen.model_copy(update={"keys": str(error)})
    return seen


def look_at_uinput(path: Path) -> Uinput:
    """Whether it can be opened for writing, which alone makes no gamepad."""
    try:
        os.close(os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0)))
    except OSError as error:
        return "forbidden" if error.errno in (errno.EACCES, errno.EPERM) else "missing"
    return "ok"


def _in_wine() -> bool:
    """Whether Windows is Wine: its ntdll says so."""
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def try_controls(options: EnvironmentOptions, clock: Callable[[], float]) -> Try:
    """Begin the race anew, hold the gas for a while, and begin it anew: the car moves!

    ``clock`` tells time as records count it.
    """
    chosen = options.trackmania
    behind, began_s, held_s, person = "", 0.0, 0.0, False
    try:
        controls = GuardedControls(chosen.controls, chosen.window_title, options.time_step_s, chosen.hand_back_s)
    except GameError as error:
        return Try(problem=str(error))
    with contextlib.closing(controls):
        try:
            try:
                with contextlib.closing(find(chosen.window_title)) as window:
                    window.focus()
            except GameError as error:
                behind = str(error)
            controls.reset_race()
            time.sleep(chosen.sleep_at_reset_s)
            began_s = clock()
            while clock() < began_s + GAS_S:
                controls.hold(1.0, 0.0, 0.0)
                person = person or controls.user_drives
                time.sleep(options.time_step_s)
            controls.neutral()
            held_s = clock()
            controls.reset_race()
            time.sleep(max(chosen.sleep_at_reset_s, TOLD_S))
        except GameError as error:
            return Try(problem=str(error), behind=behind, person=person)
        return Try(behind=behind, person=person, began_s=began_s, held_s=held_s, again_s=clock())


# Judging

CODES = frozenset(
    {
        "gamepad-package-missing",
        "gamepad-driver-missing",
        "gamepad-in-wine",
        "gamepad-libevdev-missing",
        "gamepad-uinput-missing",
        "gamepad-uinput-forbidden",
        "gamepad-broken",
        "keys-not-pressed",
        "keys-no-xtest",
        "controls-failed",
        "controls-not-in-front",
        "controls-taken-over",
        "controls-unheard",
        "car-stands",
        "reset-unheard",
        "finish-stays",
    }
)
OR_KEYS = 'or drive by keys: trackmania.controls = "keyboard"'


def judge_controls(seen: Controls, told: NDArray[np.float64]) -> Iterator[Diagnosis]:
    """``told`` are the plugin's records, which say what became of a try."""
    if seen.wanted == "none":
        yield ok(AREA, "controls", 'trackmania.controls is "none": a person drives')
        return
    trouble = _judge_gamepad(seen) if seen.wanted == "gamepad" else _judge_keys(seen)
    if trouble is not None:
        yield trouble
    if seen.tried is not None:
        yield from _judge_try(seen.tried, told, seen.wanted)
    elif trouble is None:
        what = "a virtual gamepad can be made" if seen.wanted == "gamepad" else "keys can be pressed"
        yield ok(AREA, seen.wanted, f"{what}; nothing was pressed to try it")


def _judge_gamepad(seen: Controls) -> Diagnosis | None:
    def told(code: str, text: str, mend: str) -> Diagnosis:
        return wrong(AREA, "gamepad", text, f"{mend}; {OR_KEYS}", code=code)

    if seen.error and seen.missing:
        return told(
            "gamepad-package-missing", "vgamepad, which makes virtual gamepads, is not installed", 'pip install "tmrld[game]"'
        )
    if seen.error and seen.system == "win32" and seen.wine:
        return told(
            "gamepad-in-wine",
            f"this Python runs in Wine or Proton, where there is no driver for virtual gamepads: {seen.error}",
            "run tmrld in Linux itself, beside the game that runs in Proton",
        )
    if seen.error and seen.system == "win32":
        return told(
            "gamepad-driver-missing" if "VIGEM" in seen.error.upper() else "gamepad-broken",
            f"vgamepad finds no driver for virtual gamepads: {seen.error}",
            f"`{INSTALL}` starts the installer of ViGEmBus (which is at https://github.com/nefarius/ViGEmBus/releases, too); "
            "then start "
            "Windows anew",
        )
    if seen.error and "libevdev" in seen.error:
        return told(
            "gamepad-libevdev-missing",
            f"vgamepad needs the library libevdev: {seen.error}",
            "on Debian and Ubuntu: sudo apt install libevdev2",
        )
    if seen.error:
        return told(
            "gamepad-broken", f"vgamepad cannot be loaded: {seen.error}", "pip install --force-reinstall vgamepad libevdev"
        )
    if seen.uinput == "missing":
        return told(
            "gamepad-uinput-missing",
            "there is no /dev/uinput, through which Linux makes virtual gamepads (nor is there in most containers)",
            "sudo modprobe uinput, on the machine itself",
        )
    if seen.uinput == "forbidden":
        return told(
            "gamepad-uinput-forbidden",
            "/dev/uinput may not be written to by this user",
            f"`sudo setfacl -m u:$USER:rw {DEVICE}` until the next start; for good, `echo '{RULE}' | sudo tee {RULE_FILE}`, "
            "and start anew",
        )
    return None


def _judge_keys(seen: Controls) -> Diagnosis | None:
    if not seen.keys:
        return None
    if "XTEST" in seen.keys:
        return wrong(
            AREA,
            "keyboard",
            seen.keys,
            'start the display with its extension XTEST (Xvfb has it unless told otherwise); or trackmania.controls = "gamepad"',
            code="keys-no-xtest",
        )
    return wrong(
        AREA,
        "keyboard",
        f"no keys can be pressed here: {seen.keys}",
        'start tmrld on the desktop where the game runs; or trackmania.controls = "gamepad"',
        code="keys-not-pressed",
    )


def _judge_try(tried: Try, told: NDArray[np.float64], wanted: str) -> Iterator[Diagnosis]:
    check = "a try"
    if tried.problem:
        yield wrong(
            AREA, check, f"the controls failed when they were tried: {tried.problem}", "what it says", code="controls-failed"
        )
        return
    if tried.person:
        yield note(
            AREA,
            check,
            "a key was pressed meanwhile, which gave the car to a person",
            "hands off, and look again",
            code="controls-taken-over",
        )
        return
    if tried.behind:
        yield wrong(
            AREA,
            check,
            f"the game was not in front when it was tried: {tried.behind}",
            "click into the game's window, and leave it in front",
            code="controls-not-in-front",
        )
    times = told[:, TIME]
    during = told[(times > tried.began_s) & (times < tried.held_s + TOLD_S)]
    after = told[(times > tried.again_s - TOLD_S) & (times <= tried.again_s)]
    if not len(during):
        return  # what the plugin did not tell is said of the plugin
    buttons = "right trigger" if wanted == "gamepad" else "key for gas"
    start = during[0, X : Z + 1]
    if during[:, FINISHED].all():
        yield wrong(
            AREA,
            check,
            "the game still says that the race is finished, after the race should have begun anew",
            "begin a race by hand; if a button or key does not close what the finish shows, set the game's controls to their "
            "defaults",
            code="finish-stays",
        )
    elif during[:, GAS].max() < OBEYED:
        yield wrong(
            AREA,
            check,
            f"gas was given for {GAS_S:g} s, and the game heard none",
            f"in the game's settings, Controls: give the {buttons} its default (accelerate), and choose no other device alone; "
            "start the "
            "game anew if it was started before ViGEmBus was installed",
            code="controls-unheard",
        )
    elif np.linalg.norm(during[:, X : Z + 1] - start, axis=1).max() < MOVED_M:
        yield wrong(
            AREA,
            check,
            f"the game heard gas for {GAS_S:g} s, but the car stood",
            "if the countdown was still running: a longer trackmania.sleep_at_reset_s (TMRL's is 1.5); if the car is blocked "
            "or the "
            "game shows a message: begin a race by hand",
            code="car-stands",
        )
    elif len(after) and np.linalg.norm(after[-1, X : Z + 1] - start) > SAME_PLACE_M:
        yield wrong(
            AREA,
            check,
            "the car drove, but did not come back to the start when the race was to begin anew",
            "in the game's settings, Controls: give 'give up' its default: "
            + ("button B" if wanted == "gamepad" else "Backspace, on Windows Delete"),
            code="reset-unheard",
        )
    else:
        yield ok(AREA, check, "the race began anew, the car obeyed the gas, and came back to the start")
