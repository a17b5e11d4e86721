"""Curves come back as they were stored, and with fewer points still show every extreme."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.errors import BadInput, DiskFull, NotFound
from tmrld.payloads import Array
from tmrld.storage.downsampling import POINT, bucket_extremes, summary, thinned
from tmrld.storage.layout import Layout
from tmrld.storage.metrics import BLOCK_POINTS, MAX_NAME_LENGTH, MAX_NAMES, STRETCH_POINTS, Curve, Metric
from tmrld.storage.runs import RunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(Layout(tmp_path))
    store.create("run", {}, "me", 0.0)
    yield store
    store.close()


def add(store: RunStore, updates: list[int], values: list[float], lineage: int = 0, batch: int = 700) -> None:
    for at in range(0, len(updates), batch):
        pairs = zip(updates[at : at + batch], values[at : at + batch], strict=True)
        store.metrics.add(
            "run", [Metric(lineage, update, 20 * update, float(update), {"loss": value}) for update, value in pairs]
        )


def loss(store: RunStore, start: int = 0, stop: int = 10**9, max_points: int | None = None, *, every: bool = False) -> Curve:
    return store.metrics.read("run", ["loss"], start, stop, max_points, include_superseded=every)["loss"]


def wave(count: int) -> list[float]:
    return [math.sin(k / 50) + (k * 7919 % 101) / 500 for k in range(count)]


def test_all_columns_come_back(store: RunStore) -> None:
    store.metrics.add("run", [Metric(0, 5, 100, 2.5, {"a": 1.0, "b": math.inf}), Metric(0, 7, 140, 3.5, {"a": math.nan})])
    curves = store.metrics.read("run", ["a", "b", "none"])
    assert curves["a"].updates.tolist() == [5, 7]
    assert curves["a"].transitions.tolist() == [100, 140]
    assert curves["a"].received_at.tolist() == [2.5, 3.5]
    assert curves["a"].values[0] == 1.0
    assert math.isnan(curves["a"].values[1])
    assert curves["b"].values.tolist() == [math.inf]
    assert len(curves["none"].values) == 0
    assert store.metrics.names("run") == ["a", "b"]
    latest = store.metrics.latest("run")
    assert math.isnan(latest["a"])
    assert latest["b"] == math.inf


def test_a_later_point_replaces_an_earlier_one_even_in_a_block(store: RunStore) -> None:
    count = 4 * BLOCK_POINTS
    add(store, list(range(count)), [0.0] * count)
    add(store, [3, count - 1, 3], [1.0, 2.0, 3.0])
    values = loss(store).values
    assert len(values) == count
    assert (values[3], values[count - 1]) == (3.0, 2.0)
    add(store, list(range(count, 2 * count)), [0.0] * count)
    assert loss(store).values[3] == 3.0
    assert len(loss(store).values) == 2 * count


def test_points_may_come_in_any_order(store: RunStore) -> None:
    updates = [k * 37 % 5000 for k in range(5000)]
    add(store, updates, [float(update) for update in updates], batch=33)
    curve = loss(store)
    assert curve.updates.tolist() == list(range(5000))
    assert curve.values.tolist() == list(range(5000))
    assert len(loss(store, max_points=50).values) <= 50


def test_a_range_is_cut_exactly_also_within_blocks(store: RunStore) -> None:
    values = wave(5000)
    add(store, list(range(0, 10_000, 2)), values)
    curve = loss(store, 301, 7001)
    assert curve.updates.tolist() == list(range(302, 7001, 2))
    assert curve.values.tolist() == values[151:3501]


def test_visibility_is_exact_within_blocks_too(store: RunStore) -> None:
    add(store, list(range(3000)), [0.0] * 3000)
    assert store.lineages.open("run", 1234, 0.0) == 1
    add(store, list(range(1235, 4000)), [1.0] * 2765, lineage=1)
    curve = loss(store)
    assert curve.updates.tolist() == list(range(4000))
    assert curve.values.tolist() == [0.0] * 1235 + [1.0] * 2765
    assert curve.lineages.tolist() == [0] * 1235 + [1] * 2765
    assert len(loss(store, every=True).values) == 3000 + 2765
    few = loss(store, max_points=40, every=True)
    assert set(few.lineages.tolist()) == {0, 1}
    assert len(few.values) <= 40


@pytest.mark.parametrize("count", [10, 3000, 40_000])
def test_downsampling_keeps_first_last_and_extremes(store: RunStore, count: int) -> None:
    values = wave(count)
    values[count // 3], values[count // 2] = 100.0, -100.0
    values[count // 4] = math.nan
    add(store, list(range(count)), values, batch=5000)
    for max_points in (4, 10, 250, 100_000):
        curve = loss(store, max_points=max_points)
        assert len(curve.values) <= max_points
        assert len(curve.values) >= min(count, max_points) * 0.8
        assert (curve.updates[0], curve.updates[-1]) == (0, count - 1)
        assert (np.nanmin(curve.values), np.nanmax(curve.values)) == (-100.0, 100.0)
        assert np.all(np.diff(curve.updates) > 0)
        np.testing.assert_array_equal(curve.values, np.array(values)[curve.updates])


def test_a_refused_batch_leaves_nothing(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="update -1"):
        add(store, [1, -1], [0.0, 0.0])
    with pytest.raises(BadInput, match="at least 4"):
        loss(store, max_points=3)
    with pytest.raises(NotFound):
        store.metrics.add("other", [])

    def full(*_: object) -> None:
        raise DiskFull("no room")

    add(store, list(range(1000)), [0.0] * 1000)
    with monkeypatch.context() as patch:
        patch.setattr("tmrld.storage.metrics._pack", full)
        with pytest.raises(DiskFull):
            add(store, list(range(1000, 1100)), [0.0] * 100)
    assert len(loss(store).values) == 1000
    add(store, list(range(1000, 3000)), [0.0] * 2000)
    assert len(loss(store).values) == 3000


def points(values: list[float], first: int = 0) -> Array:
    array = np.zeros(len(values), POINT)
    array["update"] = np.arange(first, first + len(values))
    array["value"] = values
    return array


FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=16)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), FLOATS)))
def test_every_bucket_keeps_its_least_and_greatest(pairs: list[tuple[int, float]]) -> None:
    pairs.sort(key=lambda pair: pair[0])
    buckets, values = np.array([b for b, _ in pairs], np.int64), np.array([v for _, v in pairs], float)
    chosen = bucket_extremes(buckets, values)
    assert np.all(np.diff(chosen) > 0)
    for bucket in set(buckets.tolist()):
        of_all = values[buckets == bucket]
        kept = values[chosen][buckets[chosen] == bucket]
        assert 1 <= len(kept) <= 2
        if not np.all(np.isnan(of_all)):
            assert (np.nanmin(of_all), np.nanmax(of_all)) == (np.nanmin(kept), np.nanmax(kept))


def test_no_update_is_too_far_off_to_be_thinned() -> None:
    far = points([1.0, 2.0, 3.0, 2.0, 3.0])
    far["update"] = [-1, 0, 5, 6, 2**63 - 1]
    (thin,) = thinned([far], 4)
    assert thin["update"].tolist() == [-1, 5, 2**63 - 1]


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=200), st.lists(FLOATS, max_size=100), st.integers(8, 60))
def test_thinned_curves_are_subsets_with_their_ends(first: list[float], second: list[float], max_points: int) -> None:
    pieces = [points(first), points(second, 1000)]
    thin = thinned(pieces, max_points)
    whole, kept = np.concatenate(pieces), np.concatenate(thin)
    assert len(kept) <= max_points
    assert (kept["update"][0], kept["update"][-1]) == (whole["update"][0], whole["update"][-1])
    assert np.all(np.isin(kept["update"], whole["update"]))
    assert len(np.unique(kept["update"])) == len(kept)


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=300))
def test_a_summary_keeps_the_extremes_of_every_stretch(values: list[float]) -> None:
    brief = summary(points(values), STRETCH_POINTS)
    assert len(brief) <= 2 + 2 * -(-len(values) // STRETCH_POINTS)
    known = [value for value in values if not math.isnan(value)]
    if known:
        assert (np.nanmin(brief["value"]), np.nanmax(brief["value"])) == (min(known), max(known))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 900)), max_size=8))
def test_whatever_is_stored_in_whatever_batches_the_last_word_counts(batches: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Layout(Path(folder)))
        store.create("run", {}, "me", 0.0)
        expected: dict[int, float] = {}
        for number, (start, count) in enumerate(batches):
            updates = list(range(start, start + count))
            add(store, updates, [float(number)] * count)
            expected.update(dict.fromkeys(updates, float(number)))
        curve = loss(store)
        assert dict(zip(curve.updates.tolist(), curve.values.tolist(), strict=True)) == expected
        assert store.metrics.latest("run") == ({"loss": expected[max(expected)]} if expected else {})
        store.close()


def test_a_run_has_so_many_curves_and_no_more(store: RunStore) -> None:
    names = [f"curve {number}" for number in range(MAX_NAMES)]
    store.metrics.add("run", [Metric(0, 1, 20, 1.0, dict.fromkeys(names, 0.0))])
    with pytest.raises(BadInput, match="may have 1000 curves, and 1 new ones came for one that has 1000"):
        store.metrics.add("run", [Metric(0, 2, 40, 2.0, {"one more": 0.0})])
    store.metrics.add("run", [Metric(0, 2, 40, 2.0, dict.fromkeys(names, 1.0))])
    assert len(store.metrics.latest("run")) == MAX_NAMES
    store.create("other", {}, "me", 0.0)
    with pytest.raises(BadInput, match=r"'yyyy.* 201 characters: at most 200 are allowed"):
        store.metrics.add("other", [Metric(0, 1, 20, 1.0, {"y" * (MAX_NAME_LENGTH + 1): 0.0})])
    assert store.metrics.names("other") == []


def test_what_a_deleted_run_took_in_the_database_is_free_for_others(store: RunStore, tmp_path: Path) -> None:
    names = [f"curve {number}" for number in range(100)]
    store.metrics.add("run", [Metric(0, update, 0, 0.0, dict.fromkeys(names, 0.0)) for update in range(1000)])
    before = store.free_bytes()
    store.delete("run")
    assert store.free_bytes() - before > 2**20
    for name in ("a", "b"):  # the first one begins the write-ahead log anew
        store.create(name, {}, "me", 0.0)
    log = Layout(tmp_path).relay_db.with_name("relay.db-wal")
    assert log.stat().st_size <= 4 * 2**20 + 2**16
