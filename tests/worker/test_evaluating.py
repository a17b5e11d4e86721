"""Driving to be judged: protocols, policies of one's own, and what the league allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID, EnvironmentOptions
from tmrld.errors import BadInput, WeightsError
from tmrld.payloads import EnvSpec, PartSpec, WeightsManifest
from tmrld.rl.options import NetworkOptions
from tmrld.rl.weights import pack
from tmrld.worker.driving import Drive
from tmrld.worker.evaluating import AGAIN, Candidate, evaluate, fitting, league_remarks, of_module, of_weights

SPEC = EnvSpec("tests", (PartSpec("place", (1,)),), action_size=1, default_action=(0.0,))


class Oval(gymnasium.Env[Any, Any]):
    """Three steps to the finish, unless ``plan`` says that the next episodes end otherwise: "L", "c" (crash), "p" (a person).

    A lap takes 40 s and as many more as the seed says.
    """

    tmrld_spec = SPEC
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    plan: ClassVar[list[str]] = []
    seeds: ClassVar[list[int | None]] = []
    starts: ClassVar[list[Any]] = []
    actions: ClassVar[list[float]] = []
    open: ClassVar[int] = 0

    def __init__(self) -> None:
        Oval.open += 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        Oval.seeds.append(seed)
        Oval.starts.append(options)
        self._end = Oval.plan.pop(0) if Oval.plan else "L"
        self._seed, self._steps = seed or 0, 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        Oval.actions.append(float(action[0]))
        self._steps += 1
        over = self._steps == 3
        lap = 40.0 + self._seed if over and self._end == "L" else None
        info = {"finished": lap is not None, "lap_time_s": lap, "user_drives": over and self._end == "p"}
        return np.full(1, self._steps, np.float32), 1.0, over, False, info

    def close(self) -> None:
        Oval.open -= 1


class Follower:
    """A policy of one's own: half of what it sees, at most 1, and less with every episode."""

    episodes: ClassVar[int] = 0

    def __init__(self, spec: EnvSpec) -> None:
        assert spec.action_size == 1
        Follower.episodes = 0

    def reset(self) -> None:
        Follower.episodes += 1

    def act(self, observation: Any) -> Sequence[float]:
        return [min(1.0, 0.5 * float(observation[0]))]


class Wild(Follower):
    def act(self, observation: Any) -> Sequence[float]:
        return [2.0]


class Idle:
    def __init__(self, spec: EnvSpec) -> None:
        self._action = [0.0] * spec.action_size

    def act(self, observation: Any) -> Sequence[float]:
        return self._action


class Lost(Follower):
    act = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _afresh() -> None:
    for kept in (Oval.plan, Oval.seeds, Oval.starts, Oval.actions):
        kept.clear()


OPTIONS = EnvironmentOptions(id=f"{__name__}:Oval")


def policy(name: str = "Follower") -> Candidate:
    return of_module(f"{__name__}:{name}")


def laps(drives: Sequence[Drive]) -> list[float | None]:
    return [drive.summary.lap_time_s for drive in drives]


def learned(spec: EnvSpec = SPEC, size: int = 1) -> bytes:
    """A weights file of a tiny policy for this spec; ``size`` is that of a flat observation."""
    network = NetworkOptions(hidden=(4,))
    shapes = {"trunk.layers.0.weight": (4, size), "trunk.layers.0.bias": (4,), "head.bias": (2 * spec.action_size,)}
    shapes["head.weight"] = (2 * spec.action_size, 4)
    random = np.random.default_rng(1)
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return pack(WeightsManifest("demo", 7, 10, 0, spec, network.model_dump(mode="json"), "sac"), tensors).data


def test_a_plain_evaluation_drives_consecutive_seeds() -> None:
    drives = list(evaluate(OPTIONS, policy(), episodes=3, seed=5))
    assert [drive.seed for drive in drives] == Oval.seeds == [5, 6, 7]
    assert laps(drives) == [45.0, 46.0, 47.0]
    assert Oval.starts == [None] * 3
    assert Oval.open == 0


def test_perturbed_starts_are_those_of_a_runs_evaluation() -> None:
    list(evaluate(OPTIONS, policy(), episodes=1, perturbed=True))
    assert Oval.starts[0]["perturb"]["offset_m"] == 1.0


def test_weights_drive_without_noise() -> None:
    candidate = of_weights("mine", learned())
    assert (candidate.name, candidate.run, candidate.version) == ("mine", "demo", 7)
    drives = list(evaluate(OPTIONS, candidate, episodes=2))
    assert Oval.actions[:3] == Oval.actions[3:]
    assert {(drive.summary.actor, drive.summary.weights_version) for drive in drives} == {("policy", 7)}


def test_weights_of_another_environment_are_refused_and_it_is_closed() -> None:
    other = EnvSpec("other", (PartSpec("sonar", (2,)),), action_size=1, default_action=(0.0,))
    with pytest.raises(WeightsError, match="they expect the parts sonar and get place"):
        list(evaluate(OPTIONS, of_weights("mine", learned(other, 2))))
    assert Oval.open == 0


def test_what_is_no_weights_file_is_refused() -> None:
    with pytest.raises(WeightsError, match="not a safetensors file"):
        of_weights("mine", b"pickled")


def test_an_episode_that_a_person_ends_is_driven_again() -> None:
    Oval.plan[:] = ["L", "p", "p", "L"]
    said: list[str] = []
    drives = list(evaluate(OPTIONS, policy(), episodes=2, say=said.append))
    assert (laps(drives), Oval.seeds, said) == ([40.0, 41.0], [0, 1, 1, 1], [AGAIN, AGAIN])


