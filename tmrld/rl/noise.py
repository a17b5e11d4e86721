"""The noise that a policy explores with: coloured, so that what it tries lasts for more than a step.

The power of noise of the colour c at a frequency f goes with 1 / f^c: 0 is white, where each step is on its own, 1 is pink, 2 is
red, a random walk.  A little more gas for a twentieth of a second changes next to nothing, and what changes nothing teaches
nothing; pink noise drives faster, or further to the left, for a while, and for a longer while now and then.  Whatever the colour,
each value by itself is standard normal, so that each step has the distribution that the policy gives.

Eberhard et al., "Pink Noise Is All You Need: Colored Noise Exploration in Deep Reinforcement Learning", ICLR 2023.  Drawn as in
Timmer and König 1995 (Astronomy and Astrophysics 300, 707): a Gaussian spectrum, and its Fourier transform.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from tmrld.payloads import Array

BLOCK = 1024
"""So many steps are drawn at once; nothing lasts for longer."""


class Noise:
    """What one episode explores with, step by step: ``size`` values each, all independent of one another."""

    def __init__(self, size: int, colour: float, rng: np.random.Generator) -> None:
        self._size = size
        self._colour = colour
        self._rng = rng
        self._block = np.empty((0, size), np.float32)
        self._at = 0

    def next(self) -> Array:
        """The noise of the next step: (size,) float32."""
        if self._at == len(self._block):
            self._block, self._at = coloured(BLOCK, self._size, self._colour, self._rng), 0
        self._at += 1
        values: Array = self._block[self._at - 1]
        return values


def coloured(steps: int, size: int, colour: float, rng: np.random.Generator) -> Array:
    """An even number of steps of standard normal noise of that colour: (steps, size) float32."""
    frequencies = np.fft.rfftfreq(steps)
    frequencies[0] = frequencies[1]  # the mean of the block: as strong as what changes slowest
    amplitudes = frequencies ** (-colour / 2)
    amplitudes[[0, -1]] *= sqrt(2.0)  # these two are real
    real, imaginary = rng.standard_normal((2, len(frequencies), size))
    values = np.fft.irfft(amplitudes[:, None] * (real + 1j * imaginary), steps, axis=0)
    mirrored = np.full(len(frequencies), 4.0)
    mirrored[[0, -1]] = 1.0
    deviation = np.sqrt((mirrored * amplitudes**2).sum()) / steps
    result: Array = (values / deviation).astype(np.float32)
    return result
