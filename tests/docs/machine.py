"""A machine that a document talks about: a shell in which its blocks are run, one after another, as a reader would type them.

`tmrld up`, `serve`, `join` and `sim` run until they are stopped: here they go on in the background, and the next line waits until
they serve.  `make` and `pip install` are not run again, but their targets and extras have to be there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.docs.blocks import ROOT, Block

LONGEST_S = 240.0
"""A block takes no longer."""

PRELUDE = r"""
set -e -o pipefail
tmrld() {
    case "$1 $*" in
        *--until*|*--help*|*--no-start*) command tmrld "$@" ;;
        up\ *|serve\ *|join\ *|sim\ *)
            # A daemon of this machine that still runs is stopped first, as with Ctrl-C in its window.
            [ "$1" = sim ] || stop_daemon
            : > daemon.log
            command tmrld "$@" $([ "$1" = up ] && echo --headless --no-browser) > daemon.log 2>&1 &
            echo $! >> "$PIDS"
            [ "$1" = sim ] || daemon=$!
            python -m tests.docs.await_ready "$1" $! daemon.log
            ;;
        *) command tmrld "$@" ;;
    esac
}
stop_daemon() {
    if [ -n "${daemon:-}" ]; then
        kill -INT "$daemon" 2> /dev/null || true
        while kill -0 "$daemon" 2> /dev/null; do sleep 0.1; done
        daemon=
    fi
}
make() { command make --dry-run --directory "$ROOT" "$@" > /dev/null; }
pip() { python -m tests.docs.installable "$@"; }
"""


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Machine:
    """A shell with folders of its own; a context manager that ends all that was started in it.

    ``replaced`` are words of the document that are other words here: addresses and ports.
    """

    def __init__(self, folder: Path, replaced: Mapping[str, str], environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._replaced = replaced
        self._pids = folder / "pids"
        self._pids.touch()
        home = folder / "home"
        home.mkdir()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TMRLD_")},
            "PATH": path,
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "share"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            "PIDS": str(self._pids),
            "ROOT": str(ROOT),
            **environment,
        }

    def __enter__(self) -> Machine:
        with (self.folder / "output").open("wb") as output:
            self._shell = subprocess.Popen(
                ["bash", "-s"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._say(PRELUDE)
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.kill()  # first, or a block that is not done yet would go on to start what nobody ends
        self._shell.wait()
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.close()  # type: ignore[union-attr]
        for pid in map(int, self._pids.read_text().split()):
            _end(pid)

    @property
    def output(self) -> str:
        """All that was printed, with the end of a daemon's log."""
        log = self.folder / "daemon.log"
        tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        return f"{(self.folder / 'output').read_text(errors='replace')[-6000:]}\n--- daemon.log\n{tail}"

    def run(self, block: Block) -> None:
        """Do what the block says; fails the test, with all that was printed, when a line of it fails."""
        code = self._in_words_of_here(block.code)
        if block.file:
            target = self.folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(code, encoding="utf-8")
        elif block.language == "python":
            script = self.folder / "block.py"
            script.write_text(code, encoding="utf-8")
            self._await(f"python {script}\n", block)
        else:
            self._await(code, block)

    def _in_words_of_here(self, text: str) -> str:
        for word, here in self._replaced.items():
            text = text.replace(word, here)
        return text

    def _await(self, code: str, block: Block) -> None:
        done = self.folder / f"done-{uuid.uuid4().hex}"
        self._say(f"{code}\ntouch {done}\n")
        deadline = time.monotonic() + LONGEST_S
        while not done.exists():
            ended = self._shell.poll()
            assert ended is None, f"{block.place} fails with status {ended}:\n{self.output}"
            assert time.monotonic() < deadline, f"{block.place} takes longer than {LONGEST_S:.0f} s:\n{self.output}"
            time.sleep(0.05)

    def _say(self, code: str) -> None:
        assert self._shell.stdin is not None
        try:
            self._shell.stdin.write(code)
            self._shell.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"the shell has ended:\n{self.output}") from None


def _end(pid: int) -> None:
    """Stop a process that was started here, at first politely."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline and _runs(pid):
            time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def bash() -> str | None:
    """Where bash is; None where there is none."""
    return shutil.which("bash")
