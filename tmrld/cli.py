"""The command line: commands and flags; loads the settings and hands them on.

Errors of ours are printed as their sentence alone and end with status 2 (bad input) or 1; Ctrl-C ends with 130.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib.util
import json
import logging
import os
import signal
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import TYPE_CHECKING

import psutil

from tmrld import __version__, logs
from tmrld.commands import (
    checkpoints,
    creating,
    demonstrations,
    doctor,
    environments,
    evaluating,
    importing,
    invites,
    joining,
    nodes,
    runs,
    standin,
    storage,
    tokens,
    trackmania,
    tracks,
    weights,
)
from tmrld.commands.flags import add_profile_flag, add_settings_flags, load_settings
from tmrld.errors import BadInput, DiskFull, Refused, TmrldError
from tmrld.printable import printable
from tmrld.settings import Settings, example, load

if TYPE_CHECKING:
    from tmrld.daemon import Daemon
    from tmrld.progress import Progress, Until
    from tmrld.terminal import Display

log = logging.getLogger(__name__)

EXTRAS = {"gymnasium": "worker", "rtgym": "worker", "PIL": "worker", "av": "view", "torch": "trainer", "numba": "trainer"}
"""Which of our extras brings a package that not every role needs."""
RETRY_FULL_DISK_S = 2.0
"""How long a daemon waits that finds no room for what it has to write when it starts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    began = _process_start()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(
            errors="replace"
        )  # a file or a pipe of Windows takes no letters but its code page's: no ✓, no name
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options, began)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has gone; what is buffered must not be tried again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("tmrld: the output cannot be written: there is no space left where it goes", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name or "")
        if extra is None:
            raise
        print(f"tmrld: this needs {error.name}, which is not installed here: pip install 'tmrld[{extra}]'", file=sys.stderr)
        return 1
    except TmrldError as error:
        print(f"tmrld: {printable(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, BadInput | Refused) else 1
    return status


def _process_start() -> float:
    """When this process began, in monotonic seconds: what was spent on starting Python and importing counts, too."""
    return time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tmrld",
        description="Train an AI to control something in real time: TrackMania 2020, robots, any real-time program.",
    )
    parser.add_argument("--version", action="version", version=f"tmrld {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="relay, trainer and worker in one daemon, driving the embedded simulator")
    add_settings_flags(up)
    add_profile_flag(up)
    up.add_argument("--headless", action="store_true", help="plain lines instead of a live display")
    up.add_argument("--no-browser", action="store_true", help="do not open the page")
    up.add_argument("--until", metavar="WHEN", help="stop by itself: first-lap, updates=N or minutes=N")
    up.add_argument("--json", action="store_true", help="print a summary as one JSON object on the last line")
    up.set_defaults(command=_up)

    serve = commands.add_parser("serve", help="one daemon with the roles that flags or settings name")
    add_settings_flags(serve)
    add_profile_flag(serve)
    serve.add_argument("--role", action="append", choices=("relay", "trainer", "worker"), help="repeat it for several roles")
    serve.set_defaults(command=_serve)

    join = commands.add_parser("join", help="make this machine a node of a relay, with an invite from there")
    joining.add_flags(join)
    join.set_defaults(command=_join)

    doctor.add(commands)
    nodes.add(commands)
    tokens.add(commands)
    invites.add(commands)
    runs.add(commands)
    weights.add(commands)
    checkpoints.add(commands)
    demonstrations.add(commands)
    storage.add(commands)
    environments.add(commands)
    evaluating.add(commands)
    creating.add(commands)
    tracks.add(commands)
    importing.add(commands)
    standin.add(commands)
    trackmania.add(commands)

    settings = commands.add_parser("settings", help="print every setting with its default, as a tmrld.toml")
    settings.set_defaults(command=_settings)
    return parser


# up and serve


def _up(options: argparse.Namespace, began: float) -> int:
    from tmrld.progress import Until
    from tmrld.terminal import Display

    until = None if options.until is None else Until.parse(options.until)
    settings = load_settings(options, roles=("relay", "trainer", "worker"))
    _check_importable(settings.run.environment.id)
    logs.set_up(settings.log_level, quiet=True)
    live = not options.headless and sys.stdout.isatty()
    opens = live and not options.no_browser and _has_display()
    progress = asyncio.run(_watch(settings, began, until, Display(live=live), opens=opens))
    if options.json:
        print(json.dumps(progress.summary()), flush=True)
    return 0


def _check_importable(environment: str) -> None:
    """Raises BadInput for a ``module:attribute`` whose module is not here: this daemon's own worker could never drive it."""
    module, colon, _ = environment.partition(":")
    try:
        known = not colon or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        known = False
    if not known:
        raise BadInput(
            f"run.environment.id = {environment!r} cannot be used here: there is no module {module!r} to import; install it, or "
            "start tmrld in the folder where it is (`python -m tmrld up`)"
        )


def _has_display() -> bool:
    """Whether a browser could show something."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


async def _watch(settings: Settings, began: float, until: Until | None, display: Display, *, opens: bool = False) -> Progress:
    """Run the daemon with all roles, feed the display, and stop when ``until`` is reached or a signal comes."""
    from tmrld.daemon import Daemon
    from tmrld.progress import TOPICS, Progress

    progress = Progress(began)
    async with Daemon(settings) as daemon:
        with daemon.feed.subscribe(TOPICS, capacity=10_000) as events, display, _stopping_on_signals(daemon.stop):
            display.greet(daemon.addresses, settings.data, daemon.notice)
            if opens:
                asyncio.get_running_loop().run_in_executor(None, webbrowser.open, daemon.addresses["page"])
            ended = asyncio.create_task(daemon.wait())
            try:
                while not ended.done() and not (until and until.reached(progress)):
                    try:
                        async with asyncio.timeout(display.interval_s):
                            progress.take(await events.get())
                    except TimeoutError:
                        pass
                    display.update(progress)
            finally:
                display.update(progress, last=True)
                ended.cancel()
            if ended.done() and not ended.cancelled():
                ended.result()
    return progress


def _serve(options: argparse.Namespace, _began: float) -> int:
    settings = load_settings(options, roles=tuple(options.role) if options.role else None)
    logs.set_up(settings.log_level)
    asyncio.run(_serve_until_stopped(settings))
    return 0


def _join(options: argparse.Namespace, _began: float) -> int:
    logs.set_up("warning", quiet=True)
    path = joining.run(options)
    if options.no_start:
        return 0
    settings = load(path)
    logs.set_up(settings.log_level)
    asyncio.run(_serve_until_stopped(settings))
    return 0


async def _serve_until_stopped(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        daemon = await _started(settings, stack)
        with _stopping_on_signals(daemon.stop):
            for what, where in daemon.addresses.items():
                print(f"{what}: {where}", flush=True)
            await daemon.wait()


async def _started(settings: Settings, stack: AsyncExitStack) -> Daemon:
    """A daemon that ends with ``stack``.  A full disk is waited for: nobody may be there who would start it again."""
    from tmrld.daemon import Daemon

    told = ""
    while True:
        try:
            return await stack.enter_async_context(Daemon(settings))
        except DiskFull as error:
            if str(error) != told:
                told = str(error)
                log.error("%s  This daemon starts as soon as there is room.", told)
        await asyncio.sleep(RETRY_FULL_DISK_S)


@contextmanager
def _stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or closed terminal calls ``stop`` in the running loop; the second ends the process at once.

    Plain signal handlers, since Windows' event loop knows no others.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        loop.call_soon_threadsafe(stop)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    elif signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settings(_options: argparse.Namespace, _began: float) -> int:
    print(example(), end="")
    return 0
