"""Real child processes; every test ends with none left."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.engine_targets import chunk
from tests.support.processes import await_end
from tmrld.engines.options import EngineOptions
from tmrld.engines.supervisor import Engine, EngineEvent
from tmrld.errors import BadInput, EngineError
from tmrld.protocol.messages import ChunkMessage, Command, LogLines, Message, Result, Status

PATIENCE_S = 60.0
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and priorities as POSIX has them")
NO_DELAY = EngineOptions(backoff_first_s=0.0)


class Role:
    """What a daemon's role is to its engine: it keeps what the engine says."""

    def __init__(
        self,
        target: str,
        arguments: dict[str, Any] | Callable[[], dict[str, Any]] | None = None,
        options: EngineOptions = NO_DELAY,
        on_start: Callable[[Engine], Awaitable[None]] | None = None,
    ) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self.starts = 0
        self._on_start = on_start
        self.engine = Engine(
            "test",
            f"tests.support.engine_targets:{target}",
            arguments or {},
            on_message=self.messages.put,
            on_start=self._started,
            on_event=self.events.put_nowait,
            options=options,
        )

    async def _started(self) -> None:
        self.starts += 1
        if self._on_start is not None:
            await self._on_start(self.engine)

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The next message that is wanted; those before it are thrown away."""
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(message := await self.messages.get()):
                pass
            return message

    async def status(self, state: str) -> Status:
        message = await self.until(lambda message: isinstance(message, Status) and message.state == state)
        assert isinstance(message, Status)
        return message

    async def event(self, kind: str) -> EngineEvent:
        async with asyncio.timeout(PATIENCE_S):
            while (event := await self.events.get()).kind != kind:
                pass
            return event

    async def echo(self, message: Message) -> Message:
        assert await self.engine.send(message)
        answer: Message = await self.until(lambda answer: type(answer) is type(message))
        return answer


def supervise(role_of: Callable[[], Role], test: Callable[[Role], Awaitable[None]]) -> None:
    async def run() -> None:
        role = role_of()
        await role.engine.start()
        try:
            await test(role)
        finally:
            await role.engine.stop(timeout_s=10.0)
        assert role.engine.pid is None
        assert role.engine.state == "stopped"

    asyncio.run(run())


def test_an_engine_answers_and_stops_when_asked() -> None:
    async def test(role: Role) -> None:
        assert (await role.status("ready")).values == {"speed": [1, 2.5, None, "fast"]}
        assert role.engine.state == "running"
        assert await role.echo(Result(7, value={"x": 1.5})) == Result(7, value={"x": 1.5})
        pid = role.engine.pid
        assert pid is not None
        await role.engine.stop()
        await role.status("farewell")
        event = await role.event("stopped")
        assert (event.exit_code, event.text) == (0, "the engine test has stopped as asked")
        await_end(pid, 0.0)
        await role.engine.stop()
        assert not await role.engine.send(Result(1))

    supervise(lambda: Role("echo", {"speed": [1, 2.5, None, "fast"]}), test)


def test_a_stopped_engine_can_be_started_again() -> None:
    async def test(role: Role) -> None:
        await role.status("ready")
        await role.engine.stop()
        await role.engine.start()
        await role.status("ready")
        await role.engine.start()
        assert role.starts == 2

    supervise(lambda: Role("echo"), test)


def test_a_restart_is_a_new_process_with_new_arguments_that_is_told_everything_again() -> None:
    lives = iter(range(100))

    async def brief(engine: Engine) -> None:
        await engine.send(Result(1234))

    async def test(role: Role) -> None:
        first = await role.status("ready")
        await role.until(lambda message: message == Result(1234))
        pid = role.engine.pid
        await role.engine.restart()
        assert role.engine.pid not in (None, pid)
        second = await role.status("ready")
        await role.until(lambda message: message == Result(1234))
        assert (first.values["life"], second.values["life"]) == (0, 1)
        assert role.starts == 2

    supervise(lambda: Role("echo", lambda: {"life": next(lives)}, on_start=brief), test)


def test_a_crash_is_reported_with_its_traceback_and_followed_by_another_start() -> None:
    async def test(role: Role) -> None:
        events = [await role.event("crashed") for _ in range(3)]
        assert [event.crashes for event in events] == [1, 2, 3]
        assert events[0].text == "the engine test has crashed: ValueError: the wheel came off; it is started again in 0 s"
        assert events[0].exit_code == 1
        assert 'raise ValueError(arguments.get("why"' in events[0].traceback
        assert (await role.status("failed")).detail == "ValueError: the wheel came off"

    supervise(lambda: Role("fail"), test)


def test_repeated_crashes_are_answered_with_growing_patience() -> None:
    options = EngineOptions(backoff_first_s=0.01, backoff_cap_s=0.02)

    async def test(role: Role) -> None:
        assert [(await role.event("crashed")).restart_in_s for _ in range(4)] == [0.01, 0.02, 0.02, 0.02]

    supervise(lambda: Role("fail", options=options), test)


def test_a_wait_after_a_crash_ends_with_a_restart_or_a_stop() -> None:
    options = EngineOptions(backoff_first_s=60.0, backoff_cap_s=600.0)

    async def test(role: Role) -> None:
        await role.event("crashed")
        assert role.engine.state == "waiting"
        assert not await role.engine.send(Result(1))
        await role.engine.restart()
        await role.event("crashed")

    supervise(lambda: Role("fail", options=options), test)


def test_one_job_that_fails_is_not_repeated() -> None:
    async def test(role: Role) -> None:
        with pytest.raises(EngineError, match="the wheel came off"):
            await role.engine.wait()
        assert (await role.event("crashed")).restart_in_s is None

    supervise(lambda: Role("fail", options=EngineOptions(restart_on_crash=False)), test)


def test_an_engine_that_returns_has_finished() -> None:
    async def test(role: Role) -> None:
        await role.engine.wait()
        assert (await role.event("finished")).exit_code == 0

    supervise(lambda: Role("finish"), test)


def test_a_failure_of_many_words_is_cut() -> None:
    async def test(role: Role) -> None:
        event = await role.event("crashed")
        assert len(event.traceback) < 40_000
        assert "\n…\n" in event.traceback

    supervise(lambda: Role("fail", {"why": "long \N{AUTOMOBILE} " * 20_000}), test)


def test_an_engine_that_does_not_exist_is_named() -> None:
    async def test(role: Role) -> None:
        event = await role.event("crashed")
        assert "the module tests.support.engine_targets has no 'no_such_engine'" in event.text

    supervise(lambda: Role("no_such_engine"), test)


def test_arguments_that_are_no_plain_values_are_refused() -> None:
    async def run() -> None:
        role = Role("echo", {"where": object()})
        with pytest.raises(BadInput, match=r"command.arguments"):
            await role.engine.start()
        await role.engine.stop()

    asyncio.run(run())


@posix
def test_a_killed_engine_comes_back() -> None:
    async def test(role: Role) -> None:
        await role.status("ready")
        assert role.engine.pid is not None
        os.kill(role.engine.pid, signal.SIGKILL)
        event = await role.event("crashed")
        assert event.text.startswith(
            "the engine test has crashed: it was killed by SIGKILL, for instance because memory ran out"
        )
        assert event.exit_code == -signal.SIGKILL
        await role.status("ready")

    supervise(lambda: Role("echo"), test)


def test_an_engine_that_leaves_without_a_word_has_crashed() -> None:
    async def test(role: Role) -> None:
        assert "ended with exit code 7" in (await role.event("crashed")).text

    supervise(lambda: Role("leave", {"code": 7}), test)


def test_an_engine_whose_loop_stands_still_is_killed_and_started_again_even_if_it_goes_on_logging() -> None:
    options = EngineOptions(hang_timeout_s=0.5, backoff_first_s=0.0)

    async def test(role: Role) -> None:
        await role.status("ready")
        event = await role.event("hung")
        assert event.text.startswith("the engine test gave no sign of life for 0.5 s, and was killed")
        await role.status("ready")
        await role.engine.stop(timeout_s=0.1)

    supervise(lambda: Role("hang", options=options), test)


def test_an_engine_with_nothing_to_do_is_not_taken_for_a_hung_one() -> None:
    options = EngineOptions(hang_timeout_s=0.5, beat_s=0.05)

    async def test(role: Role) -> None:
        await role.status("ready")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await role.engine.wait()
        assert await role.echo(Result(1)) == Result(1)
        assert role.starts == 1

    supervise(lambda: Role("echo", options=options), test)


def test_an_announced_silence_is_borne() -> None:
    options = EngineOptions(hang_timeout_s=0.3, beat_s=0.05)

    async def test(role: Role) -> None:
        await role.status("ready")
        assert role.starts == 1

    supervise(lambda: Role("be_quiet", {"silence_s": 1.0}, options), test)


def test_an_engine_is_not_blamed_for_the_slowness_of_its_daemon() -> None:
    options = EngineOptions(hang_timeout_s=0.2, beat_s=0.05)
    release = asyncio.Event()

    async def run() -> None:
        taken: asyncio.Queue[Message] = asyncio.Queue()

        async def take(message: Message) -> None:
            with_delay = isinstance(message, Status)
            if with_delay:
                await release.wait()
            await taken.put(message)

        engine = Engine("test", "tests.support.engine_targets:echo", {}, take, options=options)
        await engine.start()
        pid = engine.pid
        asyncio.get_running_loop().call_later(0.8, release.set)
        async with asyncio.timeout(PATIENCE_S):
            await taken.get()
            await engine.send(Result(1))
            assert await taken.get() == Result(1)
        assert engine.pid == pid
        await engine.stop()

    asyncio.run(run())


@posix
def test_a_stubborn_engine_is_killed_after_it_was_asked() -> None:
    options = EngineOptions(terminate_timeout_s=0.1)

    async def test(role: Role) -> None:
        await role.status("ready")
        await role.engine.stop(timeout_s=0.1)
        event = await role.event("stopped")
        assert event.exit_code == -signal.SIGKILL
        assert event.text == "the engine test was asked to stop, did not in time, and was ended by force"

    supervise(lambda: Role("stubborn", options=options), test)


@posix
def test_a_busy_engine_is_terminated_so_that_it_can_clean_up() -> None:
    async def test(role: Role) -> None:
        await role.status("ready")
        await role.engine.stop(timeout_s=0.1)
        await role.status("cleaned up")
        assert (await role.event("stopped")).exit_code == 143

    supervise(lambda: Role("busy", options=EngineOptions(terminate_timeout_s=30.0)), test)


@posix
def test_a_second_stop_may_be_less_patient_than_the_first() -> None:
    async def test(role: Role) -> None:
        await role.status("ready")
        patient = asyncio.create_task(role.engine.stop(timeout_s=600.0))
        await asyncio.sleep(0)
        await role.engine.stop(timeout_s=0.0)
        await patient
        assert (await role.event("stopped")).exit_code == -signal.SIGKILL

    supervise(lambda: Role("stubborn"), test)


def test_an_engine_whose_threads_do_not_end_is_killed() -> None:
    async def test(role: Role) -> None:
        assert "has closed its pipe, did not end within 5 s" in (await role.event("crashed")).text
        await role.engine.stop(timeout_s=0.0)

    supervise(lambda: Role("linger", options=EngineOptions(backoff_first_s=60.0)), test)


@posix
@pytest.mark.parametrize("crash", [False, True])
def test_what_an_engine_has_started_ends_with_it(crash: bool) -> None:
    options = EngineOptions(backoff_first_s=60.0)

    async def test(role: Role) -> None:
        pids = (await role.status("ready")).values["pids"]
        if crash:
            assert (await role.event("crashed")).exit_code == 3
        else:
            await role.engine.stop()
        for pid in pids:
            await_end(pid, PATIENCE_S)

    supervise(lambda: Role("multiply", {"crash": crash}, options), test)


@posix
def test_the_console_does_not_reach_an_engine() -> None:
    async def test(role: Role) -> None:
        await role.status("ready")
        assert role.engine.pid is not None
        group = os.getpgid(role.engine.pid)
        assert group != os.getpgrp()
        os.killpg(group, signal.SIGINT)
        assert await role.echo(Result(1)) == Result(1)
        await role.engine.stop()
        assert (await role.event("stopped")).exit_code == 0

    supervise(lambda: Role("echo"), test)


def test_a_policy_of_a_hundred_megabytes_goes_there_and_back() -> None:
    async def test(role: Role) -> None:
        large = ChunkMessage(**(vars(chunk(1, b"")) | {"payload": os.urandom(1 << 20) * 60}))
        assert await role.echo(large) == large

    supervise(lambda: Role("echo"), test)


def test_an_engine_is_held_up_by_a_daemon_that_does_not_listen() -> None:
    async def run() -> None:
        listen = asyncio.Event()
        taken: asyncio.Queue[Message] = asyncio.Queue()

        async def take(message: Message) -> None:
            await listen.wait()
            await taken.put(message)

        engine = Engine("test", "tests.support.engine_targets:flood", {"bytes": 1 << 20}, take)
        await engine.start()
        asyncio.get_running_loop().call_later(2.0, listen.set)
        received = 0
        async with asyncio.timeout(PATIENCE_S):
            while isinstance(message := await taken.get(), ChunkMessage):
                assert message.number == received
                received += 1
        assert message == Result(received), "all that was accepted arrives, in order"
        assert 64 <= received <= 150, "two queues of 64 MB, the pipe, and what is in hand"
        await engine.stop()

    asyncio.run(run())


def test_what_an_engine_prints_logs_and_warns_about_arrives_as_log_lines() -> None:
    async def test(role: Role) -> None:
        lines = []
        while not isinstance(message := await role.until(lambda message: True), Status):
            assert isinstance(message, LogLines)
            assert message.source == "test"
            lines.extend(message.lines)
        assert message.values == {"stdin": ""}
        assert [line[1:3] for line in lines] == [
            ["INFO", "tests.engine"],
            ["WARNING", "py.warnings"],
            ["ERROR", "tmrld.engines.entry"],
        ]
        assert lines[0][3] == "one line"
        assert "UserWarning: a warning" in lines[1][3]
        assert "the thread 'divider' of the engine failed" in lines[2][3]
        assert "ZeroDivisionError" in lines[2][3]

    supervise(lambda: Role("speak"), test)


@posix
def test_an_engine_gets_its_share_of_the_machine_and_loads_no_more_than_it_needs() -> None:
    async def test(role: Role) -> None:
        values = (await role.status("described")).values
        assert values["threads"] == "3"
        assert values["niceness"] == os.nice(0) + 10
        assert values["argv"] == ["tmrld engine test"]
        assert values["modules"] == ["multiprocessing"], "the engines of these tests import it"
        assert "pytest" not in values["main"]

    supervise(lambda: Role("describe", options=EngineOptions(threads=3, priority="low")), test)


def test_a_callback_that_fails_ends_the_engine_and_tells_whoever_waits(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async def take(message: Message) -> None:
            raise KeyError("a fault of the daemon")

        engine = Engine("test", "tests.support.engine_targets:echo", {}, take)
        await engine.start()
        pid = engine.pid
        assert pid is not None
        with pytest.raises(KeyError, match="a fault of the daemon"):
            await engine.wait()
        await_end(pid, 0.0)
        await engine.stop()

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "the engine test is given up" in caplog.text


def test_a_callback_that_never_returns_does_not_hold_up_a_stop(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        called = asyncio.Event()

        async def take(message: Message) -> None:
            called.set()
            await asyncio.Event().wait()

        engine = Engine("test", "tests.support.engine_targets:echo", {}, take)
        await engine.start()
        async with asyncio.timeout(PATIENCE_S):
            await called.wait()
            await engine.stop()

    asyncio.run(run())
    assert "the last messages of the engine test are lost" in caplog.text


def test_a_callback_may_ask_for_the_end() -> None:
    async def run() -> None:
        async def take(message: Message) -> None:
            await engine.stop()

        engine = Engine("test", "tests.support.engine_targets:echo", {}, take)
        await engine.start()
        async with asyncio.timeout(PATIENCE_S):
            await engine.wait()
        assert engine.pid is None

    asyncio.run(run())


def test_an_engine_that_sends_nonsense_is_killed() -> None:
    async def test(role: Role) -> None:
        assert "said what is no message" in (await role.event("crashed")).text

    supervise(lambda: Role("babble"), test)


def test_a_cancelled_daemon_leaves_no_process() -> None:
    pids: list[int] = []

    async def run() -> None:
        role = Role("stubborn")
        await role.engine.start()
        await role.status("ready")
        assert role.engine.pid is not None
        pids.append(role.engine.pid)

    asyncio.run(run())
    await_end(pids[0], 0.0)


def test_commands_reach_the_engine_in_order_from_many_senders() -> None:
    async def test(role: Role) -> None:
        await role.status("ready")
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(role.engine.send(Command(number, "x")))
        assert [(await role.until(lambda message: isinstance(message, Command))).id for _ in range(200)] == list(range(200))

    supervise(lambda: Role("echo"), test)
