"""The loops between the matrix products of a network: each goes once over memory that several steps of torch go over one by one.

Compiled by numba when they are first called, and kept for later processes.  Arrays are float32 if nothing else is said; those of
layers are of several networks at once, (members, batch, width).
What is not a number stays so, and shows that a training has diverged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import exp, log, log1p, pi
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache

from tmrld.payloads import Array

F = TypeVar("F", bound=Callable[..., None])
ZERO, HALF, ONE, TWO = (np.float32(number) for number in (0.0, 0.5, 1.0, 2.0))
EPSILON = np.float32(1e-5)
"""Added to a variance before its root is divided by; torch's layer normalisation has the same."""
LOG_2, LOG_2_PI = log(2.0), log(2.0 * pi)


class _Kept(FunctionCache):
    """Machine code in a file.  What a power cut or a full disk left there is compiled again, and what finds no room is not kept."""

    def load_overload(self, sig: object, target_context: object) -> Any:
        with suppress(Exception):  # a damaged file raises anything
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, sig: object, data: object) -> None:
        with suppress(Exception):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def compiled(function: F) -> F:
    """The same, as machine code.  Sums may be taken in another order, which is what lets them go sixteen at a time."""
    loop: Any = njit(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")(function)
    with suppress(RuntimeError):  # there is no folder where it could be kept
        loop._cache = _Kept(function)  # type: ignore[no-untyped-call]  # njit's own cache lets errors through
    return cast(F, loop)


@compiled
def activate(values: Array, bias: Array) -> None:
    """values ← relu(values + bias); bias (members, width)."""
    members, batch, width = values.shape
    for i in range(members):
        for j in range(batch):
            for k in range(width):
                value = values[i, j, k] + bias[i, k]
                values[i, j, k] = ZERO if value <= ZERO else value


@compiled
def activate_back(gradient: Array, activated: Array, of_bias: Array) -> None:
    """The gradient of what `activate` gave becomes that of what it got; its sum over the batch is the bias's, (members, width)."""
    members, batch, width = gradient.shape
    of_bias[:] = ZERO
    for i in range(members):
        for j in range(batch):
            for k in range(width):
                value = ZERO if activated[i, j, k] <= ZERO else gradient[i, j, k]
                gradient[i, j, k] = value
                of_bias[i, k] += value


@compiled
def normalise(values: Array, bias: Array, activated: Array, factors: Array) -> None:
    """values ← values + bias, brought to mean 0 and deviation 1 over the width; activated ← relu of that.

    ``factors`` (members, batch) become what was divided by the deviation.  tmrld.rl.layers.normalised is the same.
    """
    members, batch, width = values.shape
    for i in range(members):
        for j in range(batch):
            total = ZERO
            for k in range(width):
                value = values[i, j, k] + bias[i, k]
                values[i, j, k] = value
                total += value
            mean = total / np.float32(width)
            squares = ZERO
            for k in range(width):
                value = values[i, j, k] - mean
                squares += value * value
            factor = ONE / np.sqrt(squares / np.float32(width) + EPSILON)
            factors[i, j] = factor
            for k in range(width):
                value = (values[i, j, k] - mean) * factor
                values[i, j, k] = value
                activated[i, j, k] = ZERO if value <= ZERO else value


@compiled
def normalise_back(gradient: Array, normalised: Array, factors: Array, of_bias: Array) -> None:
    """As `activate_back`, of `normalise`: ``normalised`` and ``factors`` are what that made of its values."""
    members, batch, width = gradient.shape
    of_bias[:] = ZERO
    for i in range(members):
        for j in range(batch):
            total, along = ZERO, ZERO
            for k in range(width):
                value = ZERO if normalised[i, j, k] <= ZERO else gradient[i, j, k]
                gradient[i, j, k] = value
                total += value
                along += value * normalised[i, j, k]
            mean, slope, factor = total / np.float32(width), along / np.float32(width), factors[i, j]
            for k in range(width):
                value = factor * (gradient[i, j, k] - mean - slope * normalised[i, j, k])
                gradient[i, j, k] = value
                of_bias[i, k] += value


@compiled
def value(activated: Array, weight: Array, bias: Array, values: Array) -> None:
    """The last layer, one number each: weight (members, width), bias (members,), values (members, batch)."""
    members, batch, width = activated.shape
    for i in range(members):
        for j in range(batch):
            total = ZERO
            for k in range(width):
                total += activated[i, j, k] * weight[i, k]
            values[i, j] = total + bias[i]


@compiled
def inputs_back(gradient: Array, weight: Array, of_inputs: Array) -> None:
    """From the gradient of what a first layer made to that of the last of its inputs, (batch, some), over all members.

    The weight is (members, inputs, width).
    """
    members, batch, width = gradient.shape
    some = of_inputs.shape[1]
    before = weight.shape[1] - some
    for j in range(batch):
        for a in range(some):
            total = ZERO
            for i in range(members):
                for k in range(width):
                    total += gradient[i, j, k] * weight[i, before + a, k]
            of_inputs[j, a] = total


@compiled
def squash(head: Array, low: float, high: float, noise: Array, action: Array, log_prob: Array) -> None:
    """Actions tanh(mean + exp(log_std) · noise), (batch, action_size), and their log-densities, (batch,).

    The head is (batch, 2 · action_size): the mean, then log_std, which is kept between ``low`` and ``high``.  The formula is that of
    tmrld.rl.policy.TanhGaussian.
    """
    batch, size = noise.shape
    for j in range(batch):
        total = -np.float32(size * (2.0 * LOG_2 + 0.5 * LOG_2_PI))
        for a in range(size):
            log_std = min(max(head[j, size + a], np.float32(low)), np.float32(high))
            raw = head[j, a] + np.float32(exp(log_std)) * noise[j, a]
            distance = abs(raw)
            flat = np.float32(exp(-TWO * distance))
            squashed = (ONE - flat) / (ONE + flat)
            action[j, a] = squashed if raw >= ZERO else -squashed
            total += TWO * (distance + np.float32(log1p(flat))) - log_std - HALF * noise[j, a] * noise[j, a]
        log_prob[j] = total


@compiled
def squash_back(
    head: Array,
    low: float,
    high: float,
    noise: Array,
    action: Array,
    of_action: Array,
    of_log_prob: Array,
    of_head: Array,
) -> None:
    """The gradient of the head that `squash` got, from those of what it gave."""
    batch, size = noise.shape
    for j in range(batch):
        for a in range(size):
            log_std, squashed = head[j, size + a], action[j, a]
            of_raw = of_action[j, a] * (ONE - squashed * squashed) + TWO * of_log_prob[j] * squashed
            of_head[j, a] = of_raw
            of_head[j, size + a] = of_raw * np.float32(exp(log_std)) * noise[j, a] - of_log_prob[j]
            if log_std < np.float32(low) or log_std > np.float32(high):
                of_head[j, size + a] = ZERO


@compiled
def follow(
    values: Array, seen: float, least_deviation: float, mean: Array, variance: Array, shift: Array, factor: Array
) -> None:
    """Mean and variance (size,) float64 of rows ``seen`` so far take in more of them, (batch, size); see tmrld.rl.normaliser.

    ``shift`` and ``factor`` (size,) become the mean, and what to multiply by to divide by the deviation.
    """
    batch, size = values.shape
    share = batch / (seen + batch)
    means, variances = np.zeros(size), np.zeros(size)
    for j in range(batch):
        for k in range(size):
            means[k] += values[j, k]
    means /= batch
    for j in range(batch):
        for k in range(size):
            variances[k] += (values[j, k] - means[k]) ** 2
    variances /= batch
    for k in range(size):
        difference = means[k] - mean[k]
        variance[k] += share * (variances[k] - variance[k]) + share * (1.0 - share) * difference**2
        mean[k] += share * difference
        shift[k] = mean[k]
        factor[k] = 1.0 / np.sqrt(max(variance[k], least_deviation**2))
