"""An X11 display without a screen, for tests that look at windows, grab them or press keys."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

SIZE = (1280, 800)
"""Width and height of its only screen, in pixels."""


@contextlib.contextmanager
def virtual_display(width: int, height: int, *flags: str) -> Iterator[str]:
    """Xvfb with a screen of that size, no window manager, and these flags; its name, such as ":1".  It ends with the block."""
    ready, tell = os.pipe()
    command = ["Xvfb", "-displayfd", str(tell), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-noreset", *flags]
    server = subprocess.Popen(command, pass_fds=(tell,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.close(tell)
        with os.fdopen(ready) as line:
            number = line.readline().strip()  # comes when the server takes connections, and is empty when it failed
        assert number, f"Xvfb ended with {server.wait()} instead of opening a display"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The name of a display of 1280 × 800 in 24 bits, shared by all tests; DISPLAY names it, too."""
    if shutil.which("Xvfb") is None:
        advice = "there is no Xvfb to open windows on: apt-get install xvfb"
        if os.environ.get("CI") == "true":
            pytest.fail(advice)
        pytest.skip(advice)
    with virtual_display(*SIZE) as name, pytest.MonkeyPatch.context() as environment:
        environment.setenv("DISPLAY", name)
        environment.delenv("XAUTHORITY", raising=False)
        environment.delenv("WAYLAND_DISPLAY", raising=False)
        environment.setenv("XDG_SESSION_TYPE", "x11")
        yield name
