"""Evaluations that people publish, and those that are made of runs' own episodes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tmrld.errors import NotFound
from tmrld.payloads import EpisodeSummary
from tmrld.storage.database import Database
from tmrld.storage.episodes import Episode
from tmrld.storage.evaluations import EvaluatedEpisode, PublishedEvaluation
from tmrld.storage.layout import Layout
from tmrld.storage.relay_schema import MIGRATIONS
from tmrld.storage.runs import RunStore

LAP = EvaluatedEpisode(True, 21.5, 12.5, 430, 0)
CRASH = EvaluatedEpisode(False, None, 3.0, 80)
PUBLISHED = PublishedEvaluation(
    *("ann", 1000.0, "fast one", "demo", 7, "oval", "tmrld/TM20Lidar-v0", "sim", "plain", True, "with more grip", (LAP, CRASH))
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(Layout(tmp_path))
    store.create("demo", {}, "me", 0.0)
    yield store
    store.close()


def test_what_is_published_comes_back_as_it_was(store: RunStore) -> None:
    stored = store.evaluations.add(PUBLISHED)
    assert stored == replace(PUBLISHED, number=1)
    assert store.evaluations.page() == [stored]


def test_what_is_unknown_stays_unknown(store: RunStore) -> None:
    episode = EvaluatedEpisode(True, None, math.nan, 10, None)
    store.evaluations.add(replace(PUBLISHED, run=None, version=None, episodes=(episode,)))
    (found,) = store.evaluations.page()
    assert (found.run, found.version) == (None, None)
    assert math.isnan(found.episodes[0].episode_return)
    assert (found.episodes[0].lap_time_s, found.episodes[0].seed) == (None, None)


def test_pages_go_from_the_newest_to_the_oldest(store: RunStore) -> None:
    for name in "abcde":
        store.evaluations.add(replace(PUBLISHED, name=name, track="oval" if name in "ace" else "long"))
    first = store.evaluations.page(2)
    assert [each.name for each in first] == ["e", "d"]
    assert [each.name for each in store.evaluations.page(9, first[-1].number)] == ["c", "b", "a"]
    assert [each.name for each in store.evaluations.page(2, track="oval")] == ["e", "c"]
    assert [each.name for each in store.evaluations.all("long")] == ["b", "d"]


def test_one_that_was_deleted_is_gone_and_its_number_is_not_given_again(store: RunStore) -> None:
    number = store.evaluations.add(PUBLISHED).number
    store.evaluations.delete(number)
    assert store.evaluations.all() == []
    assert store.evaluations.add(PUBLISHED).number > number
    with pytest.raises(NotFound, match="no evaluation 1"):
        store.evaluations.delete(number)


def drive(store: RunStore, episode: str, version: int, lap_time_s: float | None, *, track: str = "oval", **more: str) -> None:
    purpose, actor = more.get("purpose", "evaluation"), more.get("actor", "policy")
    summary = EpisodeSummary(100, 5.0, lap_time_s is not None, lap_time_s, 1.0, actor, version)
    store.episodes.add("demo", [Episode(episode, "w", purpose, track, 2**63 + 1, 1000.0 + version, summary)])


def test_a_run_is_judged_by_what_its_policy_drove_for_evaluation(store: RunStore) -> None:
    drive(store, "a", 1, 30.0)
    drive(store, "b", 2, 28.0)
    drive(store, "c", 2, None)
    drive(store, "d", 2, 27.0, track="long")
    drive(store, "training", 2, 20.0, purpose="train")
    drive(store, "a person", 2, 20.0, actor="human")
    found = {(each.version, each.track): each for each in store.evaluations.of_runs()}
    assert set(found) == {(1, "oval"), (2, "oval"), (2, "long")}
    second = found[2, "oval"]
    assert (second.run, second.received_at) == ("demo", 1002.0)
    assert second.episodes == (
        EvaluatedEpisode(True, 28.0, 5.0, 100, 2**63 + 1),
        EvaluatedEpisode(False, None, 5.0, 100, 2**63 + 1),
    )
    assert [each.version for each in store.evaluations.of_runs("long")] == [2]


def test_a_data_folder_from_before_gets_its_table(tmp_path: Path) -> None:
    older = next(number for number, script in enumerate(MIGRATIONS) if "TABLE evaluations" in script)
    Database(Layout(tmp_path).relay_db, MIGRATIONS[:older]).close()
    store = RunStore(Layout(tmp_path))
    store.evaluations.add(PUBLISHED)
    store.close()
