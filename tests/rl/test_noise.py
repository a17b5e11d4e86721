"""Coloured noise: each value is standard normal, and its spectrum falls as its colour says."""

from __future__ import annotations

import numpy as np
import pytest

from tmrld.rl.noise import BLOCK, Noise, coloured

COLOURS = (0.0, 0.5, 1.0, 2.0)


def many(colour: float, size: int = 2000) -> np.ndarray:
    return coloured(256, size, colour, np.random.default_rng(0))


@pytest.mark.parametrize("colour", COLOURS)
def test_each_value_is_standard_normal_at_every_step(colour: float) -> None:
    values = many(colour)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.mean(axis=1), 0.0, atol=0.1)
    np.testing.assert_allclose(values.std(axis=1), 1.0, atol=0.1)
    assert np.mean(np.abs(values) < 1.0) == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("colour", COLOURS)
def test_its_power_falls_with_the_frequency_as_its_colour_says(colour: float) -> None:
    power = (np.abs(np.fft.rfft(many(colour), axis=0)) ** 2).mean(axis=1)[1:-1]
    frequency = np.fft.rfftfreq(256)[1:-1]
    slope = np.polyfit(np.log(frequency), np.log(power), 1)[0]
    assert slope == pytest.approx(-colour, abs=0.05)


def test_white_noise_forgets_at_once_and_pink_noise_does_not() -> None:
    def kept(colour: float, steps: int) -> float:
        values = many(colour)
        return float((values[:-steps] * values[steps:]).mean())

    assert kept(0.0, 1) == pytest.approx(0.0, abs=0.02)
    assert kept(1.0, 1) > 0.6
    assert kept(1.0, 1) > kept(1.0, 20) > 0.1


def test_the_values_of_a_step_are_independent_of_one_another() -> None:
    together = np.array([np.corrcoef(coloured(BLOCK, 2, 1.0, np.random.default_rng(seed)).T)[0, 1] for seed in range(200)])
    assert abs(together.mean()) < 0.05


def test_an_episode_gets_one_block_after_the_other() -> None:
    noise, again = Noise(3, 1.0, np.random.default_rng(4)), np.random.default_rng(4)
    expected = np.concatenate([coloured(BLOCK, 3, 1.0, again), coloured(BLOCK, 3, 1.0, again)])
    np.testing.assert_array_equal([noise.next() for _ in range(2 * BLOCK)], expected)