# Policies of one's own


def test_a_policy_of_ones_own_drives_and_is_told_of_each_episode() -> None:
    list(evaluate(OPTIONS, policy(), episodes=2))
    assert Oval.actions == [0.0, 0.5, 1.0] * 2
    assert Follower.episodes == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere_at_all:Policy", "the module 'nowhere_at_all' cannot be imported"),
        (f"{__name__}:Folower", "has no class or function 'Folower': did you mean 'Follower'"),
        (f"{__name__}:SPEC", "has no class or function 'SPEC'"),
        (f"{__name__}:Oval", "cannot be called with the EnvSpec of an environment"),
        (f"{__name__}:Lost", r"made a Lost without a method act\(observation\)"),
        (f"{__name__}:Wild", r"chose \[2.0\] as an action: expected 1 numbers from -1 to 1"),
    ],
)
def test_what_is_no_policy_is_explained(name: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        list(evaluate(OPTIONS, of_module(name), episodes=1))
    assert Oval.open == 0


# The league


def league(plan: str, said: list[str] | None = None) -> list[Drive]:
    Oval.plan[:] = list(plan)
    say = (lambda _: None) if said is None else said.append
    return list(evaluate(OPTIONS, policy(), protocol="tmrl-league", say=say))


def test_the_league_goes_on_until_ten_runs_count() -> None:
    assert len(league("")) == 10
    assert len(league("LcLLc")) == 12


def test_the_league_ends_with_the_third_crash() -> None:
    assert len(league("LcLcc")) == 5


def test_episodes_of_a_person_count_for_nothing_in_the_league() -> None:
    assert len(league("cpcpL")) == 12


def test_the_league_says_what_only_stands_in_for_it() -> None:
    said: list[str] = []
    league("ccc", said)
    assert said == [
        "not TrackMania: the league's rules, driven in a stand-in",
        "not the league's view: such entries belong in its second list, for environments of one's own",
    ]


def trackmania(id: str = FULL_ID, track: str = "tmrl-test", **more: Any) -> EnvironmentOptions:
    return EnvironmentOptions(id=id, game="trackmania", clock="realtime", track=track, **more)


@pytest.mark.parametrize("options", [trackmania(), trackmania(LIDAR_ID), trackmania(track="there/tmrl-test.npy")])
def test_nothing_is_remarked_on_a_drive_of_the_league(options: EnvironmentOptions) -> None:
    assert league_remarks(options) == []


@pytest.mark.parametrize(
    ("options", "remark"),
    [
        (trackmania(track="home"), "not the league's track: that is tmrl-test, and this is home"),
        (trackmania(LIDAR_PROGRESS_ID), "not the league's view"),
        (trackmania(history=8), "not the league's view"),
        (trackmania(action_buffer=1), "not the league's view"),
        (EnvironmentOptions(id=FULL_ID, clock="realtime"), "not TrackMania"),
    ],
)
def test_what_differs_from_the_league_is_remarked(options: EnvironmentOptions, remark: str) -> None:
    (found,) = league_remarks(options)
    assert found.startswith(remark)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (trackmania(time_step_s=0.1), "driven 20 times a second, and environment.time_step_s is 0.1"),
        (trackmania(window_width=1920, window_height=1080), "and this one has 1920 by 1080"),
        (trackmania(window_width=128), "allows windows from 256 by 128 to 958 by 488 pixels"),
    ],
)
def test_what_the_league_forbids_is_refused(options: EnvironmentOptions, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        league_remarks(options)
    with pytest.raises(BadInput, match="leave --perturbed out"):
        league_remarks(options, perturbed=True)


# Environments


class Wrapped(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One of ours within an environment of somebody's own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(gymnasium.make(LIDAR_ID, **settings))


def test_the_league_looks_at_the_environment_that_is_wrapped() -> None:
    said: list[str] = []
    options = EnvironmentOptions(id=f"{__name__}:Wrapped", kwargs={"max_steps": 2, "history": 2})
    list(evaluate(options, policy("Idle"), protocol="tmrl-league", say=said.append))
    assert [sentence.split(":")[0] for sentence in said] == ["not TrackMania", "not in real time", "not the league's view"]
    slow = options.model_copy(update={"kwargs": {"time_step_s": 0.1}})
    with pytest.raises(BadInput, match="20 times a second"):
        list(evaluate(slow, policy("Idle"), protocol="tmrl-league"))


@pytest.mark.parametrize(
    ("id", "parts", "expected"),
    [
        (LIDAR_ID, (PartSpec("speed", (1,)), PartSpec("lidar", (19,), history=2)), {"history": 2}),
        (
            FULL_ID,
            (PartSpec("speed", (1,)), PartSpec("images", (32, 48, 3), "uint8", history=1)),
            {"history": 1, "image_height": 32, "image_width": 48, "grayscale": False},
        ),
    ],
)
def test_ours_shows_what_the_weights_were_made_to_see(id: str, parts: tuple[PartSpec, ...], expected: dict[str, Any]) -> None:
    spec = EnvSpec(id, parts, action_size=3, action_buffer=1, default_action=(0.0,) * 3)
    manifest = WeightsManifest("demo", 1, 1, 0, spec, {}, "sac")
    found = fitting(EnvironmentOptions(id=id), Candidate("mine", "demo", 1, policy().begin, manifest))
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.action_buffer == 1
    assert fitting(EnvironmentOptions(id=id), policy()) == EnvironmentOptions(id=id)
