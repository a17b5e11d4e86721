"""The environment for programs with an algorithm of their own: the sample loop of TMRL's page, and what can go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import tmrld
from tests.support import robot
from tmrld.errors import SettingsError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TMRLD_CONFIG", raising=False)


def model(obs: Any) -> Any:
    """Steers to the side where the beams are long, as TMRL's page does it."""
    deviation = obs[1].mean(0)
    deviation /= deviation.sum() + 0.001
    steer = sum((i - 9) * deviation[i] for i in range(19))
    return np.array([1.0, 0.0, min(max(-np.tanh(steer * 4), -1.0), 1.0)])


def test_the_loop_of_tmrls_page_runs() -> None:
    env = tmrld.get_environment()
    obs, _ = env.reset()
    rewards = []
    for _ in range(200):
        obs, rew, terminated, truncated, _ = env.step(model(obs))
        rewards.append(float(rew))
        if terminated or truncated:
            break
    env.wait()
    env.close()

    assert [part.shape for part in obs] == [(1,), (4, 19), (3,), (3,)]
    assert sum(rewards) > 1.0


def test_the_settings_say_which_environment_it_is(tmp_path: Path) -> None:
    file = tmp_path / "tmrld.toml"
    file.write_text('[run.environment]\nid = "tmrld/TM20LidarProgress-v0"\nhistory = 2\n')
    env = tmrld.get_environment(history=3)
    assert [part.shape for part in env.observation_space.spaces] == [(1,), (1,), (3, 19), (3,), (3,)]  # type: ignore[attr-defined]
    env.close()
    elsewhere = tmp_path / "other.toml"
    elsewhere.write_text('[run.environment]\nid = "Pendulum-v1"\n')
    env = tmrld.get_environment(elsewhere)
    env.wait()
    assert isinstance(env, gymnasium.Env)
    env.close()


def test_waiting_reaches_the_interface(tmp_path: Path) -> None:
    env = tmrld.get_environment(
        id=robot.ID, kwargs={"diary": str(tmp_path / "diary")}, time_step_s=0.005, start_obs_capture_s=0.0
    )
    env.reset()
    env.step(np.zeros(1, np.float32))
    env.wait()
    env.close()

    assert robot.diary(tmp_path / "diary")[-2:] == ["wait", "close"]


def test_a_setting_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        SettingsError, match=r"run\.environment\.hystory is not a setting: did you mean run\.environment\.history"
    ):
        tmrld.get_environment(hystory=2)


def test_what_tmrld_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'get_environmnt'"):
        _ = tmrld.get_environmnt
