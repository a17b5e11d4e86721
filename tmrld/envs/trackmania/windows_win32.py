"""A window on Windows, through user32.

Written from Microsoft's documentation (EnumWindows, GetClientRect, ClientToScreen, SetWindowPos, ShowWindowAsync,
SetForegroundWindow, SetThreadDpiAwarenessContext, GetDpiForWindow, DwmGetWindowAttribute); it has not run on Windows, for the tests
of this project run on Linux: they reach the arithmetic in `windows`, which is the same for both systems.

Pixels are those of the monitor.  Without saying so a program is told scaled ones, on monitors that are not at 100 %; so each
question is asked in a thread that has said it knows of scaling, monitor by monitor.

A game that hangs must not hang who asks it: it is asked to move, and looked at until it has, and never waited for.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from ctypes import wintypes
from typing import Any

from tmrld.envs.trackmania.windows import (
    PATIENCE_S,
    Area,
    Listed,
    awaited,
    check_room,
    closed,
    hidden,
    misfit,
    not_found,
    settled,
    unfocused,
)
from tmrld.errors import GameError

assert sys.platform == "win32"

FOCUS_S = 0.5
"""How long each way of bringing a window to the front may take."""

_SET_CONTEXT = "SetThreadDpiAwarenessContext"
_PER_MONITOR_AWARE_V2 = -4
_SW_RESTORE = 9
_SWP_NOZORDER = 0x0004
_SWP_NOACTIVATE = 0x0010
_SWP_ASYNCWINDOWPOS = 0x4000
_VK_MENU = 0x12  # the Alt key
_KEYEVENTF_KEYUP = 0x0002
_GA_ROOT = 2
_VIRTUAL_SCREEN = (76, 77, 78, 79)  # SM_XVIRTUALSCREEN, SM_YVIRTUALSCREEN, SM_CXVIRTUALSCREEN, SM_CYVIRTUALSCREEN
_GWL_EXSTYLE = -20
_WS_EX_TRANSPARENT = 0x20
_DWMWA_CLOAKED = 14
_TITLE_CHARACTERS = 512
_FOLDERS = "CabinetWClass"
"""The class of Explorer's windows: a folder may well be named like the game."""

_EnumProc = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HWND, wintypes.LPARAM)


@functools.cache
def _library() -> ctypes.WinDLL:
    """user32, with the types of what is called here."""
    handle, rectangle = wintypes.HWND, ctypes.POINTER(wintypes.RECT)
    signatures: dict[str, tuple[Any, ...]] = {
        "EnumWindows": (wintypes.BOOL, _EnumProc, wintypes.LPARAM),
        "GetWindowTextW": (ctypes.c_int, handle, wintypes.LPWSTR, ctypes.c_int),
        "GetClassNameW": (ctypes.c_int, handle, wintypes.LPWSTR, ctypes.c_int),
        "IsWindow": (wintypes.BOOL, handle),
        "IsWindowVisible": (wintypes.BOOL, handle),
        "IsIconic": (wintypes.BOOL, handle),
        "IsZoomed": (wintypes.BOOL, handle),
        "IsHungAppWindow": (wintypes.BOOL, handle),
        "ShowWindowAsync": (wintypes.BOOL, handle, ctypes.c_int),
        "GetClientRect": (wintypes.BOOL, handle, rectangle),
        "GetWindowRect": (wintypes.BOOL, handle, rectangle),
        "ClientToScreen": (wintypes.BOOL, handle, ctypes.POINTER(wintypes.POINT)),
        "SetWindowPos": (wintypes.BOOL, handle, handle, *[ctypes.c_int] * 4, wintypes.UINT),
        "GetSystemMetrics": (ctypes.c_int, ctypes.c_int),
        "GetForegroundWindow": (handle,),
        "SetForegroundWindow": (wintypes.BOOL, handle),
        "GetAncestor": (handle, handle, wintypes.UINT),
        "GetWindowThreadProcessId": (wintypes.DWORD, handle, ctypes.POINTER(wintypes.DWORD)),
        "AttachThreadInput": (wintypes.BOOL, wintypes.DWORD, wintypes.DWORD, wintypes.BOOL),
        "keybd_event": (None, wintypes.BYTE, wintypes.BYTE, wintypes.DWORD, ctypes.c_size_t),
        _SET_CONTEXT: (ctypes.c_void_p, ctypes.c_void_p),
        "GetWindowLongW": (wintypes.LONG, handle, ctypes.c_int),
        "GetDpiForWindow": (wintypes.UINT, handle),
        "GetWindowDpiAwarenessContext": (ctypes.c_void_p, handle),
        "GetAwarenessFromDpiAwarenessContext": (ctypes.c_int, ctypes.c_void_p),
    }
    user32 = ctypes.WinDLL("user32", use_last_error=True)
    for name, (result, *arguments) in signatures.items():
        function = getattr(user32, name, None)
        if function is not None:  # the newest is missing before Windows 10 (1703)
            function.argtypes, function.restype = arguments, result
    return user32


