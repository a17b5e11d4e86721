"""How Windows takes and tells keys: its structures, our keys in them, and which of the keys that it tells are a person's.

Nothing here calls Windows, and the sizes do not depend on the system, so all of it is tested everywhere.  From Microsoft's
documentation (Microsoft Learn: INPUT, KEYBDINPUT, MOUSEINPUT, KBDLLHOOKSTRUCT).  Scan codes name keys by their place, so that gas
is where W is on an American keyboard, whatever is printed on it: so does the game.
"""

from __future__ import annotations

import ctypes

from tmrld.envs.trackmania.controls import Key

Scan = tuple[int, bool]
"""The scan code of a key, and whether it is one of those that came later (extended)."""
SCANS: dict[Key, Scan] = {
    Key.GAS: (0x11, False),  # W
    Key.BRAKE: (0x1F, False),  # S
    Key.LEFT: (0x1E, False),  # A
    Key.RIGHT: (0x20, False),  # D
    Key.RESET: (0x53, True),  # Delete
    Key.CONFIRM: (0x1C, False),  # Enter
}
_ARROWS = ((0x48, True), (0x50, True), (0x4B, True), (0x4D, True))
_WATCHED = frozenset((*SCANS.values(), *_ARROWS, (0x39, False), (0x0E, False), (0x01, False)))
"""What a person presses to drive, or to be left alone: also Space, Backspace and Escape."""
OURS = 0x746D726C
"""Every key event that we make carries this.  Those of remote desktops and of keyboards on the screen do not: they are persons'."""

_INPUT_KEYBOARD = 1
_KEYEVENTF_EXTENDEDKEY = 0x1
_KEYEVENTF_KEYUP = 0x2
_KEYEVENTF_SCANCODE = 0x8
_LLKHF_EXTENDED = 0x1
_LLKHF_UP = 0x80

_LONG = ctypes.c_int32
_DWORD = ctypes.c_uint32
_WORD = ctypes.c_uint16
_ULONG_PTR = ctypes.c_size_t


class MouseInput(ctypes.Structure):
    """MOUSEINPUT, which we do not use: it is the largest, and gives `Input` its size."""

    _fields_ = [
        ("dx", _LONG),
        ("dy", _LONG),
        ("mouseData", _DWORD),
        ("dwFlags", _DWORD),
        ("time", _DWORD),
        ("dwExtraInfo", _ULONG_PTR),
    ]


class KeyboardInput(ctypes.Structure):
    """KEYBDINPUT."""

    _fields_ = [("wVk", _WORD), ("wScan", _WORD), ("dwFlags", _DWORD), ("time", _DWORD), ("dwExtraInfo", _ULONG_PTR)]


class AnyInput(ctypes.Union):
    """What INPUT may hold."""

    _fields_ = [("mi", MouseInput), ("ki", KeyboardInput)]


class Input(ctypes.Structure):
    """INPUT, which SendInput takes."""

    _fields_ = [("type", _DWORD), ("any", AnyInput)]


class HookedKey(ctypes.Structure):
    """KBDLLHOOKSTRUCT, which a low-level keyboard hook is told."""

    _fields_ = [("vkCode", _DWORD), ("scanCode", _DWORD), ("flags", _DWORD), ("time", _DWORD), ("dwExtraInfo", _ULONG_PTR)]


def stroke(key: Key, down: bool) -> Input:
    """One of our keys goes down, or up."""
    code, extended = SCANS[key]
    flags = _KEYEVENTF_SCANCODE | (_KEYEVENTF_EXTENDEDKEY if extended else 0) | (0 if down else _KEYEVENTF_KEYUP)
    return Input(_INPUT_KEYBOARD, AnyInput(ki=KeyboardInput(0, code, flags, 0, OURS)))


def touch(key: HookedKey) -> tuple[int, bool] | None:
    """The virtual-key code, and whether it went down; None when it is not a person's, or not one with which the game is driven."""
    if key.dwExtraInfo == OURS or (key.scanCode, bool(key.flags & _LLKHF_EXTENDED)) not in _WATCHED:
        return None
    return key.vkCode, not key.flags & _LLKHF_UP
