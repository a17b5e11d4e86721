"""What TMRL's config.json becomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tmrl.config_json import CONFIG, changed
from tmrld.configuration import checked
from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID
from tmrld.errors import BadInput
from tmrld.tmrl.config import KEYS, OF_REDQ, Becomes, Translation, read

OTHER: dict[str, Any] = {
    "SAC": "REDQSAC",
    "TM20FULL": "TM20LIDAR",
    "adam": "sgd",
    "ALG.L2_ACTOR": 0.5,
    "ALG.L2_CRITIC": 0.5,
    "ENV.REWARD_CONFIG.CONSTANT_PENALTY": -1.0,
}
"""Another value for a text, or for a key whose value is 0."""


def translated(**changes: Any) -> Translation:
    return read(json.dumps(changed(**changes)).encode())


def at(tree: dict[str, Any], path: str) -> Any:
    value: Any = tree
    for name in path.split("."):
        value = value[name]
    return value


def keys_of(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from keys_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_key_becomes_a_setting_or_is_told_why_not() -> None:
    entries = {entry.key: entry for entry in translated().entries if entry.key}

    assert set(entries) == set(keys_of(CONFIG))
    assert set(entries) <= set(KEYS)
    for key, entry in entries.items():
        assert bool(entry.field) is (isinstance(KEYS[key], Becomes) and key not in OF_REDQ)
        assert entry.field or len(entry.note) > 10, key


def test_what_an_entry_tells_is_what_the_run_has() -> None:
    translation = translated()

    for entry in translation.entries:
        if entry.field not in ("", "name"):
            assert at(translation.config, entry.field) == entry.ours, entry


def test_every_setting_that_a_key_becomes_exists_and_follows_the_key() -> None:
    """Another value there is another value here."""
    defaults = checked({})
    for key, becomes in KEYS.items():
        if not isinstance(becomes, Becomes) or key == "RUN_NAME":
            continue
        at(defaults, becomes.field)
        before = at(CONFIG, key)
        after: Any = OTHER.get(before) if isinstance(before, str) else None
        if isinstance(before, bool):
            after = not before
        elif isinstance(before, list):
            after = [0.5, 0.9]
        elif not isinstance(before, str):
            after = before * 0.5 if isinstance(before, float) and before else before * 2 if before else OTHER[key]
        rest = {"ALG__ALGORITHM": "REDQSAC"} if key in OF_REDQ else {}
        first, second = (at(translated(**rest, **each).config, becomes.field) for each in ({}, {key.replace(".", "__"): after}))
        if key in ("RW_MAX_SAMPLES_PER_EPISODE", "ENV.RTGYM_CONFIG.ep_max_length"):
            assert first == second == 1000  # the other one is smaller
        else:
            assert first != second, key


def test_a_run_drives_and_learns_as_tmrl_does() -> None:
    config = translated().config

    environment, algorithm = config["environment"], config["algorithm"]
    assert (environment["id"], environment["game"], environment["compat"]) == (FULL_ID, "trackmania", "tmrl")
    assert (environment["clock"], environment["window_width"], environment["window_height"]) == ("realtime", 256, 128)
    assert environment["reward"]["end_of_track"] == 100.0
    assert (algorithm["tau"], algorithm["gamma"], algorithm["n_step"]) == (0.005, 0.995, 1)
    assert (algorithm["learn_alpha"], algorithm["update_to_data"]) == (False, 4.0)
    assert (config["network"]["hidden"], config["network"]["cnn"]) == ([256, 256], "tmrl")
    assert config["network"]["critic_layer_norm"] is False
    assert config["training"]["max_updates"] == 200_000_000
    assert config["training"]["checkpoint_interval_updates"] == 20_000


@pytest.mark.parametrize(
    ("interface", "id"),
    [
        ("TM20FULL", FULL_ID),
        ("TM20IMAGES", FULL_ID),
        ("TM20LIDAR", LIDAR_ID),
        ("TM20LIDARPROGRESS", LIDAR_PROGRESS_ID),
    ],
)
def test_the_flavour_is_told_by_the_interfaces_name(interface: str, id: str) -> None:
    assert translated(ENV__RTGYM_INTERFACE=interface).config["environment"]["id"] == id


def test_redq_is_redq_and_its_keys_count_for_it_alone() -> None:
    redq, sac = translated(ALG__ALGORITHM="REDQSAC", ALG__REDQ_N=5), translated(ALG__REDQ_N=5)
    (told,) = (entry for entry in sac.entries if entry.key == "ALG.REDQ_N")

    names = ("name", "critics", "critic_subset", "policy_interval")
    assert [redq.config["algorithm"][name] for name in names] == ["redq", 5, 2, 20]
    assert [sac.config["algorithm"][name] for name in names] == ["sac", "auto", 2, 1]
    assert (told.field, told.note) == ("", "TMRL reads it for REDQSAC alone")


def test_optimizers_are_those_that_the_file_asks_for() -> None:
    asked = translated(ALG__OPTIMIZER_ACTOR="SGD", ALG__BETAS_ACTOR=None, ALG__L2_ACTOR=None, ALG__L2_CRITIC=0.25)

    algorithm = asked.config["algorithm"]
    assert (algorithm["optimizer_actor"], algorithm["optimizer_critic"]) == ("sgd", "adam")
    assert (algorithm["betas_actor"], algorithm["betas_critic"]) == ([0.9, 0.999], [0.997, 0.997])
    assert (algorithm["weight_decay_actor"], algorithm["weight_decay_critic"]) == (0.0, 0.25)


def test_an_algorithm_that_tmrl_does_not_have_is_refused() -> None:
    with pytest.raises(BadInput, match=r"ALG\.ALGORITHM of config\.json is 'PPO', SAC or REDQSAC was expected"):
        translated(ALG__ALGORITHM="PPO")


def test_no_secret_is_told() -> None:
    told = str(translated(SOMETHING="unheard").entries)

    assert not any(secret in told for secret in ("a-password-of-mine", "a-key-of-mine", "unheard"))


def test_a_key_that_nobody_knows_is_told() -> None:
    (entry,) = (entry for entry in translated(ENV__SPEED_LIMIT=3).entries if entry.key == "ENV.SPEED_LIMIT")

    assert (entry.field, entry.ours) == ("", None)
    assert "no key of TMRL 0.7.1" in entry.note


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"ENV__IMG_GRAYSCALE": ...}, "environment.grayscale", False),
        ({"ENV__RTGYM_CONFIG__start_obs_capture": ...}, "environment.start_obs_capture_s", 0.05),
        ({"ENV__RTGYM_CONFIG__wait_on_done": ...}, "environment.wait_on_done", False),
        ({"ENV__RTGYM_CONFIG__ep_max_length": ...}, "environment.max_steps", 1000),
        ({"ENV__RTGYM_CONFIG__ep_max_length": 400}, "environment.max_steps", 400),
        ({"ENV__RTGYM_CONFIG__ep_max_length": float("inf")}, "environment.max_steps", 1000),
        ({"RW_MAX_SAMPLES_PER_EPISODE": 300}, "environment.max_steps", 300),
        ({"ALG__TARGET_ENTROPY": None}, "algorithm.target_entropy", "auto"),
        ({"VIRTUAL_GAMEPAD": False}, "environment.trackmania.controls", "keyboard"),
        ({"ENVIRONMENT_STEPS_BEFORE_TRAINING": 0}, "algorithm.warm_up", 1),
        ({"ENV__RTGYM_CONFIG__interface_kwargs__save_replays": True}, "environment.trackmania.save_replays", True),
    ],
)
def test_what_is_absent_or_unusual_is_as_tmrl_has_it(changes: dict[str, Any], field: str, value: Any) -> None:
    assert at(translated(**changes).config, field) == value


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ALG__GAMMA": 1.5}, "algorithm.gamma"),
        ({"ALG__GAMMA": "high"}, "algorithm.gamma"),
        ({"ALG__POLYAK": "high"}, "ALG.POLYAK of config.json is 'high', a number was expected"),
        ({"ENV__RTGYM_INTERFACE": 20}, "RTGYM_INTERFACE of config.json is 20, a text was expected"),
        ({"MAX_EPOCHS": 1.5}, "MAX_EPOCHS of config.json is 1.5, a whole number"),
        ({"RW_MAX_SAMPLES_PER_EPISODE": -3}, "RW_MAX_SAMPLES_PER_EPISODE of config.json is -3"),
        ({"RW_MAX_SAMPLES_PER_EPISODE": float("nan")}, "RW_MAX_SAMPLES_PER_EPISODE of config.json is nan"),
        ({"RUN_NAME": 3}, "RUN_NAME of config.json is 3"),
        ({"ENV": ...}, "has no entry ENV"),
        ({"__VERSION__": "0.5.3"}, "config.json is of TMRL 0.5.3, this reads those from 0.6.0 on"),
        ({"__VERSION__": ...}, "config.json is of TMRL \\(unknown\\)"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        translated(**changes)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"{}" + b" " * 2**20])
def test_what_is_no_configuration_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"config\.json"):
        read(data)
