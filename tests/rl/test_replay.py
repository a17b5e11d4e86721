"""The replay memory: what stays, what goes, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rl.experience import cut, cut_all, lidar_spec, make_episode, picture_spec, point_spec
from tmrld.errors import BadInput
from tmrld.payloads import Array, Chunk, EnvSpec, PartSpec
from tmrld.rl.priorities import Prioritised
from tmrld.rl.replay import Batch, Replay, joined


def chunks_of(spec: EnvSpec, sizes: list[int], seed: int = 0) -> list[Chunk]:
    episode = make_episode(spec, sum(sizes), np.random.default_rng(seed))
    return cut_all(episode, sizes)


def assert_same(left: Batch, right: Batch) -> None:
    for name in left.observation:
        np.testing.assert_array_equal(left.observation[name], right.observation[name])
        np.testing.assert_array_equal(left.next_observation[name], right.next_observation[name])
    np.testing.assert_array_equal(left.action, right.action)
    np.testing.assert_array_equal(left.reward, right.reward)
    np.testing.assert_array_equal(left.terminated, right.terminated)
    np.testing.assert_array_equal(left.steps, right.steps)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(9, 40), st.integers(0, 5))
def test_a_refilled_memory_draws_the_same_batches(sizes: list[int], capacity: int, more: int) -> None:
    spec = EnvSpec("test/Any-v0", (PartSpec("lidar", (2,), history=3),), 1, 2, (0.0,))
    chunks = chunks_of(spec, [*sizes, *[3] * more])
    before, after = chunks[: len(sizes)], chunks[len(sizes) :]
    old = Replay(spec, capacity)
    for chunk in before:
        old.append(chunk, offset=chunk.number)
    new = Replay(spec, capacity)

    kept_from = old.oldest_offset
    assert kept_from is not None
    for chunk in before[kept_from:]:
        new.append(chunk, offset=chunk.number)

    assert_same(old.sample(16, np.random.default_rng(1), 3, 0.9), new.sample(16, np.random.default_rng(1), 3, 0.9))
    for chunk in after:
        old.append(chunk, offset=chunk.number)
        new.append(chunk, offset=chunk.number)
        assert old.oldest_offset == new.oldest_offset
        assert_same(old.sample(16, np.random.default_rng(1), 3, 0.9), new.sample(16, np.random.default_rng(1), 3, 0.9))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(9, 40))
def test_the_newest_transitions_are_kept_in_order_and_never_more_than_the_capacity(sizes: list[int], capacity: int) -> None:
    spec = point_spec()
    episode = make_episode(spec, sum(sizes), np.random.default_rng(3))
    rewards = [float(row["reward"]) for row in episode.rows[1:]]
    replay = Replay(spec, capacity)
    appended = 0

    for chunk in cut_all(episode, sizes):
        appended += replay.append(chunk)
        assert 0 < len(replay) <= capacity
        kept = replay.gather(np.arange(len(replay))).reward
        np.testing.assert_array_equal(kept, np.asarray(rewards[:appended][-len(replay) :], np.float32))


def test_chunks_leave_as_a_whole_oldest_first() -> None:
    replay = Replay(point_spec(), 10)
    for chunk in chunks_of(point_spec(), [4, 4, 2, 1]):
        replay.append(chunk, offset=100 + chunk.number)

    assert len(replay) == 7
    assert replay.oldest_offset == 101


def test_an_empty_memory_has_no_offset_and_nothing_to_draw() -> None:
    replay = Replay(point_spec(), 10)

    assert replay.oldest_offset is None
    with pytest.raises(BadInput, match="empty"):
        replay.sample(4, np.random.default_rng(0))


def test_a_chunk_without_steps_brings_nothing() -> None:
    replay = Replay(point_spec(), 10)

    assert replay.append(cut(make_episode(point_spec(), 3, np.random.default_rng(0)), 3, 0)) == 0
    assert replay.oldest_offset is None


def test_every_transition_is_drawn_equally_often() -> None:
    replay = Replay(point_spec(), 50)
    for chunk in chunks_of(point_spec(), [20, 20, 10]):
        replay.append(chunk)
    rewards = replay.gather(np.arange(50)).reward

    drawn = replay.sample(50_000, np.random.default_rng(5)).reward

    counts = np.asarray([(drawn == reward).sum() for reward in rewards])
    assert counts.min() > 850
    assert counts.max() < 1150


def test_evaluation_is_never_trained_on() -> None:
    episode = make_episode(point_spec(), 3, np.random.default_rng(0))

    with pytest.raises(BadInput, match="is for evaluation"):
        Replay(point_spec(), 10).append(cut(episode, 0, 3, purpose="evaluation"))


def test_a_capacity_beyond_the_memory_is_refused_with_one_that_fits() -> None:
    pictures = EnvSpec("test/Full-v0", (PartSpec("imgs", (64, 64), dtype="uint8", history=4),), 3, 2, (0.0, 0.0, 0.0))

    with pytest.raises(BadInput, match=r"10,000,000,000 transitions of test/Full-v0 needs .* GiB .* set replay.capacity below"):
        Replay(pictures, 10_000_000_000)


PICTURES = EnvSpec("test/Full-v0", (PartSpec("imgs", (64, 64), dtype="uint8", history=4),), 3, 2, (0.0, 0.0, 0.0))


@given(st.integers(30_000, 10**12), st.integers(1, 10**9), st.booleans(), st.booleans())
def test_as_many_transitions_are_kept_as_fit_into_so_many_bytes(
    most_bytes: int, capacity: int, linked: bool, prioritised: bool
) -> None:
    priorities = Prioritised(0.6, 0.4, 0) if prioritised and not linked else None
    replay = Replay(PICTURES, 1, linked=linked, state=8 if linked else 0, prioritised=priorities)
    fitting = replay._fitting(capacity, most_bytes, 1)
    assert 1 <= fitting <= capacity
    assert replay._bytes_for(fitting) <= most_bytes
    assert fitting == capacity or replay._bytes_for(fitting + 1) > most_bytes


def test_the_smaller_of_capacity_and_bytes_holds() -> None:
    assert Replay(lidar_spec(), 1000, most_bytes=10**9).capacity == 1000
    small = Replay(lidar_spec(), 1000, most_bytes=20_000)
    assert 100 < small.capacity < 200
    assert small.size_bytes <= 20_000
    arrays = [value for value in vars(small).values() if isinstance(value, np.ndarray) and len(value) >= small.capacity]
    assert sum(array.nbytes for array in arrays) == small.size_bytes
    for chunk in chunks_of(lidar_spec(), [50] * 6):
        small.append(chunk)
    assert 50 < len(small) <= small.capacity


def test_bytes_that_hold_no_transition_are_refused() -> None:
    with pytest.raises(
        BadInput, match=r"one transition of test/Full-v0 takes 2.,... bytes, and replay.capacity_bytes is 100: raise"
    ):
        Replay(PICTURES, 1000, most_bytes=100)


def test_bytes_that_hold_no_chunk_are_refused_with_those_that_are_needed() -> None:
    needed = Replay(lidar_spec(), 100).size_bytes
    said = rf"100 transitions, as many as a chunk may have .* takes {needed:,} bytes, and .* is {needed - 1:,}: raise"
    with pytest.raises(BadInput, match=said):
        Replay(lidar_spec(), 1000, most_bytes=needed - 1, longest_chunk=100)
    assert Replay(lidar_spec(), 1000, most_bytes=needed, longest_chunk=100).capacity == 100


def with_column(chunk: Chunk, name: str, values: Array | None) -> Chunk:
    columns = {key: value for key, value in chunk.columns.items() if key != name}
    return replace(chunk, columns=columns if values is None else columns | {name: values})


def bad_chunks() -> list[tuple[Chunk, str]]:
    spec = lidar_spec()
    good = cut(make_episode(spec, 20, np.random.default_rng(0)), 5, 10)
    rows = good.lead + good.steps
    nan = good.columns["reward"].copy()
    nan[3] = np.nan
    ended = good.columns["terminated"].copy()
    ended[5] = 1
    return [
        (with_column(good, "lidar", None), "lacks the column 'lidar'"),
        (with_column(good, "lidar", np.zeros((rows, 18), np.float32)), r"float32 \(14, 18\), .* needs float32 \(14, 19\)"),
        (with_column(good, "speed", np.zeros((rows, 1), np.float64)), "column 'speed' .* is float64"),
        (with_column(good, "reward", nan), "column 'reward' .* not finite"),
        (with_column(good, "terminated", ended), "goes on after its episode's end"),
        (replace(good, lead=2), "4 lead rows are needed"),
        (replace(good, steps=9), r"needs float32 \(13, 1\)"),
        (replace(good, steps=2000), "holds 1000"),
    ]


@pytest.mark.parametrize(("chunk", "complaint"), bad_chunks())
def test_a_chunk_that_does_not_fit_is_refused_and_changes_nothing(chunk: Chunk, complaint: str) -> None:
    replay = Replay(lidar_spec(), 1000)

    with pytest.raises(BadInput, match=complaint):
        replay.append(chunk)
    assert len(replay) == 0


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (EnvSpec("x", (PartSpec("reward", (1,)),), 1), "calls a part .* 'reward'"),
        (EnvSpec("x", (PartSpec("a", (1,)), PartSpec("a", (1,))), 1), "two parts .* 'a'"),
        (EnvSpec("x", (PartSpec("a", (1,), scale=0.0),), 1), "scale must be above 0"),
        (EnvSpec("x", (PartSpec("a", (1,)),), 0), "at least 1"),
    ],
)
def test_a_spec_that_cannot_be_stored_is_refused(spec: EnvSpec, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        Replay(spec, 10)


def test_nothing_leaves_a_memory_that_has_the_rows_for_all_that_comes() -> None:
    spec = lidar_spec()
    chunks = chunks_of(spec, [1] * 30)
    estimated, told = Replay(spec, 30), Replay(spec, 30, rows=sum(chunk.lead + chunk.steps for chunk in chunks))

    for chunk in chunks:
        estimated.append(chunk)
        told.append(chunk)

    assert len(estimated) < 30, "the lead rows of such short chunks take more room than the transitions"
    assert len(told) == 30


def test_frames_of_images_are_stored_once_as_bytes_and_stacked_when_drawn() -> None:
    spec = picture_spec((40, 50), history=4)
    replay = Replay(spec, 1000)
    for chunk in chunks_of(spec, [7, 5, 8]):
        replay.append(chunk)

    batch = replay.gather(np.arange(20))

    assert replay.size_bytes < 1.3 * 1000 * (40 * 50 + 100), "one frame and a few numbers per transition"
    observations = make_episode(spec, 20, np.random.default_rng(0)).observations
    assert batch.observation["images"].dtype == np.uint8
    np.testing.assert_array_equal(batch.observation["images"], np.stack([observation[1] for observation in observations[:-1]]))
    np.testing.assert_array_equal(batch.next_observation["images"], np.stack([each[1] for each in observations[1:]]))


def test_batches_are_joined_in_order() -> None:
    spec = picture_spec((4, 4), history=2)
    replay = Replay(spec, 100)
    for chunk in chunks_of(spec, [7, 5, 8]):
        replay.append(chunk)

    together = joined(replay.gather(np.arange(3)), replay.gather(np.arange(9, 12)))

    assert_same(together, replay.gather(np.asarray([0, 1, 2, 9, 10, 11])))
