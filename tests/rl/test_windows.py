"""Index arithmetic against a reference that keeps whole observations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rl.experience import cut_all, flat, make_episode
from tmrld.payloads import EnvSpec, PartSpec
from tmrld.rl import windows
from tmrld.rl.replay import Replay

histories = st.integers(0, 5)


@st.composite
def specs(draw: st.DrawFn) -> EnvSpec:
    parts = [
        PartSpec("speed", (1,), history=draw(histories), scale=draw(st.sampled_from([1.0, 7.0]))),
        PartSpec("lidar", (3,), history=draw(histories), scale=3.0),
        PartSpec("gear", (), dtype="uint8", history=draw(histories), scale=10.0),
    ]
    if draw(st.booleans()):
        parts.insert(1, PartSpec("picture", (2, 3), dtype="uint8", history=draw(histories), scale=255.0))
    return EnvSpec("test/Any-v0", tuple(parts), 2, draw(st.integers(0, 4)), (0.5, -0.5))


@settings(max_examples=150, deadline=None)
@given(specs(), st.integers(1, 12), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans(), st.integers(1, 3))
def test_every_transition_shows_what_the_environment_showed(
    spec: EnvSpec, steps: int, sizes: list[int], terminated: bool, episodes: int
) -> None:
    rng = np.random.default_rng(steps)
    replay = Replay(spec, 1000)
    expected = []
    for _ in range(episodes):
        episode = make_episode(spec, steps, rng, terminated)
        for chunk in cut_all(episode, sizes):
            replay.append(chunk)
        expected += [
            (episode.observations[k - 1], episode.rows[k], episode.observations[k]) for k in range(1, episode.steps + 1)
        ]

    batch = replay.gather(np.arange(len(replay)))

    assert len(replay) == len(expected)
    for index, (before, row, after) in enumerate(expected):
        np.testing.assert_array_equal(batch.observation["vector"][index], flat(spec, before))
        np.testing.assert_array_equal(batch.next_observation["vector"][index], flat(spec, after))
        np.testing.assert_array_equal(batch.action[index], row["action"])
        assert batch.reward[index] == row["reward"]
        assert batch.terminated[index] == row["terminated"]
        for place, part in enumerate(spec.parts):
            if part.name == "picture":
                np.testing.assert_array_equal(batch.observation["picture"][index], before[place])
                np.testing.assert_array_equal(batch.next_observation["picture"][index], after[place])
                assert batch.observation["picture"].dtype == np.uint8


@settings(max_examples=100, deadline=None)
@given(specs(), st.integers(1, 12), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans(), st.integers(1, 5))
def test_a_transition_of_several_steps_ends_with_its_chunk(
    spec: EnvSpec, steps: int, sizes: list[int], terminated: bool, n_step: int
) -> None:
    replay = Replay(spec, 1000)
    episode = make_episode(spec, steps, np.random.default_rng(steps), terminated)
    ends = []  # for each transition, the last step of its chunk
    for chunk in cut_all(episode, sizes):
        replay.append(chunk)
        ends += [chunk.first_step + chunk.steps] * chunk.steps

    batch = replay.gather(np.arange(len(replay)), n_step, gamma=0.9)

    for index, end in enumerate(ends):
        last = min(index + n_step, end)
        rewards = [float(episode.rows[k]["reward"]) for k in range(index + 1, last + 1)]
        np.testing.assert_array_equal(batch.observation["vector"][index], flat(spec, episode.observations[index]))
        np.testing.assert_array_equal(batch.next_observation["vector"][index], flat(spec, episode.observations[last]))
        np.testing.assert_array_equal(batch.action[index], episode.rows[index + 1]["action"])
        np.testing.assert_allclose(batch.reward[index], sum(0.9**i * reward for i, reward in enumerate(rewards)), atol=1e-5)
        assert batch.steps[index] == last - index
        assert batch.terminated[index] == episode.rows[last]["terminated"]


@given(st.integers(0, 20), st.integers(1, 8), st.integers(0, 20))
def test_no_window_leaves_its_chunk(first_step: int, depth: int, steps: int) -> None:
    rows = windows.lead_rows(first_step, depth) + steps
    age = windows.ages(rows, depth)

    oldest = np.arange(rows) - windows.steps_back(age, depth).max(axis=1)

    assert (oldest >= 0).all()


@pytest.mark.parametrize(("first_step", "depth", "lead"), [(0, 4, 1), (1, 4, 2), (3, 4, 4), (100, 4, 4), (7, 1, 1)])
def test_a_chunk_leads_with_what_its_first_action_answers(first_step: int, depth: int, lead: int) -> None:
    assert windows.lead_rows(first_step, depth) == lead
