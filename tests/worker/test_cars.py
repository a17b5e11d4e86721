"""Several cars, each through episodes of its own, and their chunks mixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rl.experience import flat
from tests.worker.worlds import NEVER_BY_TIME_S, PLAN, SPEC, Open, World
from tmrld.payloads import Array, Chunk
from tmrld.rl.replay import Batch, Replay
from tmrld.worker.episode import Choice, Environment, Episode, EpisodePlan
from tmrld.worker.options import CollectionOptions
from tmrld.worker.rollout import drive


class Fleet:
    """Worlds with one episode each, of these lengths, and which of them were driven in each round."""

    def __init__(self, lengths: Sequence[int], chunk_steps: int = 3) -> None:
        self.worlds = [World(steps=steps) for steps in lengths]
        self.turns: list[list[Environment]] = []
        self._collection = CollectionOptions(chunk_steps=chunk_steps, chunk_s=NEVER_BY_TIME_S)
        self._begun: list[Environment] = []
        self._random = np.random.default_rng(3)

    def begin(self, environment: Environment) -> Episode | None:
        if environment in self._begun:
            return None
        self._begun.append(environment)
        return Episode(environment, SPEC, PLAN, self._collection)

    def choose(self, driven: Sequence[Episode]) -> list[Choice]:
        self.turns.append([episode.environment for episode in driven])
        actions = self._random.uniform(-1, 1, (len(driven), SPEC.action_size)).astype(np.float32)
        return [Choice(action, "policy", 1) for action in actions]


class Rationed:
    """A gate that lets so many steps through in each round; afterwards any."""

    def __init__(self, rations: Sequence[int]) -> None:
        self._rations = list(rations)
        self.waited = 0

    def ready(self, steps: int) -> int:
        return min(steps, self._rations.pop(0)) if self._rations else steps

    def wait(self) -> bool:
        self.waited += 1
        return True


def transitions(batch: Batch) -> list[bytes]:
    """Each transition of a batch as bytes, to compare sets of them."""
    columns: list[Array] = [batch.action, batch.reward, batch.terminated, batch.steps]
    columns += [*batch.observation.values(), *batch.next_observation.values()]
    return [b"".join(column[index].tobytes() for column in columns) for index in range(len(batch.reward))]


def in_memory(chunks: Sequence[Chunk], n_step: int = 1) -> list[bytes]:
    replay = Replay(SPEC, 1000)
    for chunk in chunks:
        replay.append(chunk)
    return transitions(replay.gather(np.arange(len(replay)), n_step, 0.9))


@settings(max_examples=50)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.lists(st.integers(0, 6), max_size=20), st.integers(1, 5))
def test_interleaved_chunks_hold_the_transitions_that_each_world_showed(
    lengths: list[int], rations: list[int], chunk_steps: int
) -> None:
    fleet = Fleet(lengths, chunk_steps)
    chunks = list(drive(fleet.worlds, fleet.begin, fleet.choose, Rationed(rations)))
    replay = Replay(SPEC, 1000)
    for chunk in chunks:
        replay.append(chunk)
    batch = replay.gather(np.arange(len(replay)))
    found = {
        (before.tobytes(), after.tobytes())
        for before, after in zip(batch.observation["vector"], batch.next_observation["vector"], strict=True)
    }
    expected = {
        (flat(SPEC, world.shown[step]).tobytes(), flat(SPEC, world.shown[step + 1]).tobytes())
        for world in fleet.worlds
        for step in range(world.steps)
    }
    assert len(replay) == sum(lengths)
    assert found == expected


def test_the_replay_memory_does_not_care_in_which_order_the_chunks_of_several_episodes_come() -> None:
    fleet = Fleet([9, 7, 12, 4])
    mixed = list(drive(fleet.worlds, fleet.begin, fleet.choose, Open()))
    one_by_one = sorted(mixed, key=lambda chunk: (chunk.episode, chunk.first_step))
    assert [chunk.episode for chunk in mixed] != [chunk.episode for chunk in one_by_one]
    for n_step in (1, 3):
        assert sorted(in_memory(mixed, n_step)) == sorted(in_memory(one_by_one, n_step))


def test_one_round_asks_once_for_the_actions_of_all_cars() -> None:
    fleet = Fleet([2, 4, 3])
    list(drive(fleet.worlds, fleet.begin, fleet.choose, Open()))
    assert [len(turn) for turn in fleet.turns] == [3, 3, 2, 1]


def test_each_car_has_episodes_of_its_own() -> None:
    fleet = Fleet([5, 5])
    chunks = list(drive(fleet.worlds, fleet.begin, fleet.choose, Open()))
    assert len({chunk.episode for chunk in chunks}) == 2
    for episode in {chunk.episode for chunk in chunks}:
        own = [chunk for chunk in chunks if chunk.episode == episode]
        assert [(chunk.first_step, chunk.steps, chunk.ended) for chunk in own] == [(0, 3, ""), (3, 2, "terminated")]
        assert own[-1].summary is not None
        assert own[-1].summary.steps == 5


def test_few_steps_are_taken_by_the_same_cars_and_after_a_wait_by_others() -> None:
    fleet = Fleet([6, 6, 6])
    first, second, third = fleet.worlds
    list(drive(fleet.worlds, fleet.begin, fleet.choose, Rationed([2, 1, 0, 2, 2])))
    assert fleet.turns[:4] == [[first, second], [first], [second, third], [second, third]]


def test_before_a_wait_the_steps_of_all_cars_are_handed_out() -> None:
    fleet = Fleet([9, 9])
    gate = Rationed([2, 1, 0])
    episodes = drive(fleet.worlds, fleet.begin, fleet.choose, gate)
    assert sorted(chunk.steps for chunk in (next(episodes), next(episodes))) == [1, 2]
    assert gate.waited == 0
    assert sum(chunk.steps for chunk in episodes) == 15
    assert gate.waited == 1


def test_an_idle_car_is_asked_again_in_the_next_round() -> None:
    asked: list[Environment] = []
    fleet = Fleet([3, 3])

    def begin(environment: Environment) -> Episode | None:
        asked.append(environment)
        return fleet.begin(environment) if environment is fleet.worlds[0] or len(asked) > 3 else None

    list(drive(fleet.worlds, begin, fleet.choose, Open()))
    assert [len(turn) for turn in fleet.turns] == [1, 1, 2, 1, 1]


def test_chunks_are_stamped_with_the_track_that_the_environment_names() -> None:
    world = World(steps=5)
    world.infos = lambda step: {"track": "easy-650-17" if step == 0 else "another"}
    episode = Episode(world, SPEC, EpisodePlan("run", "gamer", "easy-650-any"), CollectionOptions(chunk_steps=2))
    chunks = [chunk for _ in range(5) if (chunk := episode.step(Choice(np.zeros(2, np.float32), "random")))]
    assert [chunk.track for chunk in chunks] == ["easy-650-17"] * 3


def test_an_episode_that_has_ended_has_nothing_left_to_hand_out() -> None:
    episode = Episode(World(steps=1), SPEC, PLAN, CollectionOptions())
    assert episode.step(Choice(np.zeros(2, np.float32), "random")) is not None
    assert episode.ended
    assert episode.cut() is None
