"""What the benchmark of convolutions shows them, and what it says of their cost."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import reading
import torch
from reading import Point, Reader, Scenes

from tmrld.rl.options import NetworkOptions


def test_frames_are_those_of_four_steps_and_beams_belong_to_the_last() -> None:
    seen = list(islice(reading.driven("short", seed=3), 6))

    for (frames, _), (later, _) in pairwise(seen):
        np.testing.assert_array_equal(later[:2], frames[2:])  # every second step is shown
    scenes = Scenes.of(("short",), 6, seed=3)
    np.testing.assert_array_equal(scenes.frames, np.stack([frames for frames, _ in seen]))
    np.testing.assert_array_equal(scenes.beams, np.stack([beams for _, beams in seen]))
    assert (scenes.frames.shape, scenes.beams.shape) == ((6, 4, 64, 64), (6, 19))


def test_a_reader_learns_the_beams_of_a_few_scenes() -> None:
    torch.set_num_threads(1)
    few = Scenes.of(("short",), 100, seed=0)

    points = reading.learned(Reader(reading.spec_of(grayscale=True), NetworkOptions(), 0), few, few, 120, 16, 1e-3, seed=0)

    assert [point.updates for point in points] == list(range(5, 121, 5))
    assert points[-1].error < 0.5 * few.beams.std(axis=0).mean()


def test_errors_are_compared_after_the_same_processor_time() -> None:
    fast, slow = ([Point(10 * n, n * each, 100.0 / n) for n in (1, 2, 4)] for each in (1.0, 3.0))

    assert reading.at_time(slow, fast[-1].seconds) == 100.0 - 50.0 / 3.0
    rows = reading.results(
        {"patches": [fast], "tmrl": [slow], "nature": [slow]},
        120.0,
        reading.spec_of(grayscale=True),
        reading.spec_of(grayscale=False),
    )
    found = {row["metric"]: row for row in rows}
    assert (found["error_px"]["value"], found["error_px"]["target"]) == (25.0, 25.0)
    assert (found["multiply_adds_gray"]["value"], found["multiply_adds_gray"]["peers"]["tmrl"]) == (897_792, 28_393_472)
    assert found["multiply_adds_colour"]["value"] <= found["multiply_adds_colour"]["target"]
