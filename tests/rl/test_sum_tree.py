"""The tree of sums does what a list does that is added up anew each time."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.rl.sum_tree import FANOUT, LARGEST, SumTree, size_bytes

VALUES = st.integers(0, 5) | st.integers(0, LARGEST)


@st.composite
def changed_lists(draw: st.DrawFn) -> tuple[SumTree, list[int]]:
    """A tree, and the list that it stands for, after some changes."""
    size = draw(st.sampled_from([1, 2, FANOUT, FANOUT + 1, FANOUT**2, FANOUT**2 + 1, 300]))
    tree, values = SumTree(size), [0] * size
    for _ in range(draw(st.integers(1, 5))):
        leaves = draw(st.lists(st.integers(0, size - 1), max_size=20))
        given_values = draw(st.lists(VALUES, min_size=len(leaves), max_size=len(leaves)))
        tree.set(np.asarray(leaves, np.int64), np.asarray(given_values, np.int64))
        for leaf, value in zip(leaves, given_values, strict=True):
            values[leaf] = value
    return tree, values


@given(changed_lists())
def test_it_holds_what_it_was_given_and_knows_all_sums(changed: tuple[SumTree, list[int]]) -> None:
    tree, values = changed
    assert tree.get(np.arange(len(values))).tolist() == values
    assert tree.total == sum(values)
    assert [tree.before(leaf) for leaf in range(len(values))] == [0, *accumulate(values)][:-1]


@given(changed_lists(), st.lists(st.floats(0, 1, exclude_max=True), max_size=20))
def test_it_finds_the_leaf_at_which_the_running_sum_exceeds_a_number(
    changed: tuple[SumTree, list[int]], shares: list[float]
) -> None:
    tree, values = changed
    sums = [int(share * tree.total) for share in shares if tree.total]
    running = list(accumulate(values))
    expected = [next(leaf for leaf, total in enumerate(running) if total > wanted) for wanted in sums]
    assert tree.find(np.asarray(sums, np.int64)).tolist() == expected


def test_a_leaf_without_a_value_is_never_found() -> None:
    tree = SumTree(100)
    tree.set(np.asarray([3, 50, 99]), np.asarray([1, 2, 1]))
    assert tree.find(np.arange(4)).tolist() == [3, 50, 50, 99]


def test_one_value_may_be_given_to_many_leaves() -> None:
    tree = SumTree(1000)
    tree.set(np.arange(10, 20), LARGEST)
    assert tree.total == 10 * LARGEST


@pytest.mark.parametrize("leaves", [1, FANOUT, FANOUT + 1, 10_000])
def test_its_size_is_known_before_it_is_made(leaves: int) -> None:
    tree = SumTree(leaves)
    assert size_bytes(leaves) == tree._leaves.nbytes + sum(level.nbytes for level in tree._above)
    assert size_bytes(10**9) < 5 * 10**9, "less than 5 bytes per leaf"
