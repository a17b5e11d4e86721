"""Keys under Windows: pressed with SendInput as scan codes, watched with a low-level keyboard hook.

Written from Microsoft's documentation (Microsoft Learn: SendInput, KEYBDINPUT, SetWindowsHookExW, LowLevelKeyboardProc,
KBDLLHOOKSTRUCT); the tests of this project run on Linux and do not reach it.  Scan codes name keys by their place, so that gas
is where W is on an American keyboard, whatever is printed on it: so does the game.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from ctypes import wintypes

from tmrld.envs.trackmania.controls import Key
from tmrld.errors import GameError

assert sys.platform == "win32"

_Scan = tuple[int, bool]
"""The scan code of a key, and whether it is one of those that came later (extended)."""
_SCANS: dict[Key, _Scan] = {
    Key.GAS: (0x11, False),  # W
    Key.BRAKE: (0x1F, False),  # S
    Key.LEFT: (0x1E, False),  # A
    Key.RIGHT: (0x20, False),  # D
    Key.RESET: (0x53, True),  # Delete
    Key.CONFIRM: (0x1C, False),  # Enter
}
_ARROWS = ((0x48, True), (0x50, True), (0x4B, True), (0x4D, True))
_WATCHED = frozenset((*_SCANS.values(), *_ARROWS, (0x39, False), (0x0E, False), (0x01, False)))
"""What a person presses to drive, or to be left alone: also Space, Backspace and Escape."""

_INPUT_KEYBOARD = 1
_KEYEVENTF_EXTENDEDKEY = 0x1
_KEYEVENTF_KEYUP = 0x2
_KEYEVENTF_SCANCODE = 0x8
_WH_KEYBOARD_LL = 13
_LLKHF_EXTENDED = 0x1
_LLKHF_INJECTED = 0x10
_LLKHF_UP = 0x80
_HOOK_WAIT_S = 5.0

_ULONG_PTR = ctypes.c_size_t
_LRESULT = ctypes.c_ssize_t


class _MouseInput(ctypes.Structure):
    _fields_ = [
        ("dx", wintypes.LONG),
        ("dy", wintypes.LONG),
        ("mouseData", wintypes.DWORD),
        ("dwFlags", wintypes.DWORD),
        ("time", wintypes.DWORD),
        ("dwExtraInfo", _ULONG_PTR),
    ]


class _KeyboardInput(ctypes.Structure):
    _fields_ = [
        ("wVk", wintypes.WORD),
        ("wScan", wintypes.WORD),
        ("dwFlags", wintypes.DWORD),
        ("time", wintypes.DWORD),
        ("dwExtraInfo", _ULONG_PTR),
    ]


class _AnyInput(ctypes.Union):
    _fields_ = [("mi", _MouseInput), ("ki", _KeyboardInput)]  # the mouse's is the largest, and gives the size


class _Input(ctypes.Structure):
    _fields_ = [("type", wintypes.DWORD), ("any", _AnyInput)]


class _HookedKey(ctypes.Structure):
    _fields_ = [
        ("vkCode", wintypes.DWORD),
        ("scanCode", wintypes.DWORD),
        ("flags", wintypes.DWORD),
        ("time", wintypes.DWORD),
        ("dwExtraInfo", _ULONG_PTR),
    ]


_HookFunction = ctypes.WINFUNCTYPE(_LRESULT, ctypes.c_int, wintypes.WPARAM, wintypes.LPARAM)


class Win32Keys:
    """The `Keys` of Windows.  They reach whatever window has the focus, unless it belongs to a program with higher rights."""

    def __init__(self) -> None:
        self._user = ctypes.WinDLL("user32", use_last_error=True)
        self._user.SendInput.argtypes = [wintypes.UINT, ctypes.POINTER(_Input), ctypes.c_int]
        self._user.SendInput.restype = wintypes.UINT
        self._inputs: list[_Input] = []

    def press(self, key: Key) -> None:
        self._add(_SCANS[key], 0)

    def release(self, key: Key) -> None:
        self._add(_SCANS[key], _KEYEVENTF_KEYUP)

    def flush(self) -> None:
        inputs, self._inputs = self._inputs, []
        array = (_Input * len(inputs))(*inputs)
        if self._user.SendInput(len(inputs), array, ctypes.sizeof(_Input)) != len(inputs):
            raise GameError(
                f"Windows pressed no key ({ctypes.WinError(ctypes.get_last_error())}): where the game runs as administrator, "
                "this must do so, too; or set environment.trackmania.controls to 'gamepad'"
            )

    def watch(self, touched: Callable[[int, bool], None]) -> None:
        hook = _Hook(touched)
        threading.Thread(target=hook.run, name="watch the keyboard", daemon=True).start()
        if not hook.settled.wait(_HOOK_WAIT_S) or hook.failure is not None:
            raise GameError(f"Windows does not tell which keys are pressed ({hook.failure or 'no answer'})")

    def close(self) -> None:
        """There is nothing to close."""

    def _add(self, scan: _Scan, flags: int) -> None:
        code, extended = scan
        flags |= _KEYEVENTF_SCANCODE | (_KEYEVENTF_EXTENDEDKEY if extended else 0)
        self._inputs.append(_Input(_INPUT_KEYBOARD, _AnyInput(ki=_KeyboardInput(0, code, flags, 0, 0))))


class _Hook:
    """The hook and the message loop that Windows wants its thread to have.  What programs press is not told."""

    def __init__(self, touched: Callable[[int, bool], None]) -> None:
        self.settled = threading.Event()
        self.failure: OSError | None = None
        self._touched = touched
        self._user = ctypes.WinDLL("user32", use_last_error=True)
        self._user.SetWindowsHookExW.argtypes = [ctypes.c_int, _HookFunction, wintypes.HINSTANCE, wintypes.DWORD]
        self._user.SetWindowsHookExW.restype = wintypes.HHOOK
        self._user.CallNextHookEx.argtypes = [wintypes.HHOOK, ctypes.c_int, wintypes.WPARAM, wintypes.LPARAM]
        self._user.CallNextHookEx.restype = _LRESULT
        self._module = ctypes.WinDLL("kernel32").GetModuleHandleW
        self._module.argtypes = [wintypes.LPCWSTR]
        self._module.restype = wintypes.HMODULE
        self._user.GetMessageW.argtypes = [ctypes.POINTER(wintypes.MSG), wintypes.HWND, wintypes.UINT, wintypes.UINT]
        self._user.GetMessageW.restype = ctypes.c_int
        self._function = _HookFunction(self._look)  # must live as long as the hook

    def run(self) -> None:
        """Thread: for ever."""
        if not self._user.SetWindowsHookExW(_WH_KEYBOARD_LL, self._function, self._module(None), 0):
            self.failure = ctypes.WinError(ctypes.get_last_error())
        self.settled.set()
        message = wintypes.MSG()
        while self.failure is None and self._user.GetMessageW(ctypes.byref(message), None, 0, 0) > 0:
            pass  # the hook is called from within GetMessageW; no other message comes

    def _look(self, code: int, kind: int, address: int) -> int:
        if code >= 0:
            key = _HookedKey.from_address(address)
            scan = key.scanCode, bool(key.flags & _LLKHF_EXTENDED)
            if scan in _WATCHED and not key.flags & _LLKHF_INJECTED:
                self._touched(key.scanCode, not key.flags & _LLKHF_UP)
        return int(self._user.CallNextHookEx(None, code, kind, address))
