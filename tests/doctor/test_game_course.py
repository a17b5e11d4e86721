"""The line of the track, as a file that a player has, and the car that is told to be somewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.doctor.looks import by_code, told
from tmrld.doctor.course import MOST_POINTS, gather_course, judge_course
from tmrld.envs.options import RewardOptions

NOTHING = told(seconds=0)
STRAIGHT = np.column_stack([np.zeros(5001), np.full(5001, 8.0), np.arange(5001) * 0.1])


def saved(folder: Path, line: NDArray[np.float64]) -> str:
    np.save(folder / "oval.npy", line)
    return str(folder / "oval.npy")


def codes(track: str, records: NDArray[np.float64] = NOTHING, *, at_start: bool = False, **reward: float) -> set[str]:
    return set(by_code(judge_course(gather_course(track), records, RewardOptions(**reward), at_start=at_start)))


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    assert codes(str(tmp_path / "oval.npy")) == {"track-missing"}


def test_a_name_is_the_relay_s_to_look_up() -> None:
    assert codes("oval") == {"track-on-shelf"}


def test_a_file_that_is_no_line(tmp_path: Path) -> None:
    (tmp_path / "oval.npy").write_bytes(b"\x93NUMPY, and nothing more")
    assert codes(str(tmp_path / "oval.npy")) == {"track-unreadable"}


def test_two_points_that_a_recording_ended_with(tmp_path: Path) -> None:
    found = by_code(judge_course(gather_course(saved(tmp_path, STRAIGHT[:2])), NOTHING, RewardOptions(), at_start=False))
    assert "too short" in found["track-unreadable"].text


def test_a_line_that_ends_after_a_few_metres(tmp_path: Path) -> None:
    assert codes(saved(tmp_path, STRAIGHT[:100])) == {"track-short"}


def test_a_line_is_kept_small_with_both_ends(tmp_path: Path) -> None:
    long = np.column_stack([np.zeros(50_001), np.zeros(50_001), np.arange(50_001) * 0.1])
    seen = gather_course(saved(tmp_path, long))
    assert len(seen.points) <= MOST_POINTS + 1
    assert seen.points[[0, -1], 2].tolist() == [0.0, 5000.0]
    assert seen.length_m == pytest.approx(5000.0)


def test_a_car_on_the_line_is_well(tmp_path: Path) -> None:
    track = saved(tmp_path, STRAIGHT)
    assert codes(track, told(x=3.0, y=8.0, z=0.0), at_start=True) == set()
    assert codes(track, told(x=-5.0, y=8.0, z=321.0)) == set()


@pytest.mark.parametrize("place", [{"x": 300.0, "y": 8.0, "z": 0.0}, {"x": 0.0, "y": 90.0, "z": 0.0}])
def test_a_car_on_another_map(tmp_path: Path, place: dict[str, float]) -> None:
    found = by_code(judge_course(gather_course(saved(tmp_path, STRAIGHT)), told(**place), RewardOptions(), at_start=True))
    assert "the line of oval:" in found["track-elsewhere"].text


def test_a_line_that_begins_elsewhere_than_the_race(tmp_path: Path) -> None:
    track = saved(tmp_path, STRAIGHT)
    assert codes(track, told(x=0.0, y=8.0, z=200.0), at_start=True) == {"track-starts-elsewhere"}
    assert codes(track, told(x=0.0, y=8.0, z=200.0), at_start=True, check_forward=3000) == set()


def test_who_the_user_is_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "oval.npy").write_bytes(b"no line")
    seen = gather_course(str(tmp_path / "oval.npy"))
    assert str(tmp_path) not in seen.track + seen.problem
    assert seen.track.startswith("~")
