"""The plugin's records, and a receiver that talks to a plugin over a real connection, loses it, and says why nothing comes."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.trackmania import telemetry
from tmrld.envs.trackmania.telemetry import RECORD_BYTES, Receiver, Record, State, complaint, pack, parse
from tmrld.errors import GameError

PATIENCE_S = 30.0
STALL_S = 0.3
RECORD = Record(45.5, 1234.0, 500.0, 10.0, -250.5, 0.25, 1.0, 0.0, False, 3, 7500.0, 0.0)
NAMES = [field.name for field in fields(Record)][:-1]


def record(number: int) -> Record:
    """One that is told from others by its x."""
    return replace(RECORD, x=float(number))


class Plugin:
    """Listens as the plugin does: one client, and nothing is sent unless a test says so."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=5)
        self._listener.settimeout(PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]
        self._client: socket.socket | None = None

    def take(self) -> None:
        """Wait for the client."""
        self.drop()
        self._client, _ = self._listener.accept()
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        assert self._client is not None
        self._client.sendall(data)

    def drop(self, *, reset: bool = False) -> None:
        """Hang up on the client."""
        if self._client is not None:
            if reset:
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._client.close()
            self._client = None

    def close(self) -> None:
        self.drop()
        self._listener.close()


@pytest.fixture
def plugin() -> Iterator[Plugin]:
    plugin = Plugin()
    yield plugin
    plugin.close()


@contextlib.contextmanager
def listening(port: int, stall_s: float = PATIENCE_S, host: str = "127.0.0.1") -> Iterator[Receiver]:
    receiver = Receiver(host, port, stall_s)
    try:
        yield receiver
    finally:
        receiver.close()