@contextlib.contextmanager
def real_pixels_win32() -> Iterator[None]:
    """Meanwhile this thread sees pixels as the monitors have them; on a Windows before 10 (1703) it sees what it always sees."""
    set_context = getattr(_library(), _SET_CONTEXT, None)
    before = None if set_context is None else set_context(_PER_MONITOR_AWARE_V2)
    try:
        yield
    finally:
        if set_context is not None and before:
            set_context(before)


def find_win32(title: str) -> Win32Window:
    """The visible window of that title.  Raises GameError."""
    user32 = _library()
    seen: list[tuple[int, int]] = []  # pixels, handle
    minimised = False
    titles: set[str] = set()

    def look(handle: int, _: int) -> bool:
        nonlocal minimised
        text, kind = ctypes.create_unicode_buffer(_TITLE_CHARACTERS), ctypes.create_unicode_buffer(_TITLE_CHARACTERS)
        user32.GetWindowTextW(handle, text, _TITLE_CHARACTERS)
        user32.GetClassNameW(handle, kind, _TITLE_CHARACTERS)
        if text.value and kind.value != _FOLDERS and user32.IsWindowVisible(handle):
            titles.add(text.value)
            if text.value == title:
                if user32.IsIconic(handle):
                    minimised = True
                else:
                    rectangle = wintypes.RECT()
                    user32.GetClientRect(handle, ctypes.byref(rectangle))
                    seen.append((rectangle.right * rectangle.bottom, handle))
        return True  # go on

    user32.EnumWindows(_EnumProc(look), 0)
    if not seen:
        raise hidden(title) if minimised else not_found(title, titles, "this desktop")
    return Win32Window(user32, max(seen)[1], title)


def desktop_win32() -> list[Listed]:
    """Every window with a title on this desktop, those in front first: so EnumWindows tells them.

    What covers nothing is left out: windows that are cloaked, as those of another virtual desktop are, and those that let the mouse
    through, as overlays do.
    """
    user32 = _library()
    listed: list[Listed] = []

    def look(handle: int, _: int) -> bool:
        text = ctypes.create_unicode_buffer(_TITLE_CHARACTERS)
        user32.GetWindowTextW(handle, text, _TITLE_CHARACTERS)
        if text.value and user32.IsWindowVisible(handle) and not _covers_nothing(user32, handle):
            frame, size, corner = wintypes.RECT(), wintypes.RECT(), wintypes.POINT(0, 0)
            user32.GetWindowRect(handle, ctypes.byref(frame))
            user32.GetClientRect(handle, ctypes.byref(size))
            user32.ClientToScreen(handle, ctypes.byref(corner))
            area = Area(corner.x, corner.y, size.right, size.bottom)
            outer = Area(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top)
            listed.append(Listed(text.value, area, outer, not user32.IsIconic(handle), *_scaling(user32, handle)))
        return True  # go on

    with real_pixels_win32():
        user32.EnumWindows(_EnumProc(look), 0)
    return listed


def _covers_nothing(user32: ctypes.WinDLL, handle: int) -> bool:
    cloaked = wintypes.DWORD(0)
    dwmapi = ctypes.WinDLL("dwmapi")
    dwmapi.DwmGetWindowAttribute.argtypes = [wintypes.HWND, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD]
    dwmapi.DwmGetWindowAttribute.restype = ctypes.c_long
    dwmapi.DwmGetWindowAttribute(handle, _DWMWA_CLOAKED, ctypes.byref(cloaked), ctypes.sizeof(cloaked))
    return bool(cloaked.value) or bool(user32.GetWindowLongW(handle, _GWL_EXSTYLE) & _WS_EX_TRANSPARENT)


def _scaling(user32: ctypes.WinDLL, handle: int) -> tuple[int | None, int | None]:
    """Dots per inch and awareness of a window; None each on a Windows before 10 (1607), which has no such questions."""
    try:
        context = user32.GetWindowDpiAwarenessContext(handle)
        return int(user32.GetDpiForWindow(handle)) or None, int(user32.GetAwarenessFromDpiAwarenessContext(context))
    except AttributeError:
        return None, None


