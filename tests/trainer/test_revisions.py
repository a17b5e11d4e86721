"""Options that change while a run is under way: from which update on, and again when the run is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.runs import TRAINING, a_log, a_loop, assert_same_state, ingest_until
from tmrld.errors import Damaged, StorageError
from tmrld.rl.options import AlgorithmOptions
from tmrld.storage import files
from tmrld.trainer.checkpoints import Journal, JournalEntry
from tmrld.trainer.loop import TrainingLoop
from tmrld.trainer.options import TrainingOptions
from tmrld.trainer.revisions import Revisions

LOG = a_log(10)
FIRST = AlgorithmOptions(batch_size=4, warm_up=6, update_to_data=1.0)
SECOND = FIRST.model_copy(update={"learning_rate_actor": 0.01, "batch_size": 5, "learn_alpha": False, "alpha": 0.2})


def a_loop_at(updates: int) -> TrainingLoop:
    loop = a_loop()
    ingest_until(loop, LOG, 100)
    make_updates(loop, updates)
    return loop


def make_updates(loop: TrainingLoop, number: int) -> None:
    for _ in range(number):
        loop.update()


# The loop


def test_other_options_keep_memory_counters_and_what_optimizers_remember() -> None:
    loop = a_loop_at(5)
    (before, _), transitions = loop.state(), len(loop.replay)
    loop.set_options(SECOND, TRAINING)
    (after, _) = loop.state()
    assert (loop.counters.updates, len(loop.replay)) == (5, transitions)
    kept = [name for name in after if name.startswith(("policy", "critic", "target"))]
    assert any("optimizer" in name for name in kept)
    for name in kept:
        assert before[name].tobytes() == after[name].tobytes(), name


def test_a_loop_is_restored_with_the_options_it_had() -> None:
    loop = a_loop_at(5)
    loop.set_options(SECOND, TRAINING.model_copy(update={"slack_transitions": 77}))
    make_updates(loop, 3)
    again = a_loop()
    again.restore(*loop.state())
    ingest_until(again, LOG, 0)
    assert again.state()[1]["options"] == loop.state()[1]["options"]
    assert again.granted == loop.granted


@pytest.mark.parametrize("options", [None, {"algorithm": {"gone": 1}, "training": {}}])
def test_a_checkpoint_of_another_version_is_restored_with_the_options_of_the_run(options: object) -> None:
    arrays, plain = a_loop_at(5).state()
    plain["options"] = options
    if options is None:
        del plain["options"]
    loop = a_loop()
    loop.restore(arrays, plain)
    assert loop.counters.updates == 5


# The journal


def test_the_journal_says_when_options_changed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    entries = [
        JournalEntry(0, revision=1),
        JournalEntry(0, 40),
        JournalEntry(7, revision=2),
        JournalEntry(7, 80),
        JournalEntry(9, 80),
    ]
    for entry in entries:
        journal.append(entry)
    journal.close()
    again = Journal(tmp_path / "journal")
    assert again.after(0, 0) == entries
    assert again.after(7, 40, revision=1) == entries[2:]
    assert again.after(7, 40, revision=2) == entries[3:], "a checkpoint that was taken after the change holds it"
    again.close()


def test_a_run_that_was_killed_changes_its_options_at_the_same_update_again(tmp_path: Path) -> None:
    """As the engine does it: journalled, then in use; after the kill from the checkpoint before the change."""
    loop = a_loop()
    ingest_until(loop, LOG, 50)
    make_updates(loop, 4)
    arrays, plain = loop.state()
    revisions, journal = Revisions(tmp_path / "revisions"), Journal(tmp_path / "journal")
    make_updates(loop, 3)
    revisions.keep(2, SECOND, TRAINING)
    journal.append(JournalEntry(7, revision=2))
    loop.set_options(SECOND, TRAINING)
    make_updates(loop, 4)
    journal.append(JournalEntry(11, 100))
    ingest_until(loop, LOG, 100)
    make_updates(loop, 1)
    journal.append(JournalEntry(12, 100))
    journal.close()

    again = a_loop(learning_rate_actor=0.5)  # a third revision by now
    again.restore(arrays, plain)
    again.counters.offset = 0
    ingest_until(again, LOG, 50)
    journal = Journal(tmp_path / "journal")
    for entry in journal.after(4, 50, revision=1):
        make_updates(again, entry.update - again.counters.updates)
        if entry.revision:
            again.set_options(*revisions.read(entry.revision))
        ingest_until(again, LOG, entry.offset)
    journal.close()
    again.counters.transitions = loop.counters.transitions
    assert_same_state(again, loop)


# The revisions' files


def test_a_revision_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    revisions = Revisions(tmp_path / "revisions")
    revisions.keep(2, SECOND, TrainingOptions(seed=4))
    assert revisions.read(2) == (SECOND, TrainingOptions(seed=4))


def test_a_revision_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    revisions = Revisions(tmp_path)
    with pytest.raises(StorageError, match=r"3\.json"):
        revisions.read(3)
    (tmp_path / "3.json").write_text("{}")
    with pytest.raises(Damaged, match=r"3\.json is damaged"):
        revisions.read(3)
    files.write_manifest(tmp_path / "3.json", "tmrld training options", 1, {"algorithm": {"gamma": "high"}})
    with pytest.raises(Damaged, match=r"3\.json does not hold the options of a revision"):
        revisions.read(3)
