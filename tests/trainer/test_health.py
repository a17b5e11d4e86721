"""The judge of a training's health: a scripted cause for each verdict, told once and over once, and ten healthy runs without any."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.rl.experience import cut_all, make_episode, point_spec
from tests.trainer.healthy import streams
from tests.trainer.healthy.record import FOLDER, RUNS
from tmrld.configuration import run_config
from tmrld.payloads import Chunk, EpisodeSummary
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Replay
from tmrld.rl.sac import SAC
from tmrld.trainer.health import OVER, Health, Report, Verdict
from tmrld.trainer.symptoms import (
    COLLAPSE_EPISODES,
    LAG_CHUNKS,
    LAG_UPDATES,
    STARVED_S,
    WINDOW_TRANSITIONS,
    Driven,
    shown_by,
    stretch_value,
    values_of,
)

SPEC = point_spec(action_size=3)
OPTIONS = AlgorithmOptions()
REPORT_UPDATES = 20


# Healthy runs


def judged(health: Health, stream: Iterable[streams.Entry]) -> Iterator[Verdict]:
    for time_s, entry in stream:
        if isinstance(entry, Report):
            yield from health.report(entry)
        else:
            yield from health.waits(time_s)
            yield from health.rests()
            yield from health.driven(entry)


def judge_of(name: str) -> Health:
    return Health(run_config(RUNS[name][1]).algorithm, SPEC.action_size)


@pytest.mark.parametrize("name", RUNS)
def test_a_healthy_run_is_left_alone(name: str) -> None:
    stream = list(streams.read(FOLDER / f"{name}.csv"))
    assert sum(isinstance(entry, Report) for _, entry in stream) >= 30
    assert any(isinstance(entry, Driven) and entry.actor == "policy" for _, entry in stream)
    assert list(judged(judge_of(name), stream)) == []


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(
    ("code", "measure", "sick"),
    [
        ("not-finite", "loss_actor", lambda _: math.inf),
        ("exploding", "loss_critic", lambda value: 1e6 * value + 1e6),
        ("values-runaway", "q", lambda value: 30.0 * value + math.copysign(300.0, value)),
        ("entropy-dying", "entropy", lambda value: value - 20.0),
    ],
)
def test_the_same_run_with_sick_numbers_is_not(name: str, code: str, measure: str, sick: Callable[[float], float]) -> None:
    stream = [
        (
            time_s,
            Report(entry.update, {**entry.values, measure: sick(entry.values[measure])})
            if isinstance(entry, Report)
            else entry,
        )
        for time_s, entry in streams.read(FOLDER / f"{name}.csv")
    ]
    assert code in {verdict.code for verdict in judged(judge_of(name), stream)}


# What the algorithm reports, with real causes


def learned(
    options: dict[str, Any], network: dict[str, Any] | None = None, reports: int = 20, *, stop: str = ""
) -> tuple[Health, list[Verdict]]:
    """Soft Actor-Critic on a made-up environment with these options, judged as it goes, until there is a verdict ``stop``."""
    chosen = AlgorithmOptions(batch_size=32, n_step=1).model_copy(update=options)
    sac = SAC(chosen, NetworkOptions(hidden=(16, 16)).model_copy(update=network or {}), SPEC, seed=0)
    replay, rng = Replay(SPEC, 1000), np.random.default_rng(0)
    health, verdicts = Health(chosen, SPEC.action_size), list[Verdict]()
    for chunk in some_chunks():
        replay.append(chunk)
        verdicts += health.driven(shown_by(chunk, chosen.gamma))
    for _ in range(reports):
        for _ in range(REPORT_UPDATES):
            sac.update(replay.sample(chosen.batch_size, rng))
        verdicts += health.report(Report(sac.updates, sac.stats()))
        verdicts += health.policy(sac.updates, sac.policy_tensors())
        if stop in {verdict.code for verdict in verdicts}:
            break
    return health, verdicts


def some_chunks() -> list[Chunk]:
    return cut_all(make_episode(SPEC, 200, np.random.default_rng(0)), [20])


def told(verdicts: Sequence[Verdict], code: str) -> list[bool]:
    """How often this one began (False) and was over (True)."""
    return [verdict.over for verdict in verdicts if verdict.code == code]


def test_ordinary_options_bring_no_verdict() -> None:
    health, verdicts = learned({})
    assert (verdicts, health.standing, health.doubtful) == ([], [], False)


@pytest.mark.parametrize("options", [{"reward_scale": 1e30}, {"learning_rate_actor": 1e30, "learning_rate_critic": 1e30}])
def test_numbers_that_are_not_finite(options: dict[str, float]) -> None:
    health, verdicts = learned(options)
    assert told(verdicts, "not-finite") == [False]
    assert health.diverged
    assert "learning rates" in health.standing[0].mend


def test_a_learning_rate_of_a_thousand_explodes() -> None:
    health, verdicts = learned({"learning_rate_critic": 1e3}, {"critic_layer_norm": False})
    assert told(verdicts, "exploding") == [False]
    assert health.diverged
    (verdict,) = [each for each in health.standing if each.code == "exploding"]
    assert verdict.numbers["error"] > verdict.numbers["allowed"]


def test_critics_that_follow_their_own_values_run_away() -> None:
    options = {"tau": 1.0, "gamma": 0.999, "learning_rate_critic": 0.03}
    _, verdicts = learned(options, {"critic_layer_norm": False}, 60, stop="values-runaway")
    assert told(verdicts, "values-runaway") == [False]


def test_a_temperature_that_cannot_reach_its_target_takes_the_values_along() -> None:
    _, verdicts = learned({"target_entropy": 10.0, "learning_rate_temperature": 0.1}, reports=60, stop="values-runaway")
    (verdict,) = [verdict for verdict in verdicts if verdict.code == "values-runaway"]
    assert "temperature" in verdict.text
    assert "target_entropy" in verdict.mend


def test_a_policy_that_is_drawn_to_one_action_stops_exploring() -> None:
    options = {"learn_alpha": False, "alpha": 1e-6, "reward_scale": 1e6, "learning_rate_actor": 0.03}
    health, verdicts = learned(options, reports=60, stop="entropy-dying")
    assert told(verdicts, "entropy-dying") == [False]
    assert [verdict.numbers["floor"] for verdict in health.standing if verdict.code == "entropy-dying"] == [-18.0]


def report(update: int, **values: float) -> Report:
    return Report(update, {"loss_critic": 0.01, "q": 1.0, "entropy": -1.0, "alpha": 0.01, **values})


def test_a_single_odd_report_is_doubtful_and_no_verdict() -> None:
    health = Health(OPTIONS, 3)
    assert health.report(report(100, loss_critic=1e6)) == []
    assert health.doubtful
    assert not health.diverged
    assert health.report(report(200)) == []
    assert not health.doubtful


@pytest.mark.parametrize(
    ("code", "sick"),
    [
        ("not-finite", {"q": math.nan}),
        ("exploding", {"loss_critic": 1e6}),
        ("values-runaway", {"q": -1e4}),
        ("entropy-dying", {"entropy": -30.0, "alpha": 0.0}),
    ],
)
def test_each_is_told_once_when_it_begins_and_once_when_it_is_over(code: str, sick: dict[str, float]) -> None:
    health = Health(OPTIONS, 3)
    updates = iter(range(100, 10_000, 100))
    verdicts = [verdict for _ in range(10) for verdict in health.report(report(next(updates), **sick))]
    assert told(verdicts, code) == [False]
    assert health.standing[0].mend
    verdicts = [verdict for _ in range(10) for verdict in health.report(report(next(updates)))]
    assert [(verdict.code, verdict.over, verdict.text) for verdict in verdicts] == [(code, True, OVER[code])]
    assert health.standing == []


def test_values_that_double_on_the_way_beyond_what_is_possible_are_told_before_they_are_there() -> None:
    health = Health(OPTIONS, 3)
    health.remember(20.0)
    verdicts = [verdict for n in range(12) for verdict in health.report(report(100 * n, q=2.0 ** (n / 2.5)))]
    assert told(verdicts, "values-runaway") == [False]
    assert verdicts[0].numbers["q"] < verdicts[0].numbers["allowed"]


def test_values_in_a_larger_unit_are_measured_by_it() -> None:
    health = Health(OPTIONS.model_copy(update={"reward_scale": 1e6}), 3)
    health.remember(10.0)
    assert [verdict for n in range(10) for verdict in health.report(report(n, q=5e6, loss_critic=1e12))] == []


def test_a_policy_that_is_not_finite_is_seen_before_it_is_published() -> None:
    health = Health(OPTIONS, 3)
    (verdict,) = health.policy(100, {"head.weight": np.array([1.0, np.inf], np.float32), "which": np.array([1])})
    assert "head.weight" in verdict.text
    assert [verdict for n in range(5) for verdict in health.report(report(n))] == []
    assert health.diverged


def test_an_algorithm_that_measures_nothing_is_not_judged_by_it() -> None:
    health = Health(OPTIONS, 3)
    assert [verdict for n in range(10) for verdict in health.report(Report(n, {"updates_per_s": 3.0}))] == []


# Samples


def test_a_trainer_that_waits_too_long_is_starved_until_samples_come() -> None:
    health = Health(OPTIONS)
    assert health.waits(1000.0) == []
    assert health.waits(1000.0 + STARVED_S) == []
    (verdict,) = health.waits(1001.0 + STARVED_S)
    assert (verdict.code, verdict.numbers) == ("starved", {"waited_s": STARVED_S + 1.0})
    assert health.waits(1060.0 + STARVED_S) == []
    assert health.standing[0].numbers == {"waited_s": STARVED_S + 60.0}
    assert told(health.rests(), "starved") == [True]
    assert health.waits(9000.0) == health.rests() == []


def chunk_driven_with(version: int, worker: str = "w", actor: int = 1) -> Chunk:
    chunk = some_chunks()[0]
    rows = len(chunk.columns["reward"])
    columns = {"weights": np.full(rows, version), "actor": np.full(rows, actor, np.uint8)}
    return replace(chunk, worker=worker, columns={**chunk.columns, **columns})


def test_a_worker_that_hears_of_no_new_weights_is_named() -> None:
    health = Health(OPTIONS)
    health.report(report(10_000))
    newest, interval = LAG_UPDATES // 100 + 8, 100

    def driven(version: int, worker: str) -> list[Verdict]:
        return health.driven(shown_by(chunk_driven_with(version, worker), OPTIONS.gamma, newest, interval))

    for _ in range(LAG_CHUNKS - 1):
        assert driven(5, "deaf") == driven(newest, "good") == []
    (verdict,) = driven(5, "deaf")
    assert verdict.text.startswith("deaf drives with weights that are 53 versions, 5300 updates old")
    assert driven(newest, "good") == driven(5, "deaf") == []
    assert told(driven(newest, "deaf"), "policy-lag") == [True]


def test_what_others_than_the_policy_drive_has_no_age() -> None:
    shown = shown_by(chunk_driven_with(-1, actor=3), OPTIONS.gamma, 1000, 100)
    assert (shown.lag_versions, shown.lag_updates) == (0, 0)


def test_a_stretch_is_worth_what_it_brings_for_ever() -> None:
    assert stretch_value(np.full(20, 0.5), 0.9) == pytest.approx(10.0 / (1.0 - 0.9**20))
    assert stretch_value(np.array([-10.0]), 0.9) == stretch_value(np.array([10.0]), 0.9)
    assert stretch_value(np.array([10.0]), 0.9) == pytest.approx(10.0 / (1.0 - 0.9**20))


def test_demonstrations_say_what_rewards_there_are() -> None:
    memory = Replay(SPEC, 1000)
    for chunk in some_chunks():
        memory.append(chunk)
    rewards = memory.gather(np.arange(200)).reward
    assert max(values_of(memory, 0.9)) == pytest.approx(max(stretch_value(part, 0.9) for part in np.split(rewards, 10)))


# Episodes


def episode(
    episode_return: float, *, finished: bool = False, progress: float = 0.3, steps: int = 1000, **changes: Any
) -> Driven:
    return Driven(
        "w",
        1.0,
        actor="policy",
        episode_steps=steps,
        episode_return=episode_return,
        finished=finished,
        progress=progress,
        **changes,
    )


def driven(health: Health, episodes: Iterable[Driven]) -> list[Verdict]:
    return [verdict for each in episodes for verdict in health.driven(each)]


def returns(mean: float, count: int, **values: Any) -> list[Driven]:
    noise = np.random.default_rng(0).normal(0.0, 0.5, count)
    return [episode(mean + float(each), **values) for each in noise]


ENOUGH = WINDOW_TRANSITIONS // 1000


def test_returns_that_stay_where_they_are_for_a_whole_window() -> None:
    health = Health(OPTIONS)
    assert driven(health, returns(5.0, ENOUGH - 1)) == []
    (verdict,) = driven(health, returns(5.0, 50))
    assert verdict.code == "no-progress"
    assert "0% of the episodes finish" in verdict.text
    assert verdict.numbers["after"] == pytest.approx(5.0, abs=0.3)
    assert told(driven(health, [episode(5.0 + 0.1 * n) for n in range(60)]), "no-progress") == [True]


def test_returns_that_rise_are_progress() -> None:
    slowly = [replace(each, episode_return=(each.episode_return or 0.0) + 0.02 * n) for n, each in enumerate(returns(5.0, 300))]
    assert driven(Health(OPTIONS), slowly) == []


def test_whoever_finishes_has_arrived() -> None:
    assert driven(Health(OPTIONS), returns(40.0, 300, finished=True, progress=1.0)) == []


def test_without_a_track_returns_may_stay_where_they_are_much_better_than_at_first() -> None:
    at_first = [replace(each, actor="random") for each in returns(-20.0, 25, progress=math.nan)]
    assert driven(Health(OPTIONS), [*at_first, *returns(30.0, 300, progress=math.nan)]) == []
    assert told(driven(Health(OPTIONS), [*at_first, *returns(-20.0, 300, progress=math.nan)]), "no-progress") == [False]


def some_finish(share: float, count: int, *, forgets: bool) -> list[Driven]:
    finished = np.random.default_rng(1).uniform(size=count) < share
    return [episode(1.0, finished=bool(each), steps=10, forgets=forgets) for each in finished]


def test_finishes_that_become_rare_when_the_memory_forgets() -> None:
    health = Health(OPTIONS)
    assert driven(health, some_finish(0.9, 300, forgets=True)) == []
    (verdict,) = driven(health, some_finish(0.1, 150, forgets=True))
    assert verdict.code == "finish-collapse"
    assert verdict.numbers["best"] > 0.8
    assert verdict.numbers["share"] < 0.32
    assert told(driven(health, some_finish(0.9, 150, forgets=True)), "finish-collapse") == [True]


@pytest.mark.parametrize(("before", "after", "forgets"), [(0.9, 0.1, False), (0.9, 0.5, True), (0.3, 0.05, True)])
def test_what_is_no_collapse(before: float, after: float, forgets: bool) -> None:
    episodes = some_finish(before, 2 * COLLAPSE_EPISODES, forgets=forgets) + some_finish(after, 300, forgets=forgets)
    assert driven(Health(OPTIONS), episodes) == []


def test_a_chunk_shows_the_episode_that_ended_with_it() -> None:
    summary = EpisodeSummary(57, 3.5, True, 2.85, 1.0, "policy", 4)
    shown = shown_by(replace(chunk_driven_with(4), summary=summary), OPTIONS.gamma, 6, 100, forgets=True)
    assert (shown.lag_versions, shown.lag_updates, shown.forgets) == (2, 200, True)
    assert (shown.actor, shown.episode_steps, shown.episode_return, shown.finished, shown.progress) == (
        "policy",
        57,
        3.5,
        True,
        1.0,
    )