class Win32Window:
    """A `GameWindow`.  Made by `find_win32`."""

    def __init__(self, user32: ctypes.WinDLL, handle: int, title: str) -> None:
        self._user32 = user32
        self._handle = handle
        self._title = title

    def area(self) -> Area:
        with real_pixels_win32():
            self._check_open()
            if self._user32.IsIconic(self._handle) or not self._user32.IsWindowVisible(self._handle):
                raise hidden(self._title)
            size, corner = wintypes.RECT(), wintypes.POINT(0, 0)
            if not (
                self._user32.GetClientRect(self._handle, ctypes.byref(size))
                and self._user32.ClientToScreen(self._handle, ctypes.byref(corner))
            ):
                raise closed(self._title)
            return Area(corner.x, corner.y, size.right, size.bottom)

    def screen(self) -> Area:
        with real_pixels_win32():
            return Area(*map(self._user32.GetSystemMetrics, _VIRTUAL_SCREEN))

    def resize(self, width: int, height: int) -> None:
        screen = self.screen()
        check_room(width, height, screen)
        self._check_open()
        self._restore(self._user32.IsIconic)  # it may have been maximised before, and is so again
        self._restore(self._user32.IsZoomed)
        area = self.area()
        wanted = Area(area.left, area.top, width, height).moved_onto(screen)
        if area != wanted:
            asked = self._outer().corrected(wanted, area)  # the frame stays as thick as it is
            area = settled(wanted, asked, self._place, self.area, PATIENCE_S)
        if (area.width, area.height) != (width, height) or not area.within(screen):
            raise misfit(wanted, area, screen)

    def focus(self) -> None:
        self._check_open()
        self._restore(self._user32.IsIconic)
        for bring in (self._bring, self._bring_after_alt, self._bring_attached):
            bring()
            if awaited(self.is_focused, FOCUS_S):
                return
        raise unfocused(self._title)

    def is_focused(self) -> bool:
        self._check_open()
        front = self._user32.GetForegroundWindow()
        return bool(front) and self._handle in (front, self._user32.GetAncestor(front, _GA_ROOT))

    def close(self) -> None:
        """There is nothing to let go of."""

    def _restore(self, is_so: Callable[[int], int]) -> None:
        """Give it back its size and place, where it is minimised or maximised, as ``is_so`` tells."""
        if is_so(self._handle):
            self._user32.ShowWindowAsync(self._handle, _SW_RESTORE)
            awaited(lambda: not is_so(self._handle))

    def _bring(self) -> None:
        self._user32.SetForegroundWindow(self._handle)

    def _bring_after_alt(self) -> None:
        """Windows lets the program that received the last input choose the window in front: pressing Alt makes it ours."""
        self._user32.keybd_event(_VK_MENU, 0, 0, 0)
        try:
            self._bring()
        finally:
            self._user32.keybd_event(_VK_MENU, 0, _KEYEVENTF_KEYUP, 0)

    def _bring_attached(self) -> None:
        """So may the program in front, and who shares its queue of input counts as that one; with one that hangs it would hang."""
        front = self._user32.GetForegroundWindow()
        if not front or self._user32.IsHungAppWindow(front):
            return
        ours = threading.get_native_id()
        theirs = self._user32.GetWindowThreadProcessId(front, None)
        if theirs and theirs != ours and self._user32.AttachThreadInput(ours, theirs, True):
            try:
                self._bring()
            finally:
                self._user32.AttachThreadInput(ours, theirs, False)

    def _outer(self) -> Area:
        """The window with its frame, as SetWindowPos counts."""
        with real_pixels_win32():
            frame = wintypes.RECT()
            if not self._user32.GetWindowRect(self._handle, ctypes.byref(frame)):
                raise closed(self._title)
            return Area(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top)

    def _place(self, outer: Area) -> None:
        with real_pixels_win32():
            place = (outer.left, outer.top, outer.width, outer.height)
            how = _SWP_NOZORDER | _SWP_NOACTIVATE | _SWP_ASYNCWINDOWPOS
            if not self._user32.SetWindowPos(self._handle, None, *place, how):
                reason = ctypes.FormatError(ctypes.get_last_error()).strip()
                self._check_open()
                raise GameError(
                    f"Windows does not let this program place the window {self._title!r} ({reason}): "
                    "start the game without administrator's rights, or this program with them"
                )

    def _check_open(self) -> None:
        if not self._user32.IsWindow(self._handle):
            raise closed(self._title)
