"""Generated tracks: a pure function of their name, as long, as wide and as tight as they should be, and never in their own way."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import make
from tmrld.envs.sim.generator import DIFFICULTIES, GRASS_M, LONGEST_M, MIN_CROSSING, SHORTEST_M, generated
from tmrld.envs.sim.scripted import scripted
from tmrld.envs.sim.track import BORDER_M, BRIDGE_M, Track
from tmrld.errors import WorldError

difficulties = st.sampled_from(list(DIFFICULTIES))
lengths = st.integers(SHORTEST_M, 2000)
seeds = st.integers(0, 2**63)

roads = given(difficulty=difficulties, length=lengths, seed=seeds)
few = settings(max_examples=40, deadline=None)


@roads
@few
def test_it_is_as_long_as_asked_for(difficulty: str, length: int, seed: int) -> None:
    track = generated(difficulty, length, seed)

    assert track.length == pytest.approx(length)
    assert track.name == f"{difficulty}-{length}-{seed}"


@roads
@few
def test_the_same_name_is_the_same_road(difficulty: str, length: int, seed: int) -> None:
    assert generated.__wrapped__(difficulty, length, seed) == generated.__wrapped__(difficulty, length, seed)


def test_it_is_the_same_road_in_another_process() -> None:
    code = "from tmrld.envs.sim.generator import generated; print(generated('hard', 1500, 4).line.sum())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert float(answer) == generated("hard", 1500, 4).line.sum()


def test_another_seed_length_or_difficulty_is_another_road() -> None:
    tracks = [generated("easy", 650, 1), generated("easy", 650, 2), generated("easy", 660, 1), generated("medium", 650, 1)]

    assert len({track.segments for track in tracks}) == 4


@roads
@few
def test_it_keeps_its_distance_from_itself_but_at_bridges(difficulty: str, length: int, seed: int) -> None:
    assert clearance(generated(difficulty, length, seed)) > GRASS_M - 0.5  # between samples it may come a little nearer


def clearance(track: Track) -> float:
    """The least grass between two parts of the road, run-in and run-out included; bridges are left out."""
    s = np.arange(-track.run_in, track.length + track.run_out, 2.0)
    x, z, _ = track.centre(s)
    half = track.half_width(s)
    need = half[:, None] + half + 2 * BORDER_M + GRASS_M
    grass = np.hypot(x[:, None] - x, z[:, None] - z) - half[:, None] - half - 2 * BORDER_M
    grass[np.abs(s[:, None] - s) < 1.3 * need + 6.0] = np.inf
    for crossing in track.crossings:
        window = float(need.max()) / math.sin(crossing.angle) + 12.0
        below, above = np.abs(s - crossing.below) < window, np.abs(s - crossing.above) < window
        grass[below[:, None] & above] = np.inf
        grass[above[:, None] & below] = np.inf
    return float(grass.min())


@roads
@few
def test_its_bridges_cross_well_and_lie_apart(difficulty: str, length: int, seed: int) -> None:
    track = generated(difficulty, length, seed)

    assert not track.crossings or difficulty != "easy"
    assert all(crossing.angle >= MIN_CROSSING for crossing in track.crossings)
    for before, after in zip(track.passages, track.passages[1:], strict=False):
        assert before.end < after.start
    for crossing in track.crossings:
        assert track.height(crossing.below) == 0.0
        assert track.height(crossing.above) == BRIDGE_M
        assert 0 < crossing.below < crossing.above < track.length


@roads
@few
def test_it_is_as_wide_and_as_tight_as_its_difficulty_says(difficulty: str, length: int, seed: int) -> None:
    track, level = generated(difficulty, length, seed), DIFFICULTIES[difficulty]
    s = np.arange(0.0, track.length, 1.0)
    widths = 2 * track.half_width(s)

    assert level.width[0] - 1e-9 <= widths.min() <= widths.max() <= level.width[1] + 1e-9
    assert np.abs(track.curvature(s)).max() <= 1 / min(level.hairpin[0], level.corner[0]) + 1e-9


@roads
@few
def test_place_heading_curvature_width_and_height_change_steadily(difficulty: str, length: int, seed: int) -> None:
    track, level = generated(difficulty, length, seed), DIFFICULTIES[difficulty]
    tightest = 1 / level.hairpin[0]
    s = np.arange(-5.0, track.length + 5.0, 0.25)
    x, z, heading = track.centre(s)

    assert np.hypot(np.diff(x), np.diff(z)) == pytest.approx(0.25, abs=0.001)
    assert np.abs(np.diff(heading)).max() <= 0.25 * tightest + 1e-9
    assert np.abs(np.diff(track.curvature(s))).max() <= 0.3 * tightest
    assert np.abs(np.diff(track.half_width(s))).max() <= 0.25 * 0.15
    assert np.abs(np.diff(track.height(s))).max() <= 0.25 * 0.2


def test_all_kinds_of_features_turn_up() -> None:
    tracks = [generated("medium", 1500, seed) for seed in range(12)]

    assert any(track.crossings for track in tracks)
    assert any(track.widths for track in tracks)
    assert any(not track.crossings for track in tracks)
    assert any(np.ptp(track.centre(np.arange(0.0, 1500.0, 5.0))[2]) > math.radians(200) for track in tracks)


def test_roads_turn_to_either_side_alike() -> None:
    bends = [segment for seed in range(60) for segment in generated("medium", 650, seed).segments if segment.curvature]
    right = sum(bend.curvature * bend.length for bend in bends if bend.curvature > 0)
    all_of_it = sum(abs(bend.curvature) * bend.length for bend in bends)

    assert 0.4 < right / all_of_it < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_longest_road_can_be_made(difficulty: str) -> None:
    track = generated(difficulty, LONGEST_M, 1)

    assert track.length == pytest.approx(LONGEST_M)


@pytest.mark.parametrize(
    ("difficulty", "length", "seed", "sentence"),
    [
        ("medum", 650, 1, "did you mean 'medium'"),
        ("insane", 650, 1, "there are easy, medium, hard"),
        ("easy", 199, 1, "199 m cannot be made: its length must be from 200 to 20,000 m"),
        ("easy", 20_001, 1, "20,001 m cannot be made"),
        ("easy", 650, -1, "a whole number from 0 up, not -1"),
    ],
)
def test_what_cannot_be_made_is_said(difficulty: str, length: int, seed: int, sentence: str) -> None:
    with pytest.raises(WorldError, match=sentence):
        generated(difficulty, length, seed)


def finishes(name: str) -> bool:
    """Whether the scripted driver reaches the finish of that track."""
    env = make(EnvironmentOptions(track=name, max_steps=4000))
    observation, info = env.reset(seed=0)
    ended = False
    while not ended:
        observation, _, terminated, truncated, info = env.step(scripted(observation))
        ended = terminated or truncated
    env.close()
    return bool(info["finished"])


@pytest.mark.parametrize("name", ["easy-400-1", "medium-400-2", "medium-650-3"])  # the last one has a bridge
def test_the_scripted_driver_finishes(name: str) -> None:
    assert finishes(name)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_scripted_driver_finishes_many(difficulty: str) -> None:
    names = [f"{difficulty}-650-{seed}" for seed in range(60)] + [f"{difficulty}-1500-{seed}" for seed in range(10)]

    assert [name for name in names if not finishes(name)] == []
