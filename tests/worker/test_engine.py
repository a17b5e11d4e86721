"""A worker's engine with several cars: allowances, evaluations, what it reports.  The test is its daemon, on a port in memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tmrld.configuration import run_config
from tmrld.errors import WeightsError, WorldError
from tmrld.payloads import ACTOR_KINDS, POLICY, Array, Chunk, EnvSpec, PartSpec, WeightsManifest
from tmrld.protocol.codec import open_chunk
from tmrld.protocol.messages import Allowance, Assign, ChunkMessage, Command, Message, Status, WeightsMessage
from tmrld.rl.inference import Actor
from tmrld.rl.options import NetworkOptions
from tmrld.rl.weights import pack, policy_shapes, unpack
from tmrld.worker import engine
from tmrld.worker.engine import WorkerEngine

SPEC = EnvSpec("tests", (PartSpec("place", (1,)),), action_size=1, default_action=(0.0,))
NETWORK = NetworkOptions(hidden=(4,))


@pytest.fixture(autouse=True)
def _all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine runs in the tests' own process, which is not to stay on one core."""
    monkeypatch.setattr(engine, "_stay_on_one_core", lambda: None)


class Road(gymnasium.Env[Any, Any]):
    """Moves by the action; episodes last as many steps as the seed says, 10 without one.  Tells its track where it has one."""

    tmrld_spec = SPEC
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    closed = 0
    starts: ClassVar[list[dict[str, Any] | None]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        Road.starts.append(options)
        self._left = 10 if seed is None else 3 + seed % 4
        self._place = np.full(1, 0.1 * (seed or 0), np.float32)
        return self._place.copy(), {"track": "winding"}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._place += action
        self._left -= 1
        return self._place.copy(), float(self._place[0]), self._left == 0, False, {}

    def close(self) -> None:
        Road.closed += 1


class Port:
    """The daemon's side: hands over what it is given when the engine asks or waits, and stops it when nothing is left to hand over.

    ``sent`` holds all that the engine has said.
    """

    def __init__(self, *messages: Message) -> None:
        self._inbox = list(messages)
        self.sent: list[Message] = []
        self.waits = 0

    def poll(self) -> Message | None:
        return None

    def wait(self, timeout_s: float | None = None) -> Message | None:
        self.waits += 1
        return self._inbox.pop(0) if self._inbox else Command(0, "stop", {})

    def beat(self, quiet_s: float = 0.0) -> None:
        pass

    def send(self, message: Message, wait_s: float | None = 0.0) -> None:
        self.sent.append(message)

    def chunks(self, purpose: str = "train") -> list[ChunkMessage]:
        return [message for message in self.sent if isinstance(message, ChunkMessage) and message.purpose == purpose]


def config(**environment: Any) -> dict[str, Any]:
    environment = {"id": f"{__name__}:Road", **environment}
    return run_config({"environment": environment, "collection": {"chunk_steps": 4}}).model_dump(mode="json")


def assignment(chunk_steps: int = 4, **more: Any) -> Assign:
    plain = config() | {"collection": {"chunk_steps": chunk_steps}}
    return Assign("demo", run_config(plain).model_dump(mode="json"), 1, "running", **more)


def weights(evaluate: int = 0, seed: int = 0) -> WeightsMessage:
    random = np.random.default_rng(seed)
    shapes = {"trunk.layers.0.weight": (4, 1), "trunk.layers.0.bias": (4,), "head.weight": (2, 4), "head.bias": (2,)}
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    manifest = WeightsManifest("demo", 1, 10, 0, SPEC, NETWORK.model_dump(mode="json"), "sac")
    return WeightsMessage("demo", 1, 10, 0, evaluate, pack(manifest, tensors).data)


def weights_that_remember(evaluate: int = 0) -> WeightsMessage:
    network = NetworkOptions(hidden=(4,), gru=3)
    random = np.random.default_rng(0)
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in policy_shapes(SPEC, network).items()}
    manifest = WeightsManifest("demo", 1, 10, 0, SPEC, network.model_dump(mode="json"), "sac")
    return WeightsMessage("demo", 1, 10, 0, evaluate, pack(manifest, tensors).data)


def driven(cars: int, *messages: Message, plain: dict[str, Any] | None = None, files: dict[str, str] | None = None) -> Port:
    """What an engine with so many cars says that is told this; ``plain`` is its configuration, ``files`` what it has of the shelf."""
    port = Port(*messages)
    WorkerEngine(port, "demo", "w", plain or config(), 0, cars, files).run()  # type: ignore[arg-type]  # all that it needs of a port
    return port


