"""One engine process, from its start to its last byte.

It is a fresh interpreter, never a fork, so it inherits no lock, no thread and no CUDA context.  It is started with
`subprocess` rather than `multiprocessing`: that imports no main module a second time, hands over no pickle, needs no tracker
process, sets the environment before anything is imported, and the engine may use multiprocessing itself.

It gets a session of its own (POSIX) or a process group and a job of its own (Windows): Ctrl-C in the terminal does not reach
it, and what it has started itself ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from tmrld.engines.channel import PipeChannel
from tmrld.engines.entry import TERMINATED, Order
from tmrld.engines.options import EngineOptions
from tmrld.engines.wire import Wire, pipe_ends
from tmrld.protocol.codec import encode

if TYPE_CHECKING and sys.platform == "win32":
    from tmrld.engines.windows_job import Job

_BOOTSTRAP = "import sys; sys.path[:] = sys.argv[2:]; from tmrld.engines.entry import main; raise SystemExit(main())"
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_NICENESS = 10
"""Of an engine with low priority: half way down the scale of POSIX."""


class Child:
    """A running engine process and the daemon's end of its pipe; belongs to the event loop that runs while it is made.

    Starting blocks the loop for as long as the system takes to make a process, which is milliseconds; in return no process is
    ever lost to a cancelled start.  Raises OSError when the system makes none, and BadInput when the arguments are not plain
    values or too large.
    """

    def __init__(self, name: str, target: str, arguments: dict[str, object], options: EngineOptions) -> None:
        low = options.priority == "low"
        order = Order(name, target, arguments, _NICENESS if low else 0, options.log_level, options.beat_s)
        self._order = encode(order.to_command())
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        ours, theirs = pipe_ends()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
                [sys.executable, "-c", _BOOTSTRAP, f"tmrld engine {name}", *sys.path],
                stdin=theirs[0],
                stdout=theirs[1],
                env=_environment(options.threads),
                start_new_session=True,  # ignored on Windows, as creationflags are on POSIX
                creationflags=_creation_flags(low),
            )
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.pid = self._process.pid
        self._reaped = False
        if sys.platform == "win32":
            self._job = _job(self._process)
        self.channel = PipeChannel(Wire(*ours), name)
        threading.Thread(target=self._watch, name=f"watch engine {name}", daemon=True).start()

    async def instruct(self) -> None:
        """Send the order that every engine process waits for; the first message."""
        await self.channel.send(self._order)

    async def ended(self) -> int:
        """Wait until the process and all that it started are gone; returns the exit code, negative for a signal."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """Make it end by SIGTERM, which its ``finally`` blocks survive; on Windows this kills."""
        with self._lock:
            if self._reaped:
                return
            if sys.platform == "win32":
                self._process.terminate()
            else:
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and everything that it started, at once."""
        with self._lock:
            if self._reaped:
                return
            if sys.platform == "win32":
                self._process.kill()
            else:
                _kill_group(self.pid)

    def _watch(self) -> None:
        """Thread: wait for the end of the process, clear away what it left behind, and only then reap it.

        Until it is reaped its number belongs to it, so that no signal can hit a stranger.
        """
        if sys.platform == "win32":
            code = self._process.wait()
            if self._job is not None:
                self._job.close()
        elif hasattr(os, "waitid"):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            with self._lock:
                _kill_group(self.pid)
                code = self._process.wait()
                self._reaped = True
        else:  # macOS before Python 3.13: only the process itself is cleared away
            code = self._process.wait()
            self._reaped = True
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, code)

    def _tell(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


def exit_in_words(code: int) -> str:
    """What an exit code says: ``was killed by SIGKILL, for instance because memory ran out``."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was killed by {name}{_SIGNAL_HINTS.get(name, '')}"
    hint = _WINDOWS_HINTS.get(code & 0xFFFFFFFF)
    if hint is not None:
        return f"ended with code 0x{code & 0xFFFFFFFF:08X}, {hint}"
    if code == TERMINATED:
        return "was terminated"
    return f"ended with exit code {code}"


_SIGNAL_HINTS = {
    "SIGKILL": ", for instance because memory ran out",
    "SIGSEGV": ": native code (a driver, a library) used memory that is not its own",
    "SIGBUS": ": native code could not reach memory, for instance because the disk or /dev/shm is full",
    "SIGABRT": ": native code gave up; what it printed may say why",
    "SIGILL": ": native code used an instruction that this processor does not have",
    "SIGFPE": ": native code divided by zero",
}
_WINDOWS_HINTS = {
    0xC0000005: "an access violation: native code (a driver, a library) used memory that is not its own",
    0xC0000017: "out of memory",
    0xC00000FD: "a stack overflow",
    0xC0000135: "a missing DLL",
    0xC000013A: "Ctrl-C or the closing of the console",
    0xC0000142: "a DLL that could not be initialised",
    0xC0000409: "native code gave up; what it printed may say why",
}
"""From ntstatus.h."""


def _environment(threads: int | None) -> dict[str, str]:
    """The daemon's environment; the number of threads is there before any library is loaded."""
    environment = dict(os.environ)
    if threads is not None:
        environment.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    return environment


def _creation_flags(low_priority: bool) -> int:
    if sys.platform == "win32":
        priority = subprocess.BELOW_NORMAL_PRIORITY_CLASS if low_priority else 0
        return subprocess.CREATE_NEW_PROCESS_GROUP | priority
    return 0


if sys.platform == "win32":

    def _job(process: subprocess.Popen[bytes]) -> Job | None:
        """A job for the process; None where Windows allows none, which leaves end-of-file to do its work."""
        from tmrld.engines.windows_job import Job

        with contextlib.suppress(OSError):
            return Job(int(process._handle))  # type: ignore[attr-defined]
        return None

else:

    def _kill_group(leader: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody but the dead leader is in it
            os.killpg(leader, signal.SIGKILL)
