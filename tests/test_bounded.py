"""What is kept of what others say has an end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tmrld.bounded import Newest, size_of


@given(st.lists(st.integers(0, 50)), st.integers(1, 5), st.integers(0, 100))
def test_the_newest_are_kept_within_both_bounds(sizes: list[int], most: int, most_bytes: int) -> None:
    kept: Newest[int] = Newest(most, most_bytes)
    for number, size in enumerate(sizes):
        before = [*kept, number]
        gone = kept.add(number, size)
        assert [*kept] == before[-len(kept) :]
        assert gone == (before[-len(kept) - 1] if len(kept) < len(before) else None)
        assert kept.size_bytes == sum(sizes[each] for each in kept)
        assert 1 <= len(kept) <= most
        assert kept.size_bytes <= most_bytes or len(kept) == 1


def test_what_is_in_lists_and_maps_counts() -> None:
    assert size_of([{}] * 1000) > 1000 * size_of({})
    assert size_of({"a": "x" * 1000}) > 1000 + size_of({})
    assert size_of([0.5, [None, ("text",)]]) > size_of([0.5, []])