@pytest.mark.parametrize("perturbed", [True, False])
def test_training_starts_as_evaluation_does_unless_told_otherwise(perturbed: bool) -> None:
    plain = config() | {"collection": {"perturbed_starts": perturbed}, "evaluation": {"offset_m": 2.0}}
    told = run_config(plain)
    Road.starts.clear()
    driven(1, Assign("demo", told.model_dump(mode="json"), 1, "running"), Allowance("demo", "", 25))
    assert Road.starts == [told.evaluation.start if perturbed else None] * 3


@pytest.mark.parametrize("cars", [1, 3, 5, 64])
@pytest.mark.parametrize("allowed", [1, 7, 50])
def test_never_more_transitions_are_made_than_are_allowed_and_never_fewer(cars: int, allowed: int) -> None:
    port = driven(cars, assignment(), Allowance("demo", "", allowed))
    assert sum(chunk.steps for chunk in port.chunks()) == allowed


def test_all_that_was_allowed_is_handed_over_before_more_is_waited_for() -> None:
    port = driven(4, assignment(), Allowance("demo", "", 6))
    assert sorted(chunk.steps for chunk in port.chunks()) == [1, 1, 2, 2]
    assert port.waits == 3  # for the assignment, for the allowance, and for what comes after it


def test_what_trickles_in_is_shared_by_few_cars_so_that_chunks_are_worth_their_lead() -> None:
    grants = [Allowance("demo", "", allowed) for allowed in range(8, 200, 8)]
    port = driven(16, assignment(chunk_steps=16), *grants)
    assert sum(chunk.steps for chunk in port.chunks()) == 192
    unfinished = [chunk.steps for chunk in port.chunks() if not chunk.ended]
    assert set(unfinished) <= {2, 4}  # two cars share eight steps; those of ten steps end between


def test_a_larger_allowance_goes_on_where_the_cars_stand() -> None:
    port = driven(4, assignment(), Allowance("demo", "", 6), Allowance("demo", "", 40))
    steps: Counter[str] = Counter()
    for chunk in port.chunks():
        assert chunk.first_step == steps[chunk.episode]
        steps[chunk.episode] += chunk.steps
    assert list(steps.values()) == [10] * 4


def test_random_actions_differ_from_car_to_car_until_there_are_weights() -> None:
    port = driven(3, assignment(), Allowance("demo", "", 3))
    actions = [open_chunk(chunk).columns["action"][-1].item() for chunk in port.chunks()]
    assert len(set(actions)) == 3


def lasting(cars: int, colour: float) -> float:
    """How much of what is tried in a step is tried in the next one, too, by a policy that is nothing but noise."""
    shapes = {"trunk.layers.0.weight": (4, 1), "trunk.layers.0.bias": (4,), "head.weight": (2, 4), "head.bias": (2,)}
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    manifest = WeightsManifest("demo", 1, 10, 0, SPEC, NETWORK.model_dump(mode="json"), "sac")
    message = WeightsMessage("demo", 1, 10, 0, 0, pack(manifest, tensors).data)
    plain = run_config(config() | {"collection": {"noise_colour": colour, "chunk_steps": 100}}).model_dump(mode="json")
    port = driven(cars, message, Assign("demo", plain, 1, "running"), Allowance("demo", "", 4000), plain=plain)
    actions = [np.arctanh(open_chunk(chunk).columns["action"][-chunk.steps :, 0]) for chunk in port.chunks()]
    assert len(actions) == 400
    assert np.concatenate(actions).std() == pytest.approx(1.0, abs=0.1)
    return float(np.mean([(each[:-1] * each[1:]).mean() for each in actions]))


@pytest.mark.parametrize("cars", [1, 8])
def test_what_the_policy_tries_lasts_as_long_as_the_colour_of_its_noise_says(cars: int) -> None:
    assert lasting(cars, colour=0.0) == pytest.approx(0.0, abs=0.05)
    assert lasting(cars, colour=1.0) > 0.5


def test_the_track_that_the_environment_names_is_told() -> None:
    assert {chunk.track for chunk in driven(2, assignment(), Allowance("demo", "", 4)).chunks()} == {"winding"}


def evaluation(cars: int) -> dict[int | None, Array]:
    """The places that each seed of an evaluation of 10 episodes came by."""
    port = driven(cars, weights(evaluate=10), assignment(evaluates=True))
    found: dict[int | None, list[Array]] = {}
    for chunk in port.chunks("evaluation"):
        found.setdefault(chunk.seed, []).append(open_chunk(chunk).columns["place"][-chunk.steps :])
    summaries = Counter(chunk.seed for chunk in port.chunks("evaluation") if chunk.summary is not None)
    assert summaries == Counter(range(10))
    return {seed: np.concatenate(places) for seed, places in found.items()}


