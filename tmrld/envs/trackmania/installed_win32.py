"""What Windows has in its registry of what is installed.

Written from Microsoft's documentation (the keys Services, and User Shell Folders); it has not run on Windows.
"""

from __future__ import annotations

import contextlib
import os
import sys
import winreg
from pathlib import Path

assert sys.platform == "win32"

_SERVICE = r"SYSTEM\CurrentControlSet\Services\ViGEmBus"
_FOLDERS = r"Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders"


def has_vigembus() -> bool:
    """Whether the driver is known to Windows."""
    with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _SERVICE):
        return True
    return False


def documents() -> Path | None:
    """The user's folder of documents, wherever it was moved, as by OneDrive; None when Windows does not tell."""
    with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_CURRENT_USER, _FOLDERS) as key:
        value, _ = winreg.QueryValueEx(key, "Personal")
        return Path(os.path.expandvars(str(value)))
    return None
