"""What is in memory of the log is its end, and no more than there is room for."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tmrld.protocol.codec import StoredBody
from tmrld.relay.tail import Tail


@given(
    st.lists(st.lists(st.integers(1, 60), max_size=6), max_size=20),
    st.integers(1, 200),
    st.integers(1, 7),
    st.randoms(use_true_random=False),
)
def test_what_is_in_memory_of_the_log_is_its_end(
    commits: list[list[int]], max_bytes: int, limit: int, chance: random.Random
) -> None:
    tail, everything = Tail(100), list[StoredBody]()
    for sizes in commits:
        new: list[StoredBody] = []
        for size in sizes:
            end = new[-1].next_offset if new else everything[-1].next_offset if everything else 7
            new.append(StoredBody(end, end + size + 5, bytes(size)))
        tail.extend(new)
        everything += new
        kept = sum(1 for record in everything if tail.read(record.offset, 1, 1))
        assert everything[-kept:] == [tail.read(record.offset, 1, 1)[0] for record in everything[-kept:]] or not kept
        assert sum(len(record.body) for record in everything[-kept:] if kept) <= max(100, sum(sizes))
        assert kept >= len(new)
        for _ in range(5):
            start = chance.randrange(len(everything) + 1)
            offset = everything[start].offset if start < len(everything) else 10**6
            found = tail.read(offset, max_bytes, limit)
            assert found == everything[start : start + len(found)]
            assert len(found) <= limit
            assert len(found) == 1 or sum(len(record.body) for record in found) <= max_bytes
            assert bool(found) == (len(everything) - kept <= start < len(everything))
    tail.clear()
    assert not any(tail.read(record.offset, 1, 1) for record in everything)


def test_nobody_is_led_past_records_that_were_not_told() -> None:
    tail, records = Tail(100), [StoredBody(10 * n, 10 * n + 10, bytes(5)) for n in range(4)]
    tail.extend(records[:2])
    tail.extend(records[3:])
    assert tail.read(0, 100, 10) == []
    assert tail.read(30, 100, 10) == records[3:]