@pytest.mark.parametrize("cars", [2, 4, 16])
def test_an_evaluation_drives_each_seed_once_and_finds_what_one_car_finds(cars: int) -> None:
    alone, together = evaluation(1), evaluation(cars)
    assert alone.keys() == together.keys()
    for seed, places in alone.items():
        np.testing.assert_allclose(together[seed], places, atol=1e-5)


def purposes(cars: int, allowed: int) -> list[str]:
    """Those of the episodes that end, in order, when an evaluation becomes due ``allowed`` steps after the start."""
    allowances = [Allowance("demo", "", transitions) for transitions in (allowed, 100)]
    port = driven(cars, assignment(evaluates=True), allowances[0], weights(evaluate=2), allowances[1])
    return [message.purpose for message in port.sent if isinstance(message, ChunkMessage) and message.summary is not None]


def test_an_evaluation_waits_for_the_episode_of_a_single_car() -> None:
    assert purposes(1, 6)[:4] == ["train", "evaluation", "evaluation", "train"]


def test_an_evaluation_interrupts_the_episodes_of_several_cars() -> None:
    found = purposes(3, 6)
    assert found[:2] == ["evaluation"] * 2
    assert found.count("train") >= 9  # the interrupted ones come to their end


# The expert: weights that drive in the learned policy's place


def with_an_expert(**more: Any) -> tuple[dict[str, Any], Assign]:
    """A configuration in which the weights "teacher" collect, and the assignment that goes with it."""
    plain = run_config(config() | {"collection": {"chunk_steps": 4, "policy": "teacher"}}).model_dump(mode="json")
    return plain, Assign("demo", plain, 1, "running", **more)


@pytest.fixture
def teacher(tmp_path: Path) -> dict[str, str]:
    """The file of other weights than those that the run learns."""
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(weights(seed=5).payload)
    return {"weights/teacher": str(path)}


@pytest.mark.parametrize("cars", [1, 3])
def test_the_expert_collects_from_the_first_step_and_newer_weights_do_not_replace_it(
    cars: int, teacher: dict[str, str]
) -> None:
    plain, assign = with_an_expert()
    before = driven(cars, assign, Allowance("demo", "", 60), plain=plain, files=teacher).chunks()
    after = driven(cars, weights(), assign, Allowance("demo", "", 60), plain=plain, files=teacher).chunks()
    assert sum(chunk.steps for chunk in before) == 60
    for first, second in zip(map(open_chunk, before), map(open_chunk, after), strict=True):
        np.testing.assert_array_equal(first.columns["action"], second.columns["action"])
    learned = driven(cars, weights(), assignment(), Allowance("demo", "", 60)).chunks()
    assert open_chunk(learned[0]).columns["action"][1] != open_chunk(after[0]).columns["action"][1]


def test_the_expert_drives_with_noise_as_training_does(teacher: dict[str, str]) -> None:
    plain, assign = with_an_expert()
    port = driven(4, assign, Allowance("demo", "", 4), plain=plain, files=teacher)
    actions = [open_chunk(chunk).columns["action"][-1].item() for chunk in port.chunks()]
    assert len(set(actions)) == 4  # all cars see the same


def test_what_the_expert_drives_is_nobodys_version(teacher: dict[str, str]) -> None:
    plain, assign = with_an_expert()
    chunks = [
        open_chunk(chunk)
        for chunk in driven(2, weights(), assign, Allowance("demo", "", 40), plain=plain, files=teacher).chunks()
    ]
    assert {index for chunk in chunks for index in chunk.columns["actor"]} == {ACTOR_KINDS.index("scripted")}
    assert {version for chunk in chunks for version in chunk.columns["weights"]} == {-1}
    summaries = [chunk.summary for chunk in chunks if chunk.summary is not None]
    assert {(summary.actor, summary.weights_version) for summary in summaries} == {("scripted", -1)}


def test_an_evaluation_is_driven_by_what_was_learned_all_the_same(teacher: dict[str, str]) -> None:
    plain, assign = with_an_expert(evaluates=True)
    with_expert = driven(2, weights(evaluate=3), assign, plain=plain, files=teacher).chunks("evaluation")
    without = driven(2, weights(evaluate=3), assignment(evaluates=True)).chunks("evaluation")
    for first, second in zip(map(open_chunk, with_expert), map(open_chunk, without), strict=True):
        assert set(first.columns["weights"][first.lead :]) == {1}
        np.testing.assert_array_equal(first.columns["action"], second.columns["action"])


