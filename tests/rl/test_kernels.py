"""What the loops do besides what tests of networks, policies and normalisers show."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.caching import FunctionCache

from tmrld.payloads import Array
from tmrld.rl import kernels

NOTHING = np.zeros((1, 3), np.float32)


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def test_what_is_not_a_number_stays_so() -> None:
    values = np.array([[[-1.0, np.nan, 2.0]]], np.float32)
    kernels.activate(values, NOTHING)
    assert np.isnan(values).tolist() == [[[False, True, False]]]
    assert values[0, 0, ::2].tolist() == [0.0, 2.0]

    gradient, of_bias = ones(1, 1, 3), ones(1, 3)
    kernels.activate_back(gradient, values, of_bias)
    assert gradient.tolist() == [[[0.0, 1.0, 1.0]]], "its gradient is not lost"

    lost, activated, factors = np.array([[[-1.0, np.nan, 2.0]]], np.float32), ones(1, 1, 3), ones(1, 1)
    kernels.normalise(lost, NOTHING, activated, factors)
    assert np.isnan(activated).all()

    action, log_prob = ones(2, 1), ones(2)
    kernels.squash(np.array([[np.nan, 0.0], [0.0, np.nan]], np.float32), -20.0, 2.0, ones(2, 1), action, log_prob)
    assert np.isnan(action).all()
    assert np.isnan(log_prob).all()


def test_actions_far_out_have_a_finite_density_and_stay_inside() -> None:
    head, action, log_prob = np.array([[1e4, 2.0], [-1e4, -20.0]], np.float32), ones(2, 1), ones(2)

    kernels.squash(head, -20.0, 2.0, ones(2, 1), action, log_prob)

    assert action.ravel().tolist() == [1.0, -1.0]
    assert np.isfinite(log_prob).all()


DOUBLE = """
import numpy as np

def double(values):
    values *= np.float32(2.0)
"""


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Array]:
    """Compiles a loop of a module as a process does that has not met it yet, and calls it."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "loops.py").write_text(DOUBLE)
    monkeypatch.syspath_prepend(tmp_path)

    def call() -> Array:
        sys.modules.pop("loops", None)
        loop = kernels.compiled(importlib.import_module("loops").double)
        values = ones(2)
        loop(values)
        return values

    return call


def test_machine_code_is_kept(double: Callable[[], Array], tmp_path: Path) -> None:
    assert double().tolist() == [2.0, 2.0]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb?")}
    assert len(kept) == 2

    assert double().tolist() == [2.0, 2.0]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb?")} == kept


@pytest.mark.parametrize("which", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("left", [0, 40])
def test_where_a_power_cut_tore_it_a_loop_is_compiled_again(
    double: Callable[[], Array], tmp_path: Path, which: str, left: int
) -> None:
    double()
    (torn,) = (tmp_path / "cache").rglob(which)
    torn.write_bytes(torn.read_bytes()[:left])

    assert double().tolist() == [2.0, 2.0]


def test_without_room_to_keep_it_in_a_loop_is_compiled_all_the_same(
    double: Callable[[], Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FunctionCache, "_save_overload", full)

    assert double().tolist() == [2.0, 2.0]


def test_without_a_folder_to_keep_it_in_a_loop_is_compiled_all_the_same(
    double: Callable[[], Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object) -> None:
        raise RuntimeError("cannot cache function 'double': no locator available")

    monkeypatch.setattr(FunctionCache, "__init__", nowhere)

    assert double().tolist() == [2.0, 2.0]
