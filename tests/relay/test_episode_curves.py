"""Points of the curves that episodes make."""

from __future__ import annotations

import pytest

from tmrld.payloads import EpisodeSummary
from tmrld.relay.episode_curves import KEPT_LAPS, EpisodeCurves, Made
from tmrld.storage.episodes import Episode

NOT_KNOWN = float("nan")


def an_episode(episode_return: float, lap_time_s: float | None = None, progress: float = 0.5) -> Episode:
    summary = EpisodeSummary(10, episode_return, lap_time_s is not None, lap_time_s, progress, "policy", 3)
    return Episode("e", "w", "train", "", None, 0.0, summary)


@pytest.fixture
def curves() -> EpisodeCurves:
    made = EpisodeCurves(Made(0, 0, 0))
    made.publish(3, Made(0, 30, 300))
    return made


def test_each_further_episode_moves_the_point(curves: EpisodeCurves) -> None:
    assert curves.add([an_episode(1.0)]) == [
        (
            Made(0, 30, 300),
            {"training_return": 1.0, "training_steps": 10.0, "training_finished_share": 0.0, "training_progress": 0.5},
        )
    ]
    ((_, values),) = curves.add(
        [an_episode(3.0, lap_time_s=20.0, progress=1.0), an_episode(5.0, lap_time_s=30.0, progress=NOT_KNOWN)]
    )
    assert values == {
        "training_return": 3.0,
        "training_steps": 10.0,
        "training_finished_share": pytest.approx(2 / 3),
        "training_progress": 0.75,
        "training_lap_s": 25.0,
    }


def test_what_is_not_known_of_any_episode_has_no_point(curves: EpisodeCurves) -> None:
    ((_, values),) = curves.add([an_episode(NOT_KNOWN, progress=NOT_KNOWN)])
    assert values == {"training_steps": 10.0, "training_finished_share": 0.0}


def test_however_much_one_version_drives_little_is_remembered(curves: EpisodeCurves) -> None:
    for lap in range(KEPT_LAPS + 500):
        ((_, values),) = curves.add([an_episode(1.0, lap_time_s=float(lap))])
    (driven,) = curves._driven.values()
    assert len(driven.laps) == KEPT_LAPS
    assert values["training_return"] == 1.0
    assert values["training_lap_s"] == 500 + (KEPT_LAPS - 1) / 2
