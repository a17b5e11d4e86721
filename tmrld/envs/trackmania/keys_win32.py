"""Keys under Windows: pressed with SendInput as scan codes, watched with a low-level keyboard hook.

Written from Microsoft's documentation (Microsoft Learn: SendInput, SetWindowsHookExW, LowLevelKeyboardProc, GetMessageW,
GetAsyncKeyState); the tests of this project run on Linux and do not reach it.

Two things Windows tells nobody.  Where the game runs as administrator and this does not, keys do not reach it, and none is seen
that a person presses in it: both must run with the same rights.  And a hook that has once been too slow is no longer called.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from ctypes import wintypes

from tmrld.envs.scheduling import run_soon
from tmrld.envs.trackmania.controls import Key
from tmrld.envs.trackmania.input_win32 import HookedKey, Input, stroke, touch
from tmrld.errors import GameError

assert sys.platform == "win32"

_WH_KEYBOARD_LL = 13
_HOOK_WAIT_S = 5.0
_LRESULT = ctypes.c_ssize_t
_HookFunction = ctypes.WINFUNCTYPE(_LRESULT, ctypes.c_int, wintypes.WPARAM, wintypes.LPARAM)


class Win32Keys:
    """The `Keys` of Windows.  They reach whatever window has the focus, unless it belongs to a program with higher rights."""

    def __init__(self) -> None:
        self._user = ctypes.WinDLL("user32", use_last_error=True)
        self._user.SendInput.argtypes = [wintypes.UINT, ctypes.POINTER(Input), ctypes.c_int]
        self._user.SendInput.restype = wintypes.UINT
        self._user.GetAsyncKeyState.argtypes = [ctypes.c_int]
        self._user.GetAsyncKeyState.restype = ctypes.c_short
        self._inputs: list[Input] = []

    def press(self, key: Key) -> None:
        self._inputs.append(stroke(key, True))

    def release(self, key: Key) -> None:
        self._inputs.append(stroke(key, False))

    def flush(self) -> None:
        inputs, self._inputs = self._inputs, []
        array = (Input * len(inputs))(*inputs)
        if self._user.SendInput(len(inputs), array, ctypes.sizeof(Input)) != len(inputs):
            raise GameError(
                f"Windows presses no keys now ({ctypes.WinError(ctypes.get_last_error())}): it lets nobody do so while the screen "
                "is locked, or while it asks for an administrator's consent; go back to the desktop on which the game runs"
            )

    def watch(self, touched: Callable[[int, bool], None], ended: Callable[[Exception], None]) -> None:
        hook = _Hook(touched, ended)
        threading.Thread(target=hook.run, name="watch the keyboard", daemon=True).start()
        if not hook.settled.wait(_HOOK_WAIT_S) or hook.failure is not None:
            raise GameError(f"Windows does not tell which keys are pressed ({hook.failure or 'no answer'})")

    def is_down(self, key: int) -> bool:
        return bool(
            self._user.GetAsyncKeyState(key) < 0
        )  # its highest bit; 0 on another desktop, as while the screen is locked

    def close(self) -> None:
        """There is nothing to close."""


class _Hook:
    """The hook and the message loop that Windows wants its thread to have."""

    def __init__(self, touched: Callable[[int, bool], None], ended: Callable[[Exception], None]) -> None:
        self.settled = threading.Event()
        self.failure: OSError | None = None
        self._touched = touched
        self._ended = ended
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
        run_soon()  # every key of the system waits for it
        if not self._user.SetWindowsHookExW(_WH_KEYBOARD_LL, self._function, self._module(None), 0):
            self.failure = ctypes.WinError(ctypes.get_last_error())
        self.settled.set()
        if self.failure is not None:
            return
        message = wintypes.MSG()
        while self._user.GetMessageW(ctypes.byref(message), None, 0, 0) > 0:
            pass  # the hook is called from within GetMessageW; no other message comes
        self._ended(ctypes.WinError(ctypes.get_last_error()))

    def _look(self, code: int, kind: int, address: int) -> int:
        if code >= 0 and (told := touch(HookedKey.from_address(address))) is not None:
            self._touched(*told)
        return int(self._user.CallNextHookEx(None, code, kind, address))
