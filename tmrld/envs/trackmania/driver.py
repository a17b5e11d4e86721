"""What lets a program be a gamepad: on Windows the driver ViGEmBus, on Linux the kernel's uinput, if the user may write to it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

DEVICE = Path("/dev/uinput")
RULE = 'KERNEL=="uinput", SUBSYSTEM=="misc", OPTIONS+="static_node=uinput", TAG+="uaccess"'
"""For udev: whoever sits at the machine may make input devices, from the start on."""
RULE_FILE = "/etc/udev/rules.d/60-tmrld.rules"
_PIP = 'pip install "tmrld[game]"'


@dataclass(frozen=True)
class Facts:
    """What was found on this machine."""

    system: str
    has_vgamepad: bool
    has_vigembus: bool = False
    installer: Path | None = None
    """Of ViGEmBus, as it comes with vgamepad."""
    has_device: bool = False
    is_writable: bool = False
    has_libevdev: bool = False


@dataclass(frozen=True)
class Driver:
    """How it stands."""

    is_ready: bool
    text: str
    installer: tuple[str, ...] = ()
    """A command that installs it, which asks for an administrator's rights by itself."""
    commands: tuple[str, ...] = ()
    """What a person runs instead, in this order."""


def gather() -> Facts:
    """Look at this machine; takes no time, and makes no gamepad."""
    package = importlib.util.find_spec("vgamepad")
    if sys.platform == "win32":
        from tmrld.envs.trackmania.installed_win32 import has_vigembus

        home = None if package is None or package.origin is None else Path(package.origin).parent
        return Facts(sys.platform, package is not None, has_vigembus(), None if home is None else installer_in(home))
    return Facts(
        sys.platform,
        package is not None,
        has_device=DEVICE.exists(),
        is_writable=os.access(DEVICE, os.W_OK),
        has_libevdev=_loads("libevdev.so.2"),
    )


def installer_in(vgamepad: Path, machine: str = "") -> Path | None:
    """ViGEmBus' installer for this kind of processor, in the folder of the package vgamepad."""
    kind = "x64" if (machine or platform.machine()).endswith("64") else "x86"
    file = vgamepad / "win" / "vigem" / "install" / kind / f"ViGEmBusSetup_{kind}.msi"
    return file if file.is_file() else None


def judge(facts: Facts, environ: Mapping[str, str]) -> Driver:
    """What that means; ``environ`` is the environment of this program."""
    if facts.system == "win32":
        return _judge_windows(facts)
    return _judge_linux(facts, environ)


def _judge_windows(facts: Facts) -> Driver:
    if facts.has_vigembus and facts.has_vgamepad:
        return Driver(True, "the driver ViGEmBus is installed")
    if facts.has_vigembus:
        return Driver(False, "the driver ViGEmBus is installed, but not the package vgamepad", commands=(_PIP,))
    if facts.installer is not None:
        return Driver(False, "the driver ViGEmBus is not installed", installer=(_msiexec(), "/i", str(facts.installer)))
    return Driver(
        False,
        "neither the driver ViGEmBus nor its installer, which comes with the package vgamepad, is here",
        commands=(_PIP, "tmrld trackmania install"),
    )


def _msiexec() -> str:
    """Windows' installer by its full path: a program of that name in the current folder is another one."""
    return str(PureWindowsPath(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "msiexec.exe")


def _judge_linux(facts: Facts, environ: Mapping[str, str]) -> Driver:
    commands, lacking = [], []
    if not facts.has_libevdev:
        lacking.append("libevdev is not installed")
        commands.append("sudo apt install libevdev2")
    if not facts.has_vgamepad:
        lacking.append("the package vgamepad is not installed")
        commands.append(_PIP)
    if not facts.has_device:
        lacking.append(f"there is no {DEVICE}")
        commands += ["sudo modprobe uinput", "echo uinput | sudo tee /etc/modules-load.d/uinput.conf"]
    if not facts.is_writable:
        if facts.has_device:
            lacking.append(f"{DEVICE} may not be written to by {environ.get('USER') or 'this user'}")
        commands += [
            f"echo '{RULE}' | sudo tee {RULE_FILE}",
            "sudo udevadm control --reload-rules",
            "sudo udevadm trigger --name-match=uinput",
        ]
    if lacking:
        return Driver(False, ", and ".join(lacking), commands=tuple(commands))
    return Driver(True, f"{DEVICE} can be written to")


def _loads(library: str) -> bool:
    with contextlib.suppress(OSError):
        ctypes.CDLL(library)
        return True
    return False
