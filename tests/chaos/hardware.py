"""What a daemon runs on, as far as it can be tampered with: a small disk of its own, and a wall clock."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="disks and clocks are tampered with by LD_PRELOAD and tmpfs")
SHIM = Path(__file__).with_name("shim.c")
DISK_BYTES = 32 * 2**20
_FILLER = ".filler"


def build_shim(folder: Path) -> Path:
    """The library of `shim.c`, in that folder."""
    assert shutil.which("gcc"), "there is no gcc to build a clock that jumps: apt-get install gcc libc6-dev"
    library = folder / "shim.so"
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o", library, SHIM, "-ldl"], check=True, timeout=60
    )
    return library


class Hardware:
    """The clock and the disk of one daemon; ``folder`` is where the disk is, and its data folder.

    The disk is a small tmpfs.  Where it may not be mounted, as without root, the library makes writes in the folder fail instead;
    ``disk`` says which it is.  Call `close` when the daemon is gone.
    """

    def __init__(self, folder: Path, library: Path, *, may_mount: bool = True) -> None:
        self._folder = folder
        self._library = library
        folder.mkdir(mode=0o700)
        self._told = folder.with_suffix(".shim")
        self._told.write_bytes(bytes(16))
        with self._told.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 16)
        refused = _mount(folder) if may_mount else "not asked for"
        self._mounted = not refused
        self.disk = "a tmpfs" if self._mounted else f"writes that fail, for want of a tmpfs ({refused})"
        self.clock_off_s = 0.0

    @property
    def environment(self) -> dict[str, str]:
        """What must be in the daemon's environment."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_SHIM": str(self._told), "CHAOS_DISK": f"{self._folder}/"}

    def jump(self, seconds: float) -> None:
        """The wall clock is at once so much later, or earlier."""
        self.clock_off_s += seconds
        struct.pack_into("<q", self._shared, 0, round(self.clock_off_s * 1e9))

    def fill(self) -> None:
        """Let there be no room on the disk, not for one byte."""
        if not self._mounted:
            struct.pack_into("<q", self._shared, 8, 1)
            return
        with (self._folder / _FILLER).open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(2**16))

    def free(self) -> None:
        """Let there be room again."""
        if self._mounted:
            (self._folder / _FILLER).unlink(missing_ok=True)
        else:
            struct.pack_into("<q", self._shared, 8, 0)

    def wipe(self) -> None:
        """Lose everything on the disk.  Its daemon must be gone."""
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def close(self, copy: Path | None = None) -> None:
        """Take the disk away; what is on it is lost, unless it is copied."""
        self._shared.close()
        if copy is not None:
            shutil.copytree(self._folder, copy, dirs_exist_ok=True)
        if self._mounted:
            subprocess.run(["umount", "--lazy", self._folder], check=True)
            self._mounted = False


def _mount(folder: Path) -> str:
    """Mount a small tmpfs there; returns why that was refused, if it was."""
    options = f"size={DISK_BYTES},mode=0700,uid={os.getuid()},gid={os.getgid()}"
    try:
        mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    except FileNotFoundError as error:
        return str(error)
    return "" if mounting.returncode == 0 else mounting.stderr.strip() or f"mount ended with {mounting.returncode}"
