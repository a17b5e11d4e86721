"""The ports of the stand-in: one client hears records, callers are counted, and nothing ever waits."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tmrld.envs.standin.ports import HOST, ReplayPort, TelemetryPort
from tmrld.envs.trackmania.telemetry import RECORD_BYTES
from tmrld.errors import Conflict

PATIENCE_S = 30.0


@pytest.fixture
def port() -> Iterator[TelemetryPort]:
    port = TelemetryPort(0)
    yield port
    port.close()


def record(number: int) -> bytes:
    return bytes([number]) * RECORD_BYTES


def call(port: TelemetryPort | ReplayPort) -> socket.socket:
    return socket.create_connection((HOST, port.port), PATIENCE_S)


def read(client: socket.socket, count: int = 1) -> bytes:
    data = b""
    while len(data) < count * RECORD_BYTES:
        data += client.recv(count * RECORD_BYTES - len(data))
    return data


def until(condition: Callable[[], bool]) -> None:
    """Try again until it holds: what one socket does, the other learns a moment later."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline


def is_cut_off(client: socket.socket) -> bool:
    """Whether the other side has hung up, with nothing left to read."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_nobody_needs_to_listen(port: TelemetryPort) -> None:
    port.send(record(1))


def test_a_client_hears_every_record_from_its_call_on(port: TelemetryPort) -> None:
    port.send(record(1))
    with call(port) as client:
        port.send(record(2))
        port.send(record(3))
        assert read(client, 2) == record(2) + record(3)


def test_a_second_client_hears_nothing_and_is_cut_off_when_the_first_has_gone(port: TelemetryPort) -> None:
    with call(port) as first:
        port.send(record(1))
        with call(port) as second:
            for number in range(2, 12):
                port.send(record(number))
            assert read(first, 11) == b"".join(record(number) for number in range(1, 12))
            assert not is_cut_off(second)
            first.close()

            def sent_and_cut_off() -> bool:
                port.send(record(99))
                return is_cut_off(second)

            until(sent_and_cut_off)
    port.send(record(50))  # listens again
    with call(port) as third:
        port.send(record(51))
        assert read(third) == record(51)


def test_a_client_that_does_not_read_is_one_to_which_a_write_fails(port: TelemetryPort) -> None:
    with closing(socket.socket()) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect((HOST, port.port))
        with call(port) as second:

            def sent_and_cut_off() -> bool:
                port.send(record(7))
                return is_cut_off(second)

            until(sent_and_cut_off)  # the first was let go of, and with it whoever waited


def test_a_port_that_is_taken_while_it_hangs_up_is_tried_again_every_frame(port: TelemetryPort) -> None:
    number = port.port
    port.close()
    with closing(socket.socket()) as other:
        other.bind((HOST, number))
        other.listen()
        port.send(record(1))
    port.send(record(2))
    with call(port) as client:
        port.send(record(3))
        assert read(client) == record(3)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (TelemetryPort, "on which telemetry is sent, is taken: another game or stand-in is running? .* with --telemetry-port"),
        (ReplayPort, "on which replays are asked for, is taken: another game or stand-in is running? .* with --replay-port"),
    ],
)
def test_a_port_that_is_taken_is_refused(kind: Callable[[int], TelemetryPort | ReplayPort], told: str) -> None:
    with closing(kind(0)) as first, pytest.raises(Conflict, match=told.replace("?", r"\?")):
        kind(first.port)


def test_a_port_can_be_had_again_at_once() -> None:
    first = TelemetryPort(0)
    with call(first) as client:
        first.send(record(1))
        read(client)
        first.close()
    with closing(TelemetryPort(first.port)) as second:
        assert second.port == first.port


def test_callers_for_replays_are_counted_once() -> None:
    with closing(ReplayPort(0)) as replays:
        assert replays.calls() == 0
        for _ in range(3):
            call(replays).close()
        counted = 0

        def all_counted() -> bool:
            nonlocal counted
            counted += replays.calls()
            return counted == 3

        until(all_counted)
        assert replays.calls() == 0


def test_who_calls_for_a_replay_is_hung_up_on() -> None:
    with closing(ReplayPort(0)) as replays, call(replays) as caller:
        until(lambda: replays.calls() == 1)
        assert caller.recv(1) == b""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit how many files a program has open")
def test_a_caller_that_cannot_be_taken_now_is_counted_later() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(ReplayPort(0)) as replays, call(replays), socket.socket() as last:
        lowest = os.dup(last.fileno())
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                socket.socket()
            assert replays.calls() == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        until(lambda: replays.calls() == 1)