def test_an_expert_that_cannot_drive_is_refused_and_the_environments_are_let_go(tmp_path: Path) -> None:
    plain, _ = with_an_expert()
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(b"nothing")
    before = Road.closed
    with pytest.raises(
        WeightsError, match=r"collection\.policy is 'teacher', which cannot drive here: .*not a safetensors file"
    ):
        driven(2, plain=plain, files={"weights/teacher": str(path)})
    with pytest.raises(WeightsError, match=r"collection\.policy is 'teacher', and this worker was not sent these weights"):
        driven(2, plain=plain)
    assert Road.closed == before + 4


def test_reports_count_the_steps_of_all_cars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "STATUS_INTERVAL_S", 0.0)
    port = driven(8, assignment(), Allowance("demo", "", 20))
    reports = [message.values for message in port.sent if isinstance(message, Status)]
    assert [report["produced"] for report in reports] == [0, 8, 16, 20]
    assert all(report["speed_factor"] == pytest.approx(0.05 * report["steps_per_s"]) for report in reports)


def test_several_cars_in_real_time_are_refused() -> None:
    before = Road.closed
    with pytest.raises(WorldError, match=r"worker\.environments is 2 on this machine.* in real time.*worker\.environments = 1"):
        WorkerEngine(Port(), "demo", "w", config(clock="realtime"), 0, 2)  # type: ignore[arg-type]
    assert Road.closed == before + 1


def test_a_policy_that_fails_lets_go_of_all_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def act_many(self, *_: Any, **__: Any) -> Array:
            raise ArithmeticError("the policy has diverged")

        def initial_state(self) -> Array:
            return np.zeros(0, np.float32)

    monkeypatch.setattr(engine, "load_actor", lambda *_: Broken())
    monkeypatch.setattr(engine, "_states", lambda *_: [])
    before = Road.closed
    with pytest.raises(ArithmeticError):
        driven(3, weights(), assignment(), Allowance("demo", "", 30))
    assert Road.closed == before + 3


def test_all_environments_are_closed_at_the_end() -> None:
    before = Road.closed
    driven(5)
    assert Road.closed == before + 5
    driven(5, weights(evaluate=3), assignment(evaluates=True))
    assert Road.closed == before + 5 + 5 + 3


@pytest.mark.parametrize("cars", [1, 3])
def test_each_car_carries_what_its_policy_remembers_through_its_episode(cars: int) -> None:
    plain = config() | {"collection": {"chunk_steps": 4, "policy_state": True}}
    message = weights_that_remember()
    told = Assign("demo", run_config(plain).model_dump(mode="json"), 1, "running")
    port = driven(cars, message, told, Allowance("demo", "", 60), plain=run_config(plain).model_dump(mode="json"))
    episodes: dict[str, list[Chunk]] = {}
    for sent in port.chunks():
        chunk = open_chunk(sent)
        episodes.setdefault(chunk.episode, []).append(chunk)
    assert len(episodes) >= 2 * cars
    network, tensors = NetworkOptions(hidden=(4,), gru=3), unpack(message.payload)[1]
    for chunks in episodes.values():
        actor = Actor(SPEC, network, tensors)
        state, random = actor.begin(), np.random.default_rng(0)
        for chunk in chunks:
            told_states = chunk.state[POLICY]
            assert told_states.shape == (chunk.steps, 3)
            for step in range(chunk.steps):  # the state before each step is what the policy makes of all that came before it
                np.testing.assert_allclose(told_states[step], state, atol=2e-3)
                actor.act((chunk.columns["place"][chunk.lead - 1 + step],), True, random, state=state)


def test_nothing_is_told_of_what_a_policy_remembers_unless_it_is_asked_for() -> None:
    port = driven(2, weights_that_remember(evaluate=3), assignment(evaluates=True), Allowance("demo", "", 20))
    assert port.chunks()
    assert port.chunks("evaluation")
    assert all(not open_chunk(sent).state for sent in (*port.chunks(), *port.chunks("evaluation")))


def test_an_evaluation_begins_each_episode_with_nothing_remembered() -> None:
    alone = driven(1, weights_that_remember(evaluate=4), assignment(evaluates=True)).chunks("evaluation")
    together = driven(4, weights_that_remember(evaluate=4), assignment(evaluates=True)).chunks("evaluation")
    by_seed = [
        {chunk.seed: chunk.columns["action"] for chunk in map(open_chunk, chunks) if chunk.first_step == 0}
        for chunks in (alone, together)
    ]
    assert by_seed[0].keys() == by_seed[1].keys() == {0, 1, 2, 3}
    for seed, actions in by_seed[0].items():
        np.testing.assert_allclose(actions, by_seed[1][seed], atol=1e-5)
