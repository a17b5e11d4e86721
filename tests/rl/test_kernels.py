"""What the loops do besides what tests of networks, policies and normalisers show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

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


def test_without_a_folder_to_keep_it_in_a_loop_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def without_folder(cache: bool, **options: Any) -> Callable[..., Any]:
        def compiled(function: Callable[..., Any]) -> Any:
            asked.append(cache)
            if cache:
                raise RuntimeError("cannot cache function 'double': no locator available")
            return numba.njit(cache=cache, **options)(function)

        return compiled

    monkeypatch.setattr(kernels, "njit", without_folder)

    @kernels.compiled
    def double(values: Array) -> None:
        values *= np.float32(2.0)

    values = ones(2)
    double(values)
    assert values.tolist() == [2.0, 2.0]
    assert asked == [True, False]
