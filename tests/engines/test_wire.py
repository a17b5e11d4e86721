import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.engines.wire import BATCH_BYTES, ByteQueue, Wire, pipe_ends, wire_pair
from tmrld.errors import ProtocolError


def close(wire: Wire) -> None:
    wire.close_reading()
    wire.close_writing()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=30))
def test_what_is_written_at_one_end_is_read_at_the_other(messages: list[bytes]) -> None:
    here, there = wire_pair()
    here.write(messages)
    assert [there.read() for _ in messages] == messages
    close(here)
    close(there)


def test_a_message_larger_than_the_pipe_arrives_whole() -> None:
    here, there = wire_pair()
    large = os.urandom(20 * BATCH_BYTES + 7)
    writing = threading.Thread(target=here.write, args=([large],))
    writing.start()
    assert there.read() == large
    writing.join()
    close(here)
    close(there)


def test_a_closed_end_reads_as_end_of_file() -> None:
    here, there = wire_pair()
    here.write([b"last"])
    here.close_writing()
    assert there.read() == b"last"
    with pytest.raises(EOFError):
        there.read()
    here.close_reading()
    close(there)


@pytest.mark.parametrize("torn", [b"\x05", b"\x05\x00\x00\x00", b"\x05\x00\x00\x00abcd"])
def test_a_message_cut_short_is_an_end_of_file(torn: bytes) -> None:
    (reading, writing), theirs = pipe_ends()
    there = Wire(*theirs)
    os.write(writing, torn)
    os.close(writing)
    with pytest.raises(EOFError):
        there.read()
    os.close(reading)
    close(there)


def test_a_length_beyond_all_messages_is_refused_before_memory_is_taken() -> None:
    (reading, writing), theirs = pipe_ends()
    there = Wire(*theirs)
    os.write(writing, b"\xff\xff\xff\xff")
    with pytest.raises(ProtocolError, match="4294967295 bytes"):
        there.read()
    os.close(reading)
    os.close(writing)
    close(there)


def test_writing_to_an_end_that_nobody_reads_fails() -> None:
    here, there = wire_pair()
    close(there)
    with pytest.raises(OSError, match="pipe"):
        here.write([b"anybody?"])
    close(here)


@given(st.lists(st.one_of(st.integers(0, 40), st.none()), max_size=200))
def test_the_queue_keeps_order_and_holds_no_more_than_its_bound_and_one_message(steps: list[int | None]) -> None:
    """A number puts a message of that size, None takes one."""
    queue = ByteQueue(high_bytes=100, high_messages=10)
    model: list[bytes] = []
    for count, step in enumerate(steps):
        if step is None:
            expected = model.pop(0) if model else None
            assert queue.get() == expected
        else:
            data = bytes([count % 256]) * step
            if queue.put(data):
                model.append(data)
            else:
                assert len(model) > 5 or sum(map(len, model)) > 50, "it said no although it was less than half full"
        assert len(queue) == len(model) <= 10
        assert queue.size_bytes == sum(map(len, model)) < 100 + 40


def test_a_full_queue_takes_nothing_until_it_is_half_empty() -> None:
    told: list[str] = []
    queue = ByteQueue(high_bytes=1000, high_messages=4, on_room=lambda: told.append("room"))
    assert [queue.put(b"x") for _ in range(5)] == [True, True, True, True, False]
    queue.get()
    assert not queue.put(b"x")
    assert told == []
    queue.get()
    assert told == ["room"]
    assert queue.put(b"x")


def test_a_producer_may_wait_for_room() -> None:
    queue = ByteQueue(high_messages=1)
    queue.put(b"first")
    taken: list[bytes | None] = []
    taker = threading.Thread(target=lambda: taken.extend([queue.get(10), queue.get(10)]))
    taker.start()
    assert queue.put(b"second", wait_s=10)
    taker.join()
    assert taken == [b"first", b"second"]


def test_what_is_looked_at_stays_until_it_was_dealt_with() -> None:
    queue = ByteQueue()
    for data in (b"aaaa", b"bbbb", b"cccc"):
        queue.put(data)
    assert queue.peek(9) == [b"aaaa", b"bbbb"]
    assert not queue.await_empty(0)
    queue.drop(2)
    assert queue.peek(1) == [b"cccc"], "one message, however large"
    queue.drop(1)
    assert queue.await_empty(0)


def test_a_closed_queue_gives_what_it_has_and_then_says_so() -> None:
    queue = ByteQueue()
    queue.put(b"last")
    queue.close()
    with pytest.raises(EOFError):
        queue.put(b"too late")
    assert queue.get() == b"last"
    with pytest.raises(EOFError):
        queue.get(10)
    with pytest.raises(EOFError):
        queue.peek(10)


def test_closing_wakes_whoever_waits() -> None:
    queue = ByteQueue(high_messages=1)
    queue.put(b"x")
    outcome: list[str] = []

    def produce() -> None:
        try:
            queue.put(b"y", wait_s=None)
        except EOFError:
            outcome.append("woken")

    producer = threading.Thread(target=produce)
    producer.start()
    queue.close(discard=True)
    producer.join()
    assert outcome == ["woken"]
    assert len(queue) == 0
