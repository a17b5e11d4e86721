"""Every curve that is reported has an entry that says what it is."""

from __future__ import annotations

import re

from tests.trainer.runs import a_log, a_loop, ingest_until
from tmrld.control.catalogue import BY_NAME, ENTRIES, GROUPS, OTHER, info
from tmrld.payloads import EpisodeSummary
from tmrld.relay.episode_curves import NAMES, EpisodeCurves, Made
from tmrld.rl.options import ALGORITHMS
from tmrld.storage.episodes import Episode
from tmrld.trainer.engine import Pace, measurements


def reported_by_a_trainer() -> set[str]:
    """After an update of every algorithm of ours, with demonstrations to learn from."""
    names: set[str] = set()
    for algorithm in ALGORITHMS:
        loop = a_loop(demonstrations=a_log(1), name=algorithm)
        ingest_until(loop, a_log(4), 40)
        loop.update()
        names |= set(measurements(loop, Pace()))
    return names


def made_of_episodes() -> set[str]:
    curves = EpisodeCurves(Made(0, 0, 0))
    summary = EpisodeSummary(10, 1.0, True, 30.0, 1.0, "policy", -1)
    points = curves.add([Episode(purpose, "w1", purpose, "oval", 0, 1.0, summary) for purpose in NAMES])
    return {name for _, values in points for name in values}


def test_every_metric_that_is_reported_has_an_entry_and_every_entry_is_reported() -> None:
    assert reported_by_a_trainer() | made_of_episodes() == set(BY_NAME)


def test_every_entry_says_in_sentences_what_it_is_and_what_is_healthy() -> None:
    for entry in ENTRIES:
        assert entry.title
        assert entry.group in GROUPS
        for sentence in (entry.description, entry.healthy):
            assert re.fullmatch(r"[A-Z].{8,}\.", sentence), f"{entry.name}: {sentence}"
            assert not re.search(r",\s*[,.;]", sentence), f"{entry.name}: {sentence}"
    assert len({(entry.group, entry.title) for entry in ENTRIES}) == len(ENTRIES)


def test_what_an_algorithm_of_ones_own_reports_is_shown_by_its_name() -> None:
    own = info("my_loss")
    assert (own.title, own.group, own.better) == ("my_loss", OTHER, None)
