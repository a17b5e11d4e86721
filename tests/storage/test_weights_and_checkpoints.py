"""Of weights and checkpoints the right ones are kept, and a damaged one is never handed out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tmrld.errors import BadInput, Conflict, Damaged, DiskFull, NotFound
from tmrld.payloads import EpisodeSummary
from tmrld.storage.episodes import Episode, EpisodeTotals, Evaluation
from tmrld.storage.files import sha256
from tmrld.storage.layout import Layout
from tmrld.storage.lineages import Span
from tmrld.storage.runs import RunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(Layout(tmp_path), keep_weights=3, keep_checkpoints=2)
    store.create("run", {}, "me", 0.0)
    yield store
    store.close()


def drive(
    store: RunStore,
    name: str,
    version: int,
    *,
    lap: float | None = None,
    reward: float = 0.0,
    purpose: str = "evaluation",
    worker: str = "w",
    seed: int | None = None,
) -> int:
    line = np.arange(8, dtype=np.float32).reshape(2, 4)
    summary = EpisodeSummary(10, reward, lap is not None, lap, math.nan, "policy", version, line)
    return store.episodes.add("run", [Episode(name, worker, purpose, "track", seed, 7.0, summary)])


def add_weights(store: RunStore, *versions: int) -> None:
    for version in versions:
        store.weights.add("run", version, 10 * version, 0, f"weights {version}".encode(), 0.0)


def kept(store: RunStore) -> list[int]:
    return [info.version for info in store.weights.all("run")]


def files(folder: Path) -> int:
    return len(list(folder.iterdir()))


def test_an_episode_is_stored_once_and_comes_back_whole(store: RunStore) -> None:
    assert drive(store, "e1", 3, lap=9.5, reward=1.25, seed=2**64 - 1) == 1
    assert drive(store, "e1", 4) == 0
    (episode,) = store.episodes.page("run")
    assert (episode.episode, episode.worker, episode.purpose, episode.track) == ("e1", "w", "evaluation", "track")
    assert (episode.seed, episode.received_at) == (2**64 - 1, 7.0)
    summary = episode.summary
    assert (summary.steps, summary.episode_return, summary.finished, summary.lap_time_s) == (10, 1.25, True, 9.5)
    assert (summary.actor, summary.weights_version) == ("policy", 3)
    assert math.isnan(summary.progress)
    np.testing.assert_array_equal(store.episodes.trajectory("run", "e1"), np.arange(8).reshape(2, 4))
    with pytest.raises(NotFound, match="no episode 'e2'"):
        store.episodes.trajectory("run", "e2")


def test_a_trajectory_of_another_shape_is_refused(store: RunStore) -> None:
    summary = EpisodeSummary(1, 0.0, False, None, 0.0, "policy", 0, np.zeros((3, 2), np.float32))
    with pytest.raises(BadInput, match=r"shape \(3, 2\)"):
        store.episodes.add("run", [Episode("e", "w", "train", "t", None, 0.0, summary)])


def test_episodes_are_paged_newest_first_and_filtered(store: RunStore) -> None:
    for number in range(7):
        drive(store, f"e{number}", 0, purpose=("train", "evaluation")[number % 2], worker=f"w{number % 3}", lap=20.0 - number)
    page = store.episodes.page("run", limit=3)
    assert [episode.episode for episode in page] == ["e6", "e5", "e4"]
    assert [episode.episode for episode in store.episodes.page("run", 3, page[-1].number)] == ["e3", "e2", "e1"]
    assert [episode.episode for episode in store.episodes.page("run", purpose="evaluation", worker="w0")] == ["e3"]
    assert store.episodes.totals("run") == EpisodeTotals(4, 4, 14.0)
    assert store.episodes.totals("run", "other") == EpisodeTotals(0, 0, None)


def test_weights_come_back_with_their_checksum(store: RunStore) -> None:
    info = store.weights.add("run", 5, 50, 0, b"tensors", 2.0)
    assert (info.version, info.update, info.size, info.sha256) == (5, 50, 7, sha256(b"tensors"))
    assert store.weights.load("run", 5) == b"tensors"
    assert store.weights.newest("run") == info
    assert store.weights.best("run") is None
    with pytest.raises(NotFound, match="no weights of version 6"):
        store.weights.load("run", 6)


def test_versions_only_grow_but_the_same_may_come_again(store: RunStore) -> None:
    add_weights(store, 1, 2)
    add_weights(store, 2, 1)
    assert kept(store) == [2, 1]
    with pytest.raises(Conflict, match="versions only grow"):
        store.weights.add("run", 2, 20, 0, b"other", 0.0)


def test_evaluation_is_gathered_from_episodes(store: RunStore) -> None:
    add_weights(store, 1, 2)
    drive(store, "a", 1, lap=30.0, reward=3.0)
    drive(store, "b", 1, lap=20.0, reward=2.0)
    drive(store, "c", 1, lap=21.0, reward=1.0)
    drive(store, "d", 1, reward=0.0)
    drive(store, "e", 1, purpose="train", lap=1.0)
    assert store.weights.info("run", 1).evaluation == Evaluation(4, 3, 1.5, 21.0)
    assert store.weights.info("run", 2).evaluation is None


def test_best_is_most_finishes_then_the_fastest_then_the_highest_return(store: RunStore) -> None:
    def best() -> int:
        found = store.weights.best("run")
        assert found is not None
        return found.version

    add_weights(store, 1, 2, 3)
    drive(store, "a", 1, reward=math.nan)
    assert best() == 1
    drive(store, "b", 2, reward=5.0)
    assert best() == 2
    drive(store, "c", 1, lap=40.0)  # half of its episodes
    assert best() == 1
    drive(store, "d", 3, lap=50.0)  # all of them
    assert best() == 3
    drive(store, "e", 2, lap=10.0)
    assert best() == 3


def test_the_newest_the_best_and_the_pinned_weights_are_kept(store: RunStore, tmp_path: Path) -> None:
    add_weights(store, 1, 2, 3)
    drive(store, "a", 2, lap=10.0)
    store.weights.pin("run", 1)
    add_weights(store, 4, 5, 6, 7)
    assert kept(store) == [7, 6, 5, 2, 1]
    folder = Layout(tmp_path).run_weights("run")
    assert files(folder) == 5
    store.weights.pin("run", 1, False)
    drive(store, "b", 6, lap=9.0)
    (folder / ".half.new").write_bytes(b"left by a crash")
    add_weights(store, 8)
    assert kept(store) == [8, 7, 6]
    assert files(folder) == 3
    with pytest.raises(NotFound):
        store.weights.pin("run", 2)


def test_damaged_or_missing_weights_are_not_handed_out(store: RunStore) -> None:
    add_weights(store, 1, 2)
    store.weights.path("run", 1).write_bytes(b"flipped")
    store.weights.path("run", 2).unlink()
    for version in (1, 2):
        with pytest.raises(Damaged):
            store.weights.load("run", version)


def add_checkpoints(store: RunStore, *updates: int, lineage: int = 0) -> None:
    for update in updates:
        store.checkpoints.add("run", update, lineage, 1000 + update, 500 + update, f"{lineage} {update}".encode(), 0.0)


def stored_updates(store: RunStore) -> list[tuple[int, int]]:
    return sorted((info.lineage, info.update) for info in store.checkpoints.all("run"))


def test_a_checkpoint_comes_back_with_where_the_log_stood(store: RunStore) -> None:
    assert store.checkpoints.newest("run") is None
    assert store.checkpoints.oldest_window("run") is None
    add_checkpoints(store, 10)
    info, data = store.checkpoints.load("run", 10)
    assert data == b"0 10"
    assert (info.update, info.lineage, info.offset, info.window) == (10, 0, 1010, 510)
    assert store.checkpoints.newest("run") == info
    with pytest.raises(NotFound, match="no checkpoint at update 11"):
        store.checkpoints.load("run", 11)
    with pytest.raises(NotFound):
        store.checkpoints.add("other", 1, 0, 0, 0, b"", 0.0)


def test_what_cannot_be_entered_leaves_no_file_and_takes_none_away(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)

    def refuse(*_: object) -> None:
        raise DiskFull("no room for the database")

    with monkeypatch.context() as patch:
        for module in ("weights", "checkpoints"):
            patch.setattr(f"tmrld.storage.{module}.reached", refuse)
        with pytest.raises(DiskFull):
            add_weights(store, 1)
        with pytest.raises(DiskFull):
            add_checkpoints(store, 10)
        assert not layout.relay_run("run").exists()
    add_weights(store, 1)
    add_checkpoints(store, 10)
    with pytest.raises(NotFound, match="no lineage 9"):
        store.weights.add("run", 2, 20, 9, b"of no lineage", 0.0)
    with pytest.raises(NotFound, match="no lineage 9"):
        add_checkpoints(store, 20, lineage=9)
    with monkeypatch.context() as patch:
        patch.setattr("tmrld.storage.checkpoints.reached", refuse)
        with pytest.raises(DiskFull):
            add_checkpoints(store, 10)  # it comes again
    assert store.checkpoints.load("run", 10)[1] == b"0 10"
    assert files(layout.run_weights("run")) == files(layout.run_checkpoints("run")) == 1


def test_the_newest_and_the_pinned_checkpoints_are_kept_and_hold_the_log(store: RunStore, tmp_path: Path) -> None:
    add_checkpoints(store, 10, 20)
    store.checkpoints.pin("run", 10)
    add_checkpoints(store, 30, 40)
    assert stored_updates(store) == [(0, 10), (0, 30), (0, 40)]
    assert store.checkpoints.oldest_window("run") == 510
    store.checkpoints.pin("run", 10, False)
    add_checkpoints(store, 50)
    assert stored_updates(store) == [(0, 40), (0, 50)]
    assert store.checkpoints.oldest_window("run") == 540
    assert files(Layout(tmp_path).run_checkpoints("run")) == 2
    with pytest.raises(NotFound):
        store.checkpoints.pin("run", 10)


def best_checkpoint(store: RunStore) -> tuple[int, int] | None:
    return next(((info.lineage, info.update) for info in store.checkpoints.all("run") if info.best), None)


def test_the_checkpoint_nearest_to_the_best_weights_is_kept_and_holds_no_log(store: RunStore, tmp_path: Path) -> None:
    add_weights(store, 1, 2, 3)  # at updates 10, 20, 30
    add_checkpoints(store, 9, 24)
    assert best_checkpoint(store) is None, "nothing was evaluated yet"
    drive(store, "a", 1, lap=10.0)
    assert best_checkpoint(store) == (0, 9)
    add_checkpoints(store, 35, 40)
    assert stored_updates(store) == [(0, 9), (0, 35), (0, 40)]
    assert store.checkpoints.oldest_window("run") == 535
    assert files(Layout(tmp_path).run_checkpoints("run")) == 3
    drive(store, "b", 3, lap=9.0)
    assert best_checkpoint(store) == (0, 35)
    add_checkpoints(store, 50, 60)
    assert stored_updates(store) == [(0, 35), (0, 50), (0, 60)]
    assert store.checkpoints.oldest_window("run") == 550
    store.checkpoints.pin("run", 35)
    assert store.checkpoints.oldest_window("run") == 535


def test_of_checkpoints_equally_near_to_the_best_weights_the_later_one_is_the_best(store: RunStore) -> None:
    add_weights(store, 2)
    drive(store, "a", 2)
    add_checkpoints(store, 15, 25)
    assert best_checkpoint(store) == (0, 25)


def test_the_best_checkpoint_is_whole_and_of_the_lineage_of_the_best_weights(store: RunStore, tmp_path: Path) -> None:
    add_weights(store, 3)  # at update 30
    drive(store, "a", 3)
    add_checkpoints(store, 10, 20)
    assert store.lineages.open("run", 10, 0.0) == 1
    add_checkpoints(store, 29, 31, 33, lineage=1)
    assert best_checkpoint(store) == (0, 20), "though those of the other branch are nearer"
    assert stored_updates(store) == [(0, 20), (1, 31), (1, 33)]
    (path,) = Layout(tmp_path).run_checkpoints("run").glob("*33-0001-*")
    path.write_bytes(b"flipped")
    with pytest.raises(Damaged):
        store.checkpoints.load("run", 33)
    store.weights.add("run", 4, 33, 1, b"weights 4", 0.0)
    drive(store, "b", 4, lap=9.0)
    assert best_checkpoint(store) == (1, 31)


def test_a_second_checkpoint_at_the_same_update_replaces_the_first(store: RunStore, tmp_path: Path) -> None:
    add_checkpoints(store, 10)
    store.checkpoints.pin("run", 10)
    store.checkpoints.add("run", 10, 0, 2, 1, b"again", 0.0)
    info, data = store.checkpoints.load("run", 10)
    assert (data, info.offset, info.pinned) == (b"again", 2, True)
    assert files(Layout(tmp_path).run_checkpoints("run")) == 1


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(
    store: RunStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_checkpoints(store, 10, 20)
    newest = max(Layout(tmp_path).run_checkpoints("run").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1] + b"!")
    with pytest.raises(Damaged):
        store.checkpoints.load("run", 20)
    found = store.checkpoints.newest("run")
    assert found is not None
    assert found.update == 10
    assert "checkpoint of run run at update 20 is damaged" in caplog.text
    assert [info.damaged for info in store.checkpoints.all("run")] == [True, False]
    add_checkpoints(store, 30)
    assert stored_updates(store) == [(0, 10), (0, 30)]


def test_checkpoints_of_hidden_branches_are_passed_over_but_not_lost_at_once(store: RunStore) -> None:
    add_checkpoints(store, 10, 20)
    assert store.lineages.open("run", 10, 0.0) == 1
    newest = store.checkpoints.newest("run")
    assert newest is not None
    assert newest.update == 10
    with pytest.raises(NotFound):
        store.checkpoints.load("run", 20)
    add_checkpoints(store, 20, lineage=1)
    assert stored_updates(store) == [(0, 10), (0, 20), (1, 20)]
    assert store.checkpoints.load("run", 20)[1] == b"1 20"
    add_checkpoints(store, 30, lineage=1)
    assert stored_updates(store) == [(1, 20), (1, 30)]


def test_a_run_that_goes_back_to_a_checkpoint_has_a_copy_of_it_as_the_newest_of_a_new_lineage(store: RunStore) -> None:
    add_checkpoints(store, 10)
    store.checkpoints.pin("run", 10)
    add_checkpoints(store, 20, 30)
    resumed = store.checkpoints.go_back("run", store.checkpoints.find("run", 20), 7.0)
    assert (resumed.update, resumed.lineage, resumed.offset, resumed.window, resumed.received_at) == (20, 1, 1020, 520, 7.0)
    assert store.checkpoints.newest("run") == resumed
    assert store.checkpoints.load("run", 20) == (resumed, b"0 20")
    assert store.lineages.visible("run") == [Span(1, None), Span(0, 20)]
    assert stored_updates(store) == [(0, 10), (0, 20), (0, 30), (1, 20)], "nothing is deleted"
    assert store.checkpoints.go_back("run", store.checkpoints.find("run", 20), 8.0) == resumed, (
        "nothing came after: nothing is new"
    )
    add_checkpoints(store, 25, lineage=1)
    again = store.checkpoints.go_back("run", store.checkpoints.find("run", 20), 9.0)
    assert (again.update, again.lineage) == (20, 2)
    assert store.lineages.visible("run") == [Span(2, None), Span(1, 20), Span(0, 20)]


def test_a_run_goes_back_to_a_superseded_checkpoint_too(store: RunStore) -> None:
    add_checkpoints(store, 10, 20)
    store.checkpoints.go_back("run", store.checkpoints.find("run", 10), 0.0)
    resumed = store.checkpoints.go_back("run", store.checkpoints.find("run", 20), 0.0)
    assert (resumed.update, resumed.lineage) == (20, 2)
    assert store.lineages.visible("run") == [Span(2, None), Span(0, 20)]


def test_the_nearest_checkpoints_are_named_and_a_damaged_one_changes_nothing(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="None is kept that could be used"):
        store.checkpoints.find("run", 10)
    add_checkpoints(store, 10, 20)
    with pytest.raises(NotFound, match=r"no checkpoint at update 14.*nearest that are kept: 10 and 20"):
        store.checkpoints.find("run", 14)
    info = store.checkpoints.find("run", 20)
    max(Layout(tmp_path).run_checkpoints("run").iterdir()).write_bytes(b"rubbish")
    with pytest.raises(Damaged):
        store.checkpoints.go_back("run", info, 0.0)
    with pytest.raises(Damaged, match=r"at update 20 is damaged.*nearest that are kept: 10\."):
        store.checkpoints.find("run", 20)
    assert len(store.lineages.all("run")) == 1
