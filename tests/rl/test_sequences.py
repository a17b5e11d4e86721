"""Windows of episodes: each shows one episode as it was driven, whatever chunks it came in, and learns from every step of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rl.experience import Episode, cut_all, flat, lidar_spec, make_episode, picture_spec, point_spec
from tmrld.errors import BadInput
from tmrld.payloads import POLICY, Array, Chunk, EnvSpec
from tmrld.rl.replay import Batch, Replay, joined

GAMMA = 0.9


def chunks_of(episodes: Sequence[Episode], sizes: list[int], rng: np.random.Generator) -> list[Chunk]:
    """Chunks of several episodes as a relay gets them: each episode's in order, those of different ones in any."""
    queues = [
        [replace(chunk, episode=str(number)) for chunk in cut_all(episode, sizes)] for number, episode in enumerate(episodes)
    ]
    found: list[Chunk] = []
    while queues := [queue for queue in queues if queue]:
        found.append(queues[rng.integers(len(queues))].pop(0))
    return found


def told_apart(spec: EnvSpec, lengths: Sequence[int], rng: np.random.Generator) -> list[Episode]:
    """Episodes whose steps are known by their rewards: 1000 · episode + step."""
    episodes = [make_episode(spec, steps, rng, terminated=bool(steps % 2)) for steps in lengths]
    for number, episode in enumerate(episodes):
        for step, row in enumerate(episode.rows):
            row["reward"] = np.asarray(1000 * number + step, np.float32)
    return episodes


def assert_as_driven(batch: Batch, episodes: Sequence[Episode], n_step: int) -> None:
    """Every transition of a batch of windows is one of these episodes', and all that is seen around it was seen around it there."""
    spec = episodes[0].spec
    assert batch.places is not None
    assert batch.next_places is not None
    _, positions, _ = batch.observation["vector"].shape
    vectors = batch.observation["vector"].reshape(-1, batch.observation["vector"].shape[2])
    for row, (place, next_place) in enumerate(zip(batch.places.tolist(), batch.next_places.tolist(), strict=True)):
        number, step = _which(episodes, batch.action[row])
        episode, steps = episodes[number], int(batch.steps[row])
        assert 1 <= steps <= n_step
        assert next_place - place == steps
        assert place // positions == next_place // positions
        np.testing.assert_array_equal(vectors[place], flat(spec, episode.observations[step - 1]))
        np.testing.assert_array_equal(vectors[next_place], flat(spec, episode.observations[step - 1 + steps]))
        for part in (part for part in spec.parts if len(part.shape) > 1):
            images = batch.observation[part.name].reshape(-1, *part.observed_shape)
            index = spec.parts.index(part)
            np.testing.assert_array_equal(images[place], episode.observations[step - 1][index])
            np.testing.assert_array_equal(images[next_place], episode.observations[step - 1 + steps][index])
        earned = sum(GAMMA**ahead * float(episode.rows[step + ahead]["reward"]) for ahead in range(steps))
        assert batch.reward[row] == pytest.approx(earned, rel=1e-5)
        assert batch.terminated[row] == float(episode.rows[step + steps - 1]["terminated"])
        for back in range(1, place % positions + 1):  # what was read before belongs to the same episode, in its order
            np.testing.assert_array_equal(vectors[place - back], flat(spec, episode.observations[step - 1 - back]))


def _which(episodes: Sequence[Episode], action: Array) -> tuple[int, int]:
    """The episode and step of an action, which are drawn from a continuum."""
    found = [
        (number, step)
        for number, episode in enumerate(episodes)
        for step, row in enumerate(episode.rows)
        if step and np.array_equal(row["action"], action)
    ]
    assert len(found) == 1
    return found[0]


