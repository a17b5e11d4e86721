"""Keeps an engine process running: starts it, carries messages, notices its end or its silence, starts it again.

::

    engine = Engine("worker", "tmrld.worker.engine:run", arguments, on_message=self._take, on_start=self._brief, on_event=self._show)
    await engine.start()
    await engine.send(Assign(...))
    await engine.stop()

A new process knows nothing, so ``on_start`` is called after every start and tells it whatever it has to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tmrld.engines.backoff import Backoff
from tmrld.engines.child import Child
from tmrld.engines.life import EngineEvent, Fault, Life
from tmrld.engines.options import EngineOptions
from tmrld.engines.pipe import ALIVE
from tmrld.errors import EngineError, LinkLost, ProtocolError
from tmrld.protocol.codec import decode, encode
from tmrld.protocol.messages import Command, Message, Status

__all__ = ["STOP", "Engine", "EngineEvent"]

log = logging.getLogger(__name__)

STOP = Command(0, "stop")
"""What an engine is told when it shall end; its function then returns."""

_EOF_GRACE_S = 5.0
"""How long a process may live after it has closed its pipe."""
_KILL_GRACE_S = 30.0
"""How long a killed process may take to be gone."""
_SLICES = 12
"""Silence is counted in that many pieces, each for no more than its length: a suspended machine does not pass for a hung engine."""


class Engine:
    """One supervised engine.  All methods belong to one event loop.

    ``target`` is "module:attribute" of an `entry.EngineFunction`; ``arguments`` are plain values of at most 256 KiB,
    or a function that is called for them before each start.
    ``on_message`` gets every message of the engine except heartbeats, in order; while it does not return, the engine is held up
    by back-pressure.  ``on_start`` is called after each start and may `send`.  ``on_event`` must not block.
    An exception in ``on_message`` or ``on_start`` is a fault of the daemon: the engine is killed, and `wait` raises it.
    """

    def __init__(
        self,
        name: str,
        target: str,
        arguments: dict[str, Any] | Callable[[], dict[str, Any]],
        on_message: Callable[[Message], Awaitable[None]],
        on_start: Callable[[], Awaitable[None]] | None = None,
        on_event: Callable[[EngineEvent], None] | None = None,
        options: EngineOptions | None = None,
    ) -> None:
        self.name = name
        self.state = "stopped"
        """"stopped", "starting" (no sign of life yet), "running", "stopping", or "waiting" (for the restart after a crash)."""
        self.dropped = 0
        """Metrics, status and log messages that its processes have left out, because this daemon was too slow."""
        self._target = target
        self._arguments = arguments
        self._on_message = on_message
        self._on_start = on_start
        self._on_event = on_event
        self._options = options or EngineOptions()
        self._task: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._inner: set[asyncio.Task[None]] = set()
        self._asked = asyncio.Event()
        self._stopping = False
        self._patience_s = 0.0
        self._started = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Start the process and keep it running; returns as soon as there is one.  Does nothing while it is being kept running.

        A process that cannot even be made counts as a crash.  Raises BadInput when the arguments cannot be handed over.
        """
        if self._task is None or self._task.done():
            self._stopping = False
            self._asked.clear()
            self._started.clear()
            self._task = asyncio.create_task(self._supervise(), name=f"engine {self.name}")
            self._task.add_done_callback(_note_failure)
        await self._reach(self._started)

    async def send(self, message: Message) -> bool:
        """Send to the engine; waits while it does not read.

        False when there is no process to take it: it will be started again, and ``on_start`` then tells it what matters.
        """
        child = self._child
        if child is None:
            return False
        try:
            await child.channel.send(encode(message))
        except LinkLost:
            return False
        return True

    async def stop(self, timeout_s: float | None = None) -> None:
        """Ask the engine to end, wait ``timeout_s`` (default: options), terminate it, kill it; then it is gone, with all its own.

        Messages that it sends meanwhile still reach ``on_message``.  May be called at any time and again, with a ``timeout_s`` that
        cuts the first one short; from within a callback of this engine it only asks.  Cancelling it does not call the stop off.
        """
        if self._stopping and self._child is not None and timeout_s is not None:
            asyncio.get_running_loop().call_later(timeout_s, self._child.kill)
        self._patience_s = self._options.stop_timeout_s if timeout_s is None else timeout_s
        self._stopping = True
        self._asked.set()
        task = self._task
        if task is not None and asyncio.current_task() not in self._inner:
            await asyncio.wait({task})

    async def restart(self, timeout_s: float | None = None) -> None:
        """Stop the process as `stop` does and start a new one; returns when there is one.  Ends a wait after a crash at once.

        From within a callback of this engine it only asks.  Starts an engine that was stopped.
        """
        if self._task is None or self._task.done() or self._stopping:
            await self.stop(timeout_s)
            await self.start()
            return
        self._patience_s = self._options.stop_timeout_s if timeout_s is None else timeout_s
        self._started.clear()
        self._asked.set()
        if asyncio.current_task() not in self._inner:
            await self._reach(self._started)

    async def wait(self) -> None:
        """Wait until the engine is stopped or finished.  Put it into a TaskGroup to learn what went wrong.

        Raises what a callback raised, or EngineError after a crash with ``restart_on_crash`` off.  Cancelling it only ends the wait.
        """
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _reach(self, event: asyncio.Event) -> None:
        """Wait for the event or for the end of the supervision, whichever comes first; raises what ended the latter."""
        assert self._task is not None
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not event.is_set():
            await asyncio.shield(self._task)

    async def _supervise(self) -> None:
        """Task: one life after another until somebody asks for the end."""
        backoff = Backoff(self._options.backoff_first_s, self._options.backoff_cap_s, self._options.healthy_s)
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping:
                self._asked.clear()
                began = loop.time()
                end = await self._live()
                if end.kind == "finished" and not self._asked.is_set():
                    self._tell(end)
                    return
                if end.kind in ("stopped", "finished"):
                    self._tell(end)
                    continue
                if not self._options.restart_on_crash:
                    self._tell(end)
                    raise EngineError(f"{end.text}\n{end.traceback}".strip())
                delay_s = backoff.after(loop.time() - began)
                self.state = "waiting"
                text = f"{end.text}; it is started again in {delay_s:g} s"
                self._tell(replace(end, text=text, crashes=backoff.crashes, restart_in_s=delay_s))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), delay_s)
        except EngineError:
            raise
        except Exception:
            log.exception("the engine %s is given up: its daemon could not deal with it", self.name)
            raise
        finally:
            self.state = "stopped"

    async def _live(self) -> EngineEvent:
        """One process from start to end; returns how it ended.  Whatever happens, it is gone when this returns or raises."""
        self.state = "starting"
        arguments = self._arguments() if callable(self._arguments) else self._arguments
        try:
            child = Child(self.name, self._target, arguments, self._options)
        except OSError as error:
            self._started.set()
            return EngineEvent(self.name, "crashed", f"the engine {self.name} could not be started: {error}", 0)
        life = Life(self.name, child.pid)
        pump = asyncio.create_task(self._pump(child, life))
        brief = asyncio.create_task(self._brief(child))
        ended = asyncio.create_task(child.ended())
        self._inner = {pump, brief}
        try:
            self._started.set()
            self._tell(
                EngineEvent(self.name, "started", f"the engine {self.name} has started as process {child.pid}", child.pid)
            )
            await self._watch(child, life, pump, brief, ended)
            await self._end(child)
            await self._drain(life, pump)
        finally:
            self._child = None
            for task in (brief, pump, ended):
                task.cancel()
            try:
                await self._end(child)
            finally:
                await child.channel.close()
                await asyncio.wait({brief, pump})
                self._inner = set()
        for task in (brief, pump):
            failure = None if task.cancelled() else task.exception()
            if failure is not None and not isinstance(failure, Fault):
                raise failure
        return life.verdict(await child.ended())

    async def _watch(
        self,
        child: Child,
        life: Life,
        pump: asyncio.Task[None],
        brief: asyncio.Task[None],
        ended: asyncio.Task[int],
    ) -> None:
        """Return when the process has ended or must be killed."""
        asked = asyncio.create_task(self._asked.wait())
        try:
            done: set[asyncio.Task[Any]] = set()
            waiting: set[asyncio.Task[Any]] = {pump, brief, ended, asked}
            while not done & {pump, ended, asked} and not _failed(brief):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if asked in done and not ended.done() and not _failed(pump):
            await self._ask_to_end(child, life, pump, ended)
        elif pump.done() and not _failed(pump):
            await asyncio.wait({ended}, timeout=_EOF_GRACE_S)
            if not ended.done():
                life.fault = f"has closed its pipe, did not end within {_EOF_GRACE_S:g} s (a thread of it may still run)"

    async def _ask_to_end(self, child: Child, life: Life, pump: asyncio.Task[None], ended: asyncio.Task[int]) -> None:
        """Ask, wait (but not for one that hangs), terminate, wait; killing is left to the caller."""
        self.state = "stopping"
        life.asked = True
        asking = asyncio.create_task(self.send(STOP))
        try:
            await asyncio.wait({ended, pump}, timeout=self._patience_s, return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and not _failed(pump):
                await asyncio.wait({ended}, timeout=_EOF_GRACE_S)
        finally:
            asking.cancel()
        if not ended.done():
            life.forced = True
            child.terminate()
            await asyncio.wait({ended}, timeout=self._options.terminate_timeout_s)

    async def _end(self, child: Child) -> None:
        """Kill the process, unless it has ended, and wait until it is gone.  Raises EngineError if that does not help."""
        child.kill()
        try:
            async with asyncio.timeout(_KILL_GRACE_S):
                await child.ended()
        except TimeoutError:
            where = "it hangs in the operating system, probably in a driver; restart the machine"
            text = f"the engine {self.name} (process {child.pid}) cannot be killed: {where}"
            log.error("%s", text)
            raise EngineError(text) from None

    async def _brief(self, child: Child) -> None:
        """Task: tell a new process what it needs to know."""
        try:
            await child.instruct()
        except LinkLost:
            return  # it has ended already; the pump notices
        self._child = child  # not before: whatever others send must come after the order
        if self._on_start is not None:
            await self._on_start()

    async def _pump(self, child: Child, life: Life) -> None:
        """Task: hand on what the engine says until it closes its pipe.  Raises `Fault`, and whatever ``on_message`` raises."""
        while (message := await self._receive(child, life)) is not None:
            if self.state == "starting" and life.heard:
                self.state = "running"
            if isinstance(message, Status) and message.state == ALIVE:
                self._note_dropped(life, int(message.values["dropped"]))
                continue
            life.delivering = True
            await self._on_message(message)
            life.delivering = False

    def _note_dropped(self, life: Life, dropped: int) -> None:
        if dropped > life.dropped:
            number = dropped - life.dropped
            self.dropped += number
            log.warning(
                "the engine %s has left out %d metrics, status or log messages: its daemon is too slow", self.name, number
            )
            life.dropped = dropped

    async def _receive(self, child: Child, life: Life) -> Message | None:
        """The next message; None at end-of-file.  Raises `Fault` after too much silence or nonsense."""
        loop = asyncio.get_running_loop()
        while True:
            limit_s = life.patience_s(self._options)
            slice_s = None if limit_s is None else limit_s / _SLICES
            began = loop.time()
            try:
                async with asyncio.timeout(slice_s):
                    message = decode(await child.channel.recv())
            except LinkLost:
                return None
            except ProtocolError as error:
                life.fault = f"said what is no message: {error}"
                raise Fault from error
            except TimeoutError:
                message = None
            if slice_s is not None:
                life.silence_s += min(slice_s, loop.time() - began)
            if message is not None:
                life.hear(message)
            if limit_s is not None and life.silence_s >= 0.999 * limit_s:
                life.hung = True
                life.fault = f"gave no sign of life for {limit_s:g} s"
                raise Fault
            if message is not None:
                return message

    async def _drain(self, life: Life, pump: asyncio.Task[None]) -> None:
        """After the end of the process: deliver what it had said, for as long as ``on_message`` gets on with it.

        A callback that stands still is waited for, unless the engine is to stop.  A process that the engine started, and that has
        left its session, may still hold the pipe open; that one is not waited for.
        """
        while not pump.done():
            received = life.received
            await asyncio.wait({pump}, timeout=_EOF_GRACE_S)
            if pump.done() or life.received != received:
                continue
            if life.delivering and self._stopping:
                log.warning("the last messages of the engine %s are lost: its daemon did not take them", self.name)
                return
            if not life.delivering:
                return

    def _tell(self, event: EngineEvent) -> None:
        level = logging.INFO if event.kind in ("started", "stopped", "finished") else logging.ERROR
        log.log(level, "%s%s", event.text, f"\n{event.traceback}" if event.traceback else "")
        if self._on_event is not None:
            self._on_event(event)


def _note_failure(task: asyncio.Task[None]) -> None:
    """The failure was logged; asyncio need not complain when nobody waits."""
    if not task.cancelled():
        task.exception()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
