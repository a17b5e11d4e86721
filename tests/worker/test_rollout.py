"""Driving episodes: their chunks, what they hold, who may stop them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rl.experience import flat
from tests.worker.worlds import NEVER_BY_TIME_S, SPEC, Driver, Open, World, driven, driving
from tmrld.errors import WorldError
from tmrld.payloads import ACTOR_KINDS, EnvSpec, PartSpec
from tmrld.rl.replay import Batch, Replay
from tmrld.worker.episode import Choice, EpisodePlan
from tmrld.worker.options import CollectionOptions
from tmrld.worker.summary import TRAJECTORY_POINTS

# Chunks can be rebuilt from themselves alone


@st.composite
def specs(draw: st.DrawFn) -> EnvSpec:
    """Any mixture of vectors and images with and without histories, and any action buffer."""
    parts = [
        PartSpec("gear", (), dtype="uint8", history=draw(st.integers(0, 3))),
        PartSpec("lidar", (3,), history=draw(st.integers(0, 5)), scale=10.0),
        PartSpec("picture", (2, 3), dtype="uint8", history=draw(st.integers(0, 5))),
    ]
    size = draw(st.integers(1, 3))
    chosen = tuple(part for part in parts if draw(st.booleans())) or (parts[1],)
    return EnvSpec("test/Any-v0", chosen, size, draw(st.integers(0, 4)), (0.25,) * size)


def assert_shows(world: World, batch: Batch, first_step: int) -> None:
    """That the transitions of a batch, in order, are those of the steps after ``first_step`` of what the world has shown."""
    for index in range(len(batch.reward)):
        step = first_step + index
        before, after = world.shown[step], world.shown[step + 1]
        np.testing.assert_array_equal(batch.observation["vector"][index], flat(world.spec, before))
        np.testing.assert_array_equal(batch.next_observation["vector"][index], flat(world.spec, after))
        np.testing.assert_array_equal(batch.action[index], world.taken[step])
        assert batch.reward[index] == np.float32(world.rewards[step])
        assert batch.terminated[index] == (step + 1 == world.steps and world.ends[0])
        for place, part in enumerate(world.spec.parts):
            if part.name == "picture":
                np.testing.assert_array_equal(batch.observation["picture"][index], before[place])
                np.testing.assert_array_equal(batch.next_observation["picture"][index], after[place])


@settings(max_examples=80)
@given(specs(), st.integers(1, 20), st.integers(1, 7), st.booleans())
def test_each_chunk_alone_rebuilds_exactly_what_the_environment_showed(
    spec: EnvSpec, steps: int, chunk_steps: int, terminated: bool
) -> None:
    world = World(spec, steps, terminated=terminated, truncated=not terminated)
    done = 0
    for chunk in driven(world, chunk_steps=chunk_steps):
        assert chunk.first_step == done
        replay = Replay(spec, 100)
        replay.append(chunk)
        assert_shows(world, replay.gather(np.arange(chunk.steps)), done)
        done += chunk.steps
    assert done == steps


@settings(max_examples=30)
@given(specs(), st.integers(2, 15), st.sets(st.integers(0, 15)), st.integers(1, 7))
def test_pauses_anywhere_change_nothing_but_where_chunks_are_cut(
    spec: EnvSpec, steps: int, pauses: set[int], chunk_steps: int
) -> None:
    class Pausing(Open):
        asked = -1

        def ready(self, steps: int) -> int:
            self.asked += 1
            return 0 if self.asked in pauses else steps

        def wait(self) -> bool:
            return True

    world = World(spec, steps)
    replay = Replay(spec, 100)
    for chunk in driven(world, chunk_steps=chunk_steps, gate=Pausing()):
        replay.append(chunk)
    assert len(replay) == steps
    assert_shows(world, replay.gather(np.arange(steps)), 0)


# What a chunk says


def test_chunks_are_cut_after_so_many_steps_and_the_last_where_the_episode_ends() -> None:
    chunks = driven(World(steps=7), chunk_steps=3)
    assert [(chunk.first_step, chunk.steps) for chunk in chunks] == [(0, 3), (3, 3), (6, 1)]
    assert [chunk.ended for chunk in chunks] == ["", "", "terminated"]
    assert [chunk.summary is not None for chunk in chunks] == [False, False, True]
    assert len({chunk.episode for chunk in chunks}) == 1


def test_an_episode_that_ends_with_a_full_chunk_has_no_empty_one_after_it() -> None:
    chunks = driven(World(steps=6), chunk_steps=3)
    assert [(chunk.steps, chunk.ended) for chunk in chunks] == [(3, ""), (3, "terminated")]


def test_the_lead_is_what_the_first_transition_looks_back_on_and_never_more_than_there_is() -> None:
    chunks = driven(World(dataclasses.replace(SPEC, action_buffer=4), steps=8), chunk_steps=2)
    assert [chunk.lead for chunk in chunks] == [1, 3, 4, 4]
    assert all(len(column) == chunk.lead + chunk.steps for chunk in chunks for column in chunk.columns.values())


def test_row_0_is_the_reset_with_the_default_action_and_no_reward() -> None:
    world = World(steps=2)
    (chunk,) = driven(world)
    np.testing.assert_array_equal(chunk.columns["action"][0], np.array(SPEC.default_action, np.float32))
    np.testing.assert_array_equal(chunk.columns["lidar"][0], world.shown[0][1][-1])
    assert [chunk.columns[name][0] for name in ("reward", "terminated", "truncated", "time")] == [0, 0, 0, 0]
    assert chunk.columns["weights"][0] == -1


def test_columns_have_the_documented_types_and_shapes() -> None:
    (chunk,) = driven(World(steps=4), info=("x",))
    assert {name: (column.dtype.name, column.shape) for name, column in chunk.columns.items()} == {
        "speed": ("float32", (5, 1)),
        "lidar": ("float32", (5, 3)),
        "action": ("float32", (5, 2)),
        "reward": ("float32", (5,)),
        "terminated": ("uint8", (5,)),
        "truncated": ("uint8", (5,)),
        "time": ("float64", (5,)),
        "weights": ("int64", (5,)),
        "actor": ("uint8", (5,)),
        "term.progress": ("float32", (5,)),
        "term.penalty": ("float32", (5,)),
        "info.x": ("float32", (5,)),
    }


@pytest.mark.parametrize(
    ("terminated", "truncated", "ended"),
    [(True, False, "terminated"), (False, True, "truncated"), (True, True, "terminated")],
)
def test_terminated_and_truncated_are_told_apart(terminated: bool, truncated: bool, ended: str) -> None:
    *_, last = driven(World(steps=3, terminated=terminated, truncated=truncated), chunk_steps=2)
    assert last.ended == ended
    assert last.columns["terminated"].tolist() == [0] * (last.lead + last.steps - 1) + [terminated]
    assert last.columns["truncated"].tolist() == [0] * (last.lead + last.steps - 1) + [truncated]


def test_the_plan_is_stamped_on_every_chunk_and_handed_to_the_reset() -> None:
    perturb: dict[str, Any] = {"perturb": {"grip": 0.1}}
    world = World(steps=3)
    chunks = driven(world, chunk_steps=2, plan=EpisodePlan("run", "gamer", "oval", "evaluation", 5, perturb))
    assert world.reset_with == (5, perturb)
    for chunk in chunks:
        assert (chunk.run, chunk.worker, chunk.track, chunk.purpose, chunk.seed) == ("run", "gamer", "oval", "evaluation", 5)


def test_each_step_says_who_chose_it_and_by_which_weights() -> None:
    (chunk,) = driven(World(steps=4), choose=Driver(2, ("random", "policy")))
    assert [ACTOR_KINDS[kind] for kind in chunk.columns["actor"][1:]] == ["random", "policy"] * 2
    assert chunk.columns["weights"].tolist() == [-1, -1, 7, -1, 7]


def test_reward_terms_and_the_info_asked_for_become_columns() -> None:
    world = World(steps=3)
    world.infos = lambda step: {"reward_terms": {"progress": float(step)}, "x": None if step == 1 else step, "other": "text"}
    (chunk,) = driven(world, info=("x", "absent"))
    assert chunk.columns["term.progress"].tolist() == [0, 1, 2, 3]
    assert chunk.columns["term.penalty"].tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(chunk.columns["info.x"], np.array([0, math.nan, 2, 3], np.float32))
    assert np.isnan(chunk.columns["info.absent"]).all()


def test_info_that_is_no_number_is_named() -> None:
    world = World()
    world.infos = lambda _step: {"gear": "first"}
    with pytest.raises(WorldError, match="info has 'gear' = 'first', expected a number"):
        driven(world, info=("gear",))


# Time


def test_without_a_clock_time_is_simulated() -> None:
    chunks = driven(World(steps=3), chunk_steps=2)
    assert chunks[0].columns["time"].tolist() == pytest.approx([0.0, 0.05, 0.1])
    assert chunks[1].columns["time"].tolist() == pytest.approx([0.05, 0.1, 0.15])


def test_with_a_clock_time_is_what_it_says_since_the_reset() -> None:
    ticks = iter([100.0, 100.5, 101.5])
    (chunk,) = driven(World(steps=2), clock=lambda: next(ticks))
    assert chunk.columns["time"].tolist() == [0.0, 0.5, 1.5]


def test_a_chunk_is_sent_when_its_time_is_up() -> None:
    collection = CollectionOptions(chunk_steps=1000, chunk_s=1e-9)
    chunks = list(driving(World(steps=3), collection))
    assert [chunk.steps for chunk in chunks] == [1, 1, 1]


# The summary


def test_the_summary_tells_return_length_and_driver() -> None:
    world = World(steps=5)
    *_, last = driven(world, chunk_steps=2)
    summary = last.summary
    assert summary is not None
    assert summary.steps == 5
    assert summary.episode_return == pytest.approx(sum(world.rewards))
    assert (summary.actor, summary.weights_version) == ("policy", 7)
    assert (summary.finished, summary.lap_time_s) == (False, None)
    assert math.isnan(summary.progress)
    assert summary.trajectory.shape == (0, 4)


def test_the_summary_tells_the_lap_from_the_last_info() -> None:
    world = World(steps=2)
    world.infos = lambda step: {"finished": step == 2, "lap_time_s": 12.5 if step == 2 else None, "progress": step / 2}
    summary = driven(world)[-1].summary
    assert summary is not None
    assert (summary.finished, summary.lap_time_s, summary.progress) == (True, 12.5, 1.0)


def test_several_kinds_of_drivers_are_mixed() -> None:
    summary = driven(World(steps=2), choose=Driver(2, ("random", "policy")))[-1].summary
    assert summary is not None
    assert summary.actor == "mixed"


def test_the_trajectory_is_where_the_car_was() -> None:
    world = World(steps=3)
    world.infos = lambda step: {"x": 10.0 * step, "z": -1.0, "speed": 3.0}
    summary = driven(world)[-1].summary
    assert summary is not None
    np.testing.assert_allclose(summary.trajectory, [(10, -1, 3, 0.05), (20, -1, 3, 0.1), (30, -1, 3, 0.15)], rtol=1e-6)


@pytest.mark.parametrize("steps", [TRAJECTORY_POINTS, TRAJECTORY_POINTS + 1, 1025, 1026, 2049, 5000])
def test_a_long_trajectory_is_thinned_evenly_and_keeps_both_ends(steps: int) -> None:
    world = World(EnvSpec("test/Line-v0", (PartSpec("x", (1,)),), 1, default_action=(0.0,)), steps)
    world.infos = lambda step: {"x": float(step), "z": 0.0, "speed": 1.0}
    summary = driven(world, chunk_steps=1000)[-1].summary
    assert summary is not None
    places = summary.trajectory[:, 0]
    assert len(places) <= TRAJECTORY_POINTS
    assert (places[0], places[-1]) == (1, steps)
    gaps = np.diff(places)
    assert gaps.min() > 0
    assert gaps.max() <= 2 * steps / TRAJECTORY_POINTS + 8


# Gates


class Script:
    """A gate whose answers are written down: for each question to `ready`, then to `wait`."""

    def __init__(self, ready: list[bool], wait: list[bool]) -> None:
        self._ready = iter(ready)
        self._wait = iter(wait)
        self.waited = 0

    def ready(self, steps: int) -> int:
        return steps if next(self._ready) else 0

    def wait(self) -> bool:
        self.waited += 1
        return next(self._wait)


def test_what_was_driven_is_handed_out_before_waiting() -> None:
    gate = Script([True, True, False, True], [True])
    episode = driving(World(steps=3), CollectionOptions(chunk_s=NEVER_BY_TIME_S), gate=gate)
    first = next(episode)
    assert (first.steps, first.ended, gate.waited) == (2, "", 0)
    (second,) = episode
    assert (second.first_step, second.steps, second.ended, gate.waited) == (2, 1, "terminated", 1)


def test_nothing_is_handed_out_when_nothing_was_driven() -> None:
    gate = Script([False, True], [True])
    (chunk,) = driven(World(steps=1), gate=gate)
    assert chunk.steps == 1


def test_a_gate_that_closes_ends_the_episode_without_a_summary() -> None:
    world = World(steps=9)
    (chunk,) = driven(world, gate=Script([True, True, False], [False]))
    assert (chunk.steps, chunk.ended, chunk.summary) == (2, "", None)
    assert not chunk.columns["terminated"].any()
    assert not chunk.columns["truncated"].any()
    assert len(world.taken) == 2


def test_a_gate_that_is_closed_from_the_beginning_lets_no_chunk_out() -> None:
    assert driven(World(), gate=Script([False], [False])) == []


def test_closing_the_generator_leaves_the_unfinished_chunk_behind() -> None:
    world = World(steps=9)
    episode = driving(world, CollectionOptions(chunk_steps=2, chunk_s=NEVER_BY_TIME_S))
    assert next(episode).steps == 2
    episode.close()  # type: ignore[attr-defined]
    assert len(world.taken) == 2


def test_a_choice_may_be_of_another_type_than_the_column() -> None:
    (chunk,) = driven(World(steps=1), choose=lambda _observation: Choice(np.array([0.1, 0.2]), "human"))
    np.testing.assert_array_equal(chunk.columns["action"][1], np.array([0.1, 0.2], np.float32))
