"""Whether a process runs as administrator, asked through advapi32.

Written from Microsoft's documentation (OpenProcessToken, GetTokenInformation with TokenElevation); it has not run on Windows.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

assert sys.platform == "win32"

_PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
_TOKEN_QUERY = 0x0008
_TOKEN_ELEVATION = 20
_ERROR_ACCESS_DENIED = 5


def is_admin(process: int) -> bool | None:
    """Of the process with this number; None when that cannot be told.

    One whose token may not be opened has more rights than we.
    """
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
    kernel32.OpenProcess.restype = wintypes.HANDLE
    kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
    advapi32.OpenProcessToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE)]
    advapi32.GetTokenInformation.argtypes = [
        wintypes.HANDLE,
        ctypes.c_int,
        ctypes.c_void_p,
        wintypes.DWORD,
        ctypes.POINTER(wintypes.DWORD),
    ]
    handle = kernel32.OpenProcess(_PROCESS_QUERY_LIMITED_INFORMATION, False, process)
    if not handle:
        return True if ctypes.get_last_error() == _ERROR_ACCESS_DENIED else None
    token, elevation, length = wintypes.HANDLE(), wintypes.DWORD(0), wintypes.DWORD(0)
    try:
        if not advapi32.OpenProcessToken(handle, _TOKEN_QUERY, ctypes.byref(token)):
            return True if ctypes.get_last_error() == _ERROR_ACCESS_DENIED else None
        size = ctypes.sizeof(elevation)
        told = advapi32.GetTokenInformation(token, _TOKEN_ELEVATION, ctypes.byref(elevation), size, ctypes.byref(length))
        return bool(elevation.value) if told else None
    finally:
        if token:
            kernel32.CloseHandle(token)
        kernel32.CloseHandle(handle)
