"""The line that a run is driven on, and the laps that were driven on it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tmrld.errors import Damaged, NotFound
from tmrld.payloads import EpisodeSummary
from tmrld.storage.episodes import Episode
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore
from tmrld.storage.tracks import Track, thinned

LINE = np.array([[0.0, 0.0], [1.5, 2.0]], np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(Layout(tmp_path))
    store.create("run", {}, "me", 0.0)
    yield store
    store.close()


def test_a_line_is_thinned_evenly_with_both_its_ends() -> None:
    file = io.BytesIO()
    np.save(file, np.column_stack([np.arange(11.0), np.zeros(11), -np.arange(11.0)]))
    track = thinned("monza", file.getvalue(), 3)
    np.testing.assert_array_equal(track.points, np.array([[0, 0], [5, -5], [10, -10]], np.float32))
    assert (track.name, track.width_m) == ("monza", None)
    assert len(thinned("monza", file.getvalue(), 100).points) == 11
    with pytest.raises(Damaged, match="the track 'monza' on the shelf is damaged"):
        thinned("monza", file.getvalue()[:-9], 3)


def drive(store: RunStore, name: str, lap_time_s: float | None, actor: str = "policy", purpose: str = "train") -> None:
    summary = EpisodeSummary(10, 1.0, lap_time_s is not None, lap_time_s, 1.0, actor, 3)
    store.episodes.add("run", [Episode(name, "w1", purpose, "oval", 0, 1.0, summary)])


def test_a_track_comes_back_and_a_newer_one_takes_its_place(store: RunStore) -> None:
    store.tracks.put("run", Track("oval", 16.0, LINE))
    store.tracks.put("run", Track("long", None, 2 * LINE))
    track = store.tracks.get("run")
    assert (track.name, track.width_m) == ("long", None)
    assert track.points.tolist() == [[0.0, 0.0], [3.0, 4.0]]


def test_a_track_that_nobody_told_is_not_found(store: RunStore) -> None:
    with pytest.raises(NotFound, match="no worker has told it yet"):
        store.tracks.get("run")


def test_a_deleted_run_takes_its_track_along(store: RunStore) -> None:
    store.tracks.put("run", Track("oval", 16.0, LINE))
    store.delete("run")
    store.create("run", {}, "me", 0.0)
    with pytest.raises(NotFound):
        store.tracks.get("run")


def test_the_best_lap_is_the_policys_fastest(store: RunStore) -> None:
    assert store.episodes.best("run") is None
    drive(store, "cut short", None)
    assert store.episodes.best("run") is None
    drive(store, "by hand", 20.0, actor="human")
    drive(store, "slow", 31.0)
    drive(store, "fast", 30.0, purpose="evaluation")
    drive(store, "as fast", 30.0)
    best = store.episodes.best("run")
    assert best is not None
    assert best.episode == "fast"


def test_an_episode_is_found_by_its_id(store: RunStore) -> None:
    drive(store, "e1", 31.0)
    assert store.episodes.get("run", "e1").summary.lap_time_s == 31.0
    with pytest.raises(NotFound, match="no episode 'e2'"):
        store.episodes.get("run", "e2")
