"""OpenPlanet without the game: a plugin's scripts compiled and run by AngelScript itself, with a game that a test describes.

`openplanet.cpp` is built with g++ against Debian's AngelScript; `openplanet.as` declares what our plugin uses of OpenPlanet.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("openplanet.cpp")
INTERFACE = Path(__file__).with_name("openplanet.as")
HEADER = Path("/usr/include/angelscript.h")
PATIENCE_S = 30.0


class Host:
    """The program that runs the plugin."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self._echoes = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, **state: float) -> None:
        """The game is so in each frame that begins from now on."""
        self._send("".join(f"{name} {float(value)!r}\n" for name, value in state.items()))

    def set(self, name: str, value: int) -> None:
        """A player changes a setting of the plugin."""
        self._send(f"set {name} {value}\n")

    def begin(self) -> None:
        """Load the plugin."""
        self._send("begin\n")

    def reload(self) -> None:
        """Unload the plugin, and load it again."""
        self._send("reload\n")

    def said(self, part: str, times: int = 1) -> str:
        """Wait until it has said so many lines with this in them; the last of these."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._with(part)) >= times, PATIENCE_S)
            found = self._with(part)
            assert len(found) >= times, f"{part!r} is not in {self._lines}"
            return found[times - 1]

    def lines(self) -> list[str]:
        """All that it has said so far."""
        with self._changed:
            return list(self._lines)

    def await_end(self) -> None:
        """Hear the last of a program that was ended; then nobody reads from it any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, PATIENCE_S)

    def _with(self, part: str) -> list[str]:
        return [line for line in self._lines if part in line]

    def _send(self, text: str) -> None:
        """Returns when the program has read it."""
        assert self._process.stdin is not None
        self._echoes += 1
        self._process.stdin.write(f"{text}echo {self._echoes}\n")
        self._process.stdin.flush()
        self.said(f"echo {self._echoes}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextmanager
def hosting(program: Path, plugin: Path) -> Iterator[Host]:
    """The plugin in that folder, compiled; `Host.begin` starts it, and it ends with the block."""
    process = subprocess.Popen([program, INTERFACE, plugin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        host = Host(process)
        try:
            yield host
        finally:
            process.kill()
            host.await_end()


@pytest.fixture(scope="session")
def openplanet_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built once."""
    if shutil.which("g++") is None or not HEADER.exists():
        advice = "there is no AngelScript to run the plugin with: apt-get install g++ angelscript-dev"
        if os.environ.get("CI") == "true":
            pytest.fail(advice)
        pytest.skip(advice)
    program = tmp_path_factory.mktemp("openplanet") / "openplanet"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    libraries = ["-langelscript-addon", "-langelscript", "-lpthread"]
    subprocess.run(["g++", *flags, "-o", program, PROGRAM, *libraries], check=True, timeout=300)
    return program
