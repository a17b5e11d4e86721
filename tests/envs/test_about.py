"""What is told about an environment is what it does."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from tests.envs.test_registry import Sensor, Toy
from tmrld.envs.about import about, settings_of
from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID, OURS, EnvironmentOptions, RewardOptions
from tmrld.envs.registry import make
from tmrld.envs.trackmania.reward import REWARD_TERMS
from tmrld.envs.trackmania.spec import ACTION_SIZE, ACTIONS, MEANINGS, flavour_spec


@pytest.mark.parametrize("id", OURS)
def test_the_parts_that_are_told_are_those_that_are_seen(id: str) -> None:
    options = EnvironmentOptions(id=id)
    found = about(options)
    env = make(options)
    observation, _ = env.reset(seed=0)
    env.close()

    *parts, actions = found.observation
    assert [part.shape for part in parts] == [each.shape for each in observation[: -options.action_buffer]]
    assert [part.dtype for part in parts] == [str(each.dtype) for each in observation[: -options.action_buffer]]
    assert actions.shape == (options.action_buffer, *observation[-1].shape)
    for part, each in zip(parts, observation, strict=False):
        assert part.low is None or each.min() >= part.low
        assert part.high is None or each.max() <= part.high
    assert len(found.action) == ACTION_SIZE


def test_every_part_and_action_of_ours_has_a_meaning() -> None:
    assert {part.name for id in OURS for part in flavour_spec(EnvironmentOptions(id=id)).parts} == set(MEANINGS)
    assert len(ACTIONS) == ACTION_SIZE
    assert all(each.text for each in (*MEANINGS.values(), *ACTIONS.values()))
    units = {part.name: part.unit for part in about(EnvironmentOptions(id=FULL_ID)).observation}
    assert (units["speed"], units["rpm"]) == ("km/h", "1/min")


def test_with_tmrls_rules_the_speed_has_the_plugins_unit_and_straying_ends_nothing() -> None:
    found = about(EnvironmentOptions(compat="tmrl"))
    assert found.observation[0].unit == "m/s"
    assert not any("away from the line" in text for text in found.terminated)
    assert any("100 m away from the line" in text for text in about(EnvironmentOptions()).terminated)


def test_every_term_of_the_reward_is_told_with_its_value() -> None:
    found = about(EnvironmentOptions(reward=RewardOptions(end_of_track=25, constant_penalty=-0.5)))
    assert tuple(found.rewards) == REWARD_TERMS
    assert found.rewards["progress"].startswith("1 for every 10 m")
    assert found.rewards["finish"].startswith("25, once")
    assert found.rewards["penalty"].startswith("-0.5")


def test_the_delay_is_what_is_left_of_the_step_and_another_one() -> None:
    found = about(EnvironmentOptions(time_step_s=0.1, start_obs_capture_s=0.07))
    assert (found.step_s, found.capture_s) == (0.1, 0.07)
    assert found.delay_s == pytest.approx(0.13)


def test_the_game_ends_episodes_for_people_and_the_simulator_for_missed_checkpoints() -> None:
    sim = about(EnvironmentOptions())
    game = about(EnvironmentOptions(game="trackmania", clock="realtime"))
    assert any("checkpoint" in text for text in sim.terminated)
    assert not any("checkpoint" in text for text in game.terminated)
    assert "a person takes the controls over" in game.truncated
    assert "a person takes the controls over" not in sim.truncated


def test_every_setting_is_told_with_its_default_and_what_it_is_now() -> None:
    found = {each.key: each for each in about(EnvironmentOptions(history=2)).options}
    assert set(found) == {each.key for each in settings_of(EnvironmentOptions())} - {"id", "kwargs"}
    assert (found["history"].value, found["history"].default, found["history"].unit) == (2, 4, "frames")
    assert found["trackmania.telemetry_stall_s"].unit == "s"
    assert found["game"].choices == ("sim", "trackmania")
    assert all(each.text for each in found.values())


def test_it_can_be_written_as_json() -> None:
    plain = json.loads(json.dumps(asdict(about(EnvironmentOptions(id=LIDAR_PROGRESS_ID))), allow_nan=False))
    assert [part["name"] for part in plain["observation"]] == ["speed", "progress", "lidar", "actions"]
    assert plain["observation"][2]["high"] is None


# Others' environments


def test_an_environment_of_gymnasiums_is_told_as_policies_see_it() -> None:
    found = about(EnvironmentOptions(id="Pendulum-v1"))
    assert "pendulum" in found.text
    ((part,), (action,)) = found.observation, found.action
    assert (part.name, part.shape, part.low, part.high) == ("observation", (3,), -8.0, 8.0)
    assert (action.low, action.high, action.text) == (-1.0, 1.0, "stands for -2 to 2")
    assert (found.step_s, found.truncated) == (None, ("after 200 steps",))
    assert [(each.key, each.value) for each in found.options] == [("kwargs.g", 10.0)]


def test_an_environment_of_ones_own_is_told_part_by_part() -> None:
    found = about(EnvironmentOptions(id="tests.envs.test_registry:several_parts"))
    assert [(part.name, part.dtype) for part in found.observation] == [("camera", "uint8"), ("wheel", "float32")]
    assert [action.text for action in found.action] == [""] * 4
    assert found.text == (Toy.__doc__ or "")


def test_an_rtgym_interface_tells_its_pace_and_its_keywords() -> None:
    options = EnvironmentOptions(id="tests.envs.test_registry:Sensor", kwargs={"fail_after": 7}, max_steps=50)
    found = about(options)
    assert (found.step_s, found.capture_s) == (0.05, 0.04)
    assert found.text == (Sensor.__doc__ or "")
    assert found.truncated == ("after 50 steps",)
    (keyword,) = found.options
    assert (keyword.key, keyword.value, keyword.default) == ("kwargs.fail_after", 7, 10**9)
    assert found.observation[-1].name == "actions"


def test_what_json_has_not_is_told_as_python_writes_it() -> None:
    found = about(EnvironmentOptions(id=f"{__name__}:Odd"))
    assert {each.key: each.value for each in found.options} == {"kwargs.start": "array([0., 1.])", "kwargs.speed": None}


class Odd(Toy):
    def __init__(self, start: object = np.array([0.0, 1.0]), speed: float | None = None) -> None:
        super().__init__()


def test_ours_need_no_track_to_be_told_about() -> None:
    assert about(EnvironmentOptions(id=LIDAR_ID, game="trackmania", clock="realtime", track="no-such-file.npy")).id == LIDAR_ID