@given(
    lengths=st.lists(st.integers(1, 23), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    length=st.integers(1, 6),
    burn_in=st.integers(0, 5),
    n_step=st.integers(1, 4),
    capacity=st.integers(25, 60),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30)
def test_windows_are_what_was_driven(
    lengths: list[int], sizes: list[int], length: int, burn_in: int, n_step: int, capacity: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    episodes = told_apart(lidar_spec(), lengths, rng)
    replay = Replay(lidar_spec(), capacity, linked=True)
    for chunk in chunks_of(episodes, sizes, rng):
        replay.append(chunk)
        batch = replay.sample_windows(7, rng, length, burn_in, n_step, GAMMA)
        assert 7 <= len(batch.action) <= 7 * length
        assert batch.observation["vector"].shape[:2] == (7, burn_in + length + n_step)
        assert_as_driven(batch, episodes, n_step)


@pytest.mark.parametrize("history", [0, 3])
def test_windows_of_pictures_are_what_was_driven(history: int) -> None:
    spec = picture_spec((5, 4), history)
    rng = np.random.default_rng(3)
    episodes = told_apart(spec, (9, 14), rng)
    replay = Replay(spec, 100, linked=True)
    for chunk in chunks_of(episodes, [4], rng):
        replay.append(chunk)
    assert_as_driven(replay.sample_windows(30, rng, 4, 3, 2, GAMMA), episodes, 2)


def test_no_step_of_an_episode_is_learned_from_much_less_than_others() -> None:
    replay = Replay(point_spec(), 100, linked=True)
    episode = told_apart(point_spec(), (41,), np.random.default_rng(0))
    for chunk in chunks_of(episode, [7], np.random.default_rng(0)):
        replay.append(chunk)
    batch = replay.sample_windows(20_000, np.random.default_rng(1), 8, 4)
    counts = np.bincount(batch.reward.astype(int), minlength=42)[1:]
    assert counts.min() > 0.4 * counts.mean()
    assert counts[10:30].std() < 0.1 * counts[10:30].mean()


def test_windows_go_on_over_the_ends_of_chunks_and_read_as_much_before_as_there_is() -> None:
    replay = Replay(point_spec(), 100, linked=True)
    for chunk in chunks_of(told_apart(point_spec(), (30,), np.random.default_rng(0)), [3], np.random.default_rng(0)):
        replay.append(chunk)
    batch = replay.sample_windows(200, np.random.default_rng(1), 10, 5)
    assert batch.places is not None
    windows, begins = np.unique(batch.places // 16, return_index=True)
    assert len(windows) == 200
    begin, first = batch.places[begins] % 16, batch.reward[begins]
    np.testing.assert_array_equal(begin, np.minimum(first - 1, 5))


def test_a_memory_filled_with_the_same_chunks_draws_the_same_windows() -> None:
    rng = np.random.default_rng(0)
    chunks = chunks_of(told_apart(lidar_spec(), (17, 23, 31, 12), rng), [5, 8], rng)
    whole, late = (Replay(lidar_spec(), 40, linked=True) for _ in range(2))
    for chunk in chunks:
        whole.append(chunk)
    oldest = len(chunks)
    while sum(chunk.steps for chunk in chunks[oldest - 1 :]) <= 40:
        oldest -= 1
    for chunk in chunks[oldest:]:
        late.append(chunk)
    first, second = (replay.sample_windows(50, np.random.default_rng(5), 6, 4, 3, GAMMA) for replay in (whole, late))
    np.testing.assert_array_equal(first.observation["vector"], second.observation["vector"])
    for name in ("action", "reward", "terminated", "steps", "places", "next_places"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_chunk_that_is_missing_ends_a_window() -> None:
    rng = np.random.default_rng(0)
    (first, _, third) = chunks_of(told_apart(point_spec(), (15,), rng), [5], rng)
    replay = Replay(point_spec(), 100, linked=True)
    replay.append(first)
    replay.append(third)
    batch = replay.sample_windows(100, rng, 15, 0)
    assert batch.places is not None
    for window in np.unique(batch.places // 16):
        steps = batch.reward[batch.places // 16 == window].astype(int).tolist()
        assert steps in ([1, 2, 3, 4, 5][-len(steps) :], [11, 12, 13, 14, 15][-len(steps) :], steps)
        assert not (min(steps) <= 5 < 11 <= max(steps))


def test_the_state_of_a_window_is_what_the_worker_told_for_its_first_step() -> None:
    rng = np.random.default_rng(0)
    replay = Replay(point_spec(), 100, linked=True, state=2)
    for chunk in chunks_of(told_apart(point_spec(), (20,), rng), [6], rng):
        steps = np.arange(chunk.first_step, chunk.first_step + chunk.steps)
        replay.append(replace(chunk, state={POLICY: np.stack((steps, -steps), axis=1).astype(np.float16)}))
    batch = replay.sample_windows(64, rng, 4, 3)
    assert batch.state is not None
    assert batch.places is not None
    assert batch.state.dtype == np.float32
    assert batch.state.shape == (64, 2)
    windows, begins = np.unique(batch.places // 8, return_index=True)
    read = batch.reward[begins] - 1 - batch.places[begins] % 8
    np.testing.assert_array_equal(batch.state[windows], np.stack((read, -read), axis=1))


def test_a_state_of_another_network_is_refused() -> None:
    rng = np.random.default_rng(0)
    replay = Replay(point_spec(), 100, linked=True, state=2)
    (chunk,) = chunks_of(told_apart(point_spec(), (5,), rng), [9], rng)
    with pytest.raises(BadInput, match=r"the same network"):
        replay.append(replace(chunk, state={POLICY: np.zeros((5, 3), np.float16)}))
    with pytest.raises(BadInput, match="not finite"):
        replay.append(replace(chunk, state={POLICY: np.full((5, 2), np.nan, np.float16)}))
    assert len(replay) == 0


def test_batches_of_windows_are_joined_with_their_places() -> None:
    rng = np.random.default_rng(0)
    episodes = told_apart(lidar_spec(), (20, 9), rng)
    replay = Replay(lidar_spec(), 100, linked=True)
    for chunk in chunks_of(episodes, [6], rng):
        replay.append(chunk)
    parts = [replay.sample_windows(count, rng, 5, 2, 2, GAMMA) for count in (3, 4)]
    both = joined(*parts)
    assert both.observation["vector"].shape[0] == 7
    assert_as_driven(both, episodes, 2)
    assert both.next_observation is both.observation, "which a device gets once"
    assert both.state is None


def test_windows_of_demonstrations_begin_with_nothing_beside_those_that_begin_with_a_state() -> None:
    rng = np.random.default_rng(0)
    driven, shown = Replay(point_spec(), 100, linked=True, state=2), Replay(point_spec(), 100, linked=True)
    (chunk,) = chunks_of(told_apart(point_spec(), (9,), rng), [9], rng)
    driven.append(replace(chunk, state={POLICY: np.ones((9, 2), np.float16)}))
    shown.append(chunk)
    both = joined(driven.sample_windows(3, rng, 4, 2), shown.sample_windows(2, rng, 4, 2))
    assert both.state is not None
    assert both.state.dtype == np.float32
    assert both.state.tolist() == [[1.0, 1.0]] * 3 + [[0.0, 0.0]] * 2