def until_newest(receiver: Receiver, number: int) -> Record:
    """Wait until the record of that number is the newest."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(GameError):
            newest = receiver.newest()
            if newest.x == number:
                return newest
        assert time.monotonic() < deadline, f"record {number} has not come"
        time.sleep(0.005)


def until_it_says(receiver: Receiver, *parts: str) -> str:
    """Wait until the newest record is missing for a reason that has these parts; until then it must make sense."""
    deadline = time.monotonic() + PATIENCE_S
    said = "nothing was missing"
    while time.monotonic() < deadline:
        try:
            assert math.isfinite(receiver.newest().speed)
        except GameError as error:
            said = str(error)
            if all(part in said for part in parts):
                return said
        time.sleep(0.005)
    pytest.fail(f"it never said {parts}; at last it said {said!r}")


def test_a_record_is_eleven_little_endian_floats_in_the_plugins_order() -> None:
    data = struct.pack("<11f", 45.5, 1234.0, 500.0, 10.0, -250.5, 0.25, 1.0, 0.0, 1.0, 3.0, 7500.0)

    assert len(data) == RECORD_BYTES
    assert parse(data, 7.0) == replace(RECORD, finished=True, received=7.0)
    assert pack(replace(RECORD, finished=True)) == data


def single(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32)


@given(
    st.builds(
        Record,
        *[single(-1000, 1000), single(-1e6, 1e6), *[single(-1e5, 1e5)] * 3],
        *[single(-1, 1), single(0, 1), st.sampled_from([0.0, 1.0]), st.booleans(), st.integers(-1, 7), single(0, 12_000)],
        st.floats(0, 1e6),
    )
)
def test_what_is_packed_is_parsed_again(sent: Record) -> None:
    assert parse(pack(sent), sent.received) == sent


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -3e38])
def test_a_number_that_the_game_cannot_mean_is_no_record(name: str, value: float) -> None:
    values = list(astuple(RECORD)[:11])
    values[NAMES.index(name)] = value

    with pytest.raises(GameError, match=f"no value of '{name}'"):
        parse(struct.pack("<11f", *values), 0.0)


@pytest.mark.parametrize(("name", "value"), [("finished", 0.5), ("gear", 2.5)])
def test_what_is_counted_is_whole(name: str, value: float) -> None:
    values = list(astuple(RECORD)[:11])
    values[NAMES.index(name)] = value

    with pytest.raises(GameError, match=name):
        parse(struct.pack("<11f", *values), 0.0)


def test_the_newest_of_several_records_in_one_packet_counts(plugin: Plugin) -> None:
    with listening(plugin.port) as receiver:
        plugin.take()
        before = time.perf_counter()
        plugin.send(b"".join(pack(record(number)) for number in range(1, 8)))

        newest = until_newest(receiver, 7)

        assert before <= newest.received <= time.perf_counter()
        assert receiver.newest() is newest  # it is not used up


@settings(max_examples=25)
@given(st.lists(st.integers(1, 3 * RECORD_BYTES), max_size=12))
def test_records_may_be_cut_anywhere(pieces: list[int]) -> None:
    data = b"".join(pack(record(number)) for number in range(1, 5))
    plugin = Plugin()
    with contextlib.closing(plugin), listening(plugin.port) as receiver:
        plugin.take()
        for size in pieces:
            plugin.send(data[:size])
            data = data[size:]
        plugin.send(data)

        until_newest(receiver, 4)


def test_half_a_record_is_none(plugin: Plugin) -> None:
    with listening(plugin.port) as receiver:
        plugin.take()
        plugin.send(pack(record(1)) + pack(record(2))[:20])
        until_newest(receiver, 1)
        plugin.send(pack(record(2))[20:])
        until_newest(receiver, 2)


def test_a_fresh_record_arrived_after_it_was_asked_for(plugin: Plugin) -> None:
    with listening(plugin.port) as receiver:
        plugin.take()
        ended = threading.Event()

        def send() -> None:
            while not ended.wait(0.01):
                plugin.send(pack(RECORD))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for _ in range(3):
                asked = time.perf_counter()
                assert receiver.fresh().received >= asked
        finally:
            ended.set()
            sender.join()


def test_no_fresh_record_is_an_error_though_an_old_one_is_good_enough(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "FRESH_S", 0.2)
    with listening(plugin.port, stall_s=0.2) as receiver:
        plugin.take()
        plugin.send(pack(record(1)))
        until_newest(receiver, 1)

        with pytest.raises(GameError, match="connected, but the last record of the game came"):
            receiver.fresh()


def test_the_first_record_is_waited_for(plugin: Plugin) -> None:
    with listening(plugin.port) as receiver:
        plugin.take()
        sender = threading.Timer(0.1, plugin.send, [pack(RECORD)])
        sender.start()
        try:
            assert receiver.newest().speed == 45.5
        finally:
            sender.join()


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with listening(port, STALL_S) as receiver:
        said = until_it_says(receiver, f"nothing listens at 127.0.0.1:{port}")

        assert "no record of the game has come yet" in said
        assert "OpenPlanet" in said


def test_a_host_that_does_not_exist() -> None:
    with listening(9000, STALL_S, host="no..such..host") as receiver:
        assert "environment.trackmania.telemetry_host" in until_it_says(receiver, "there is no host 'no..such..host'")


def test_a_second_client_hears_nothing(plugin: Plugin) -> None:
    with listening(plugin.port) as first:
        plugin.take()
        with listening(plugin.port, STALL_S) as second:
            said = until_it_says(second, "has taken the connection, but sends nothing")
            assert "one at a time" in said
        plugin.send(pack(record(1)))
        until_newest(first, 1)


def test_a_menu_is_opened(plugin: Plugin) -> None:
    with listening(plugin.port, STALL_S) as receiver:
        plugin.take()
        plugin.send(pack(record(1)))
        assert "close the menu" in until_it_says(receiver, "is connected, but the last record of the game came")
        plugin.send(pack(record(2)))
        until_newest(receiver, 2)


@pytest.mark.parametrize("reset", [False, True])
def test_a_plugin_that_hangs_up_is_called_again(plugin: Plugin, reset: bool) -> None:
    with listening(plugin.port, STALL_S) as receiver:
        for number in (1, 2, 3):
            plugin.take()
            plugin.send(pack(record(number)))
            until_newest(receiver, number)
            plugin.drop(reset=reset)


@pytest.mark.parametrize("reset", [False, True])
def test_a_plugin_that_hangs_up_at_once(plugin: Plugin, reset: bool) -> None:
    ended = threading.Event()

    def refuse() -> None:
        while not ended.is_set():
            plugin.take()
            plugin.drop(reset=reset)

    refusing = threading.Thread(target=refuse)
    with listening(plugin.port, STALL_S) as receiver:
        refusing.start()
        try:
            assert "no record of the game has come yet" in until_it_says(receiver, "has hung up")
        finally:
            ended.set()
            socket.create_connection(("127.0.0.1", plugin.port)).close()  # wakes it
            refusing.join()


def test_the_system_asks_a_silent_machine_whether_it_is_there(plugin: Plugin) -> None:
    with listening(plugin.port) as receiver:
        plugin.take()
        plugin.send(pack(record(1)))
        until_newest(receiver, 1)
        line = receiver._line
        assert line is not None
        told = {name: line.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name, _ in telemetry.KEEP_ALIVE}

        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert 8 < told["TCP_KEEPIDLE"] + told["TCP_KEEPINTVL"] * told["TCP_KEEPCNT"] < 15


def test_a_machine_that_answers_no_more_is_called_again(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    class Line(socket.socket):
        def recv(self, *arguments: int) -> bytes:
            if gone.is_set():  # the system has asked in vain
                raise TimeoutError(errno.ETIMEDOUT, "nobody answers")
            return super().recv(*arguments)

    connect = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *arguments: Line(fileno=connect(*arguments).detach()))
    monkeypatch.setattr(telemetry, "FIRST_RETRY_S", 3600.0)
    monkeypatch.setattr(telemetry, "FRESH_S", PATIENCE_S)
    with listening(plugin.port, STALL_S) as receiver:
        plugin.take()
        plugin.send(pack(record(1)))
        until_it_says(receiver, "is connected, but the last record of the game came")
        gone.set()
        until_it_says(receiver, "has hung up (nobody answers")
        gone.clear()

        def serve() -> None:
            plugin.take()
            plugin.send(pack(record(2)))

        serving = threading.Thread(target=serve)
        serving.start()
        assert receiver.fresh().x == 2
        serving.join()


def test_a_game_that_ends_and_comes_back(plugin: Plugin) -> None:
    with listening(plugin.port, STALL_S) as receiver:
        plugin.take()
        plugin.send(pack(record(1)))
        until_newest(receiver, 1)
        plugin.close()
        until_it_says(receiver, "nothing listens", "the last record of the game came")

        again = Plugin(plugin.port)
        with contextlib.closing(again):
            again.take()
            again.send(pack(record(2)))
            until_newest(receiver, 2)


def test_who_asks_for_a_fresh_record_ends_the_wait_for_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_RETRY_S", "LAST_RETRY_S"):
        monkeypatch.setattr(telemetry, name, 3600.0)
    monkeypatch.setattr(telemetry, "FRESH_S", PATIENCE_S)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with listening(port, STALL_S) as receiver:
        until_it_says(receiver, "nothing listens")
        plugin = Plugin(port)

        def serve() -> None:
            plugin.take()
            plugin.send(pack(record(1)))

        serving = threading.Thread(target=serve)
        serving.start()
        with contextlib.closing(plugin):
            assert receiver.fresh().x == 1
            serving.join()


def test_nonsense_is_never_handed_out(plugin: Plugin) -> None:
    with listening(plugin.port, STALL_S) as receiver:
        plugin.take()
        plugin.send(pack(record(1)))
        until_newest(receiver, 1)
        plugin.send(pack(replace(record(2), speed=math.nan)))
        said = until_it_says(receiver, "is no record of the plugin")
        assert "'speed'" in said
        assert "the last record of the game came" in said
        plugin.send(pack(record(3)))
        until_newest(receiver, 3)


def test_another_program_has_the_port(plugin: Plugin) -> None:
    with listening(plugin.port, STALL_S) as receiver:
        plugin.take()
        plugin.send(b"SSH-2.0-OpenSSH_9.2\r\n")
        until_it_says(receiver, "is no record of the plugin", "21 bytes have come")
        plugin.drop()
        until_it_says(receiver, "is no record of the plugin", "21 bytes have come")


def test_records_that_are_out_of_step_are_begun_anew(plugin: Plugin) -> None:
    with listening(plugin.port, STALL_S) as receiver:
        plugin.take()
        plugin.send(b"\xff\xff")
        reading = b"".join(pack(record(number)) for number in range(10))
        deadline = time.monotonic() + PATIENCE_S
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                plugin.send(reading)
                time.sleep(0.005)
        plugin.take()
        plugin.send(pack(record(77)))
        until_newest(receiver, 77)


def test_closing_ends_the_thread_wherever_it_is(plugin: Plugin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    connected, refused = Receiver("127.0.0.1", plugin.port, STALL_S), Receiver("127.0.0.1", port, STALL_S)
    plugin.take()
    until_it_says(refused, "nothing listens")
    for receiver in (connected, refused):
        receiver.close()
        receiver.close()
        assert not receiver._thread.is_alive()
        with pytest.raises(GameError, match="closed from this side"):
            receiver.newest()
        with pytest.raises(GameError, match="closed from this side"):
            receiver.fresh()


def test_closing_wakes_who_waits(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "FRESH_S", 3600.0)
    with listening(plugin.port) as receiver:
        closing = threading.Timer(0.1, receiver.close)
        closing.start()
        with pytest.raises(GameError, match="closed from this side"):
            receiver.fresh()
        closing.join()


@pytest.mark.parametrize("state", State)
def test_every_complaint_says_where_when_and_what_to_do(state: State) -> None:
    never, before = complaint(state, "box", 9000, None, "why"), complaint(state, "box", 9000, 2.04, "why")

    assert "box" in never
    assert "no record of the game has come yet" in never
    assert "the last record of the game came 2.0 s ago" in before
    assert ": " in before
