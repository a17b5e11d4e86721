"""Reading and resampling recorded lines."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.trackmania.tracks import kept, parse, read, resampled
from tmrld.errors import WorldError


def test_points_are_laid_a_tenth_of_a_metre_apart_and_the_end_is_kept() -> None:
    line = resampled([(0, 0, 0), (0, 0, 1), (2, 0, 1)])

    assert len(line) == 31
    assert np.linalg.norm(np.diff(line, axis=0), axis=1) == pytest.approx(np.full(30, 0.1))
    assert line[0].tolist() == [0, 0, 0]
    assert line[10] == pytest.approx([0, 0, 1])  # the corner
    assert line[-1].tolist() == [2, 0, 1]


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=2, max_size=20))
@settings(deadline=None)
def test_resampling_keeps_ends_and_spacing(points: list[tuple[float, float, float]]) -> None:
    length = np.linalg.norm(np.diff(np.array(points), axis=0), axis=1).sum()
    if length < 0.3:
        return
    line = resampled(points)
    gaps = np.linalg.norm(np.diff(line, axis=0), axis=1)

    assert line[0] == pytest.approx(points[0])
    assert line[-1] == pytest.approx(points[-1])
    assert gaps.max() < 0.16  # along the line they are even; across a corner they are shorter


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=2, max_size=20))
def test_a_line_that_is_kept_is_kept_as_it_is_from_then_on(points: list[tuple[float, float, float]]) -> None:
    if np.linalg.norm(np.diff(np.array(points), axis=0), axis=1).sum() < 5.0:
        return
    line = kept(points)

    assert np.array_equal(kept(line), line)
    assert np.array_equal(kept(line[::7]), resampled(line[::7]))
    assert np.array_equal(kept(line * 0.5), resampled(line * 0.5))


def test_text_and_npy_are_read(tmp_path: Path) -> None:
    points = [(0.0, 5.0, 0.0), (0.0, 5.0, 10.0)]
    text = tmp_path / "line.csv"
    text.write_text("0, 5, 0\n0, 5, 10\n")
    binary = tmp_path / "line.npy"
    np.save(binary, np.array(points, np.float32))

    assert np.array_equal(read(text), resampled(points))
    assert np.array_equal(read(binary), resampled(points))


def test_a_missing_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"nowhere\.csv cannot be read"):
        read(tmp_path / "nowhere.csv")


def test_pickled_objects_are_never_loaded() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"code": print}], dtype=object), allow_pickle=True)

    with pytest.raises(WorldError, match="is not a line of points"):
        parse(stream.getvalue(), "evil.npy")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"1 2 3\n4 5\n",
        b"\xff\xfe",
        b"\x93NUMPY",
        b"1 2 nan\n1 2 9\n",
        b"1 2\n3 4\n",
        b"0 0 0\n1e308 0 0\n-1e308 0 0\n",
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(WorldError, match="odd"):
        parse(data, "odd.txt")


def test_a_file_that_says_it_holds_more_than_any_machine_is_refused() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)})
    with pytest.raises(WorldError, match=r"odd\.npy is not a line of points"):
        parse(stream.getvalue(), "odd.npy")


def test_a_line_of_two_points_of_tmrls_dummy_kind_is_too_short() -> None:
    with pytest.raises(WorldError, match="too short"):
        resampled([(0, 0, 0), (0, 0, 0.1)])


def test_a_line_in_the_wrong_unit_is_refused() -> None:
    with pytest.raises(WorldError, match="metres"):
        resampled([(0, 0, 0), (0, 0, 1e9)])
