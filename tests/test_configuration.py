"""A run's configuration: its schema, what is wrong with one, and how two differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.configuration import (
    DAEMON_SETTINGS,
    TRAINER_GROUPS,
    WORKER_GROUPS,
    Change,
    InvalidConfig,
    Reference,
    changes,
    checked,
    need_restart,
    patched,
    references,
    schema,
)
from tmrld.errors import NotFound
from tmrld.presets import PRESETS, preset
from tmrld.settings import Settings


def leaves(part: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of a schema that is no group, by its dotted name."""
    for name, below in part["properties"].items():
        if "properties" in below:
            yield from leaves(below, f"{path}{name}.")
        else:
            yield f"{path}{name}", below


def test_every_field_says_what_it_is_and_how_a_change_applies() -> None:
    fields = dict(leaves(schema()))
    assert len(fields) > 50
    for path, field in fields.items():
        assert {"title", "description", "default", "x-applies"} <= set(field), path
        assert field["x-applies"] in ("live", "restart", "new-run"), path


def test_the_schema_has_ranges_and_units_and_refers_to_nothing() -> None:
    field = dict(leaves(schema()))["environment.time_step_s"]
    assert (field["x-unit"], field["exclusiveMinimum"], field["maximum"]) == ("s", 0, 10)
    assert "$ref" not in str(schema())


def test_titles_are_the_names_in_plain_words() -> None:
    assert dict(leaves(schema()))["algorithm.learning_rate_actor"]["title"] == "Learning rate actor"
    assert schema()["properties"]["algorithm"]["title"] == "Algorithm"


@pytest.mark.parametrize(
    "path",
    [
        *("algorithm.learning_rate_actor", "algorithm.learning_rate_critic", "algorithm.learning_rate_temperature"),
        *("algorithm.update_to_data", "algorithm.batch_size", "algorithm.alpha", "algorithm.learn_alpha"),
        *("algorithm.target_entropy", "training.evaluation_episodes", "training.evaluation_interval_updates"),
        *("training.weights_interval_updates", "training.metrics_interval_updates", "evaluation.grip"),
    ],
)
def test_what_people_turn_while_a_run_learns_applies_live(path: str) -> None:
    assert dict(leaves(schema()))[path]["x-applies"] == "live"


def test_what_shapes_networks_and_spaces_needs_a_new_run() -> None:
    fields = dict(leaves(schema()))
    for path in ("network.hidden", "algorithm.name", "environment.id", "environment.history", "environment.action_buffer"):
        assert fields[path]["x-applies"] == "new-run"


def test_the_defaults_of_the_schema_are_those_of_a_run_that_sets_nothing() -> None:
    config = checked({})
    for path, field in leaves(schema()):
        value: Any = config
        for key in path.split("."):
            value = value[key]
        assert field["default"] == value, path


def test_each_wrong_field_is_named_with_its_value() -> None:
    with pytest.raises(InvalidConfig) as caught:
        checked({"algorithm": {"gamma": 2, "batch_size": "many"}, "trainig": {}})
    problems = {problem.path: problem for problem in caught.value.problems}
    assert set(problems) == {"algorithm.gamma", "algorithm.batch_size", "trainig"}
    assert (problems["algorithm.gamma"].value, problems["algorithm.batch_size"].value) == (2, "many")
    assert "less than 1" in problems["algorithm.gamma"].message
    assert "did you mean training?" in problems["trainig"].message


# Merge patches


def test_null_gives_a_field_its_default_back() -> None:
    config = checked({"algorithm": {"gamma": 0.5, "tau": 0.5}})
    assert checked(patched(config, {"algorithm": {"gamma": None}})) == checked({"algorithm": {"tau": 0.5}})


def test_lists_are_replaced_as_a_whole() -> None:
    assert patched({"hidden": [1, 2, 3]}, {"hidden": [4]}) == {"hidden": [4]}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A, as far as both are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_rfc_says(target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    assert patched(target, patch) == result


# Differences


def test_a_difference_names_field_values_and_how_it_applies() -> None:
    before, after = checked({}), checked({"algorithm": {"gamma": 0.5}, "environment": {"reward": {"end_of_track": 1}}})
    assert changes(before, after) == [
        Change("environment.reward.end_of_track", 10.0, 1.0, "restart"),
        Change("algorithm.gamma", 0.98, 0.5, "live"),
    ]


@given(st.sampled_from([preset.config for preset in PRESETS]), st.sampled_from([preset.config for preset in PRESETS]))
def test_equal_configurations_do_not_differ_and_others_do(first: dict[str, Any], second: dict[str, Any]) -> None:
    before, after = checked(first), checked(second)
    assert bool(changes(before, after)) == (before != after)


@pytest.mark.parametrize(
    "path", ["network.gru", "collection.policy_state", "environment.reward.end_of_track", "network", "replay"]
)
def test_what_was_stored_before_there_was_a_field_has_its_default_there(path: str) -> None:
    stored = checked({"algorithm": {"gamma": 0.5}})
    *groups, name = path.split(".")
    group = stored
    for each in groups:
        group = group[each]
    del group[name]
    assert changes(stored, checked({"algorithm": {"gamma": 0.5}})) == []
    assert [change.path for change in changes(stored, checked({}))] == ["algorithm.gamma"]


def test_only_the_engines_that_use_a_field_restart() -> None:
    track = changes(checked({}), checked({"environment": {"track": "long"}}))
    assert need_restart(track, WORKER_GROUPS)
    assert not need_restart(track, TRAINER_GROUPS)
    memory = changes(checked({}), checked({"replay": {"capacity": 500}}))
    assert need_restart(memory, TRAINER_GROUPS)
    assert not need_restart(memory, WORKER_GROUPS)
    assert not need_restart(changes(checked({}), checked({"algorithm": {"gamma": 0.5}})), TRAINER_GROUPS)


def test_a_policy_that_remembers_cannot_have_a_prioritised_memory() -> None:
    assert checked({"replay": {"prioritised": True}})["replay"]["prioritised"]
    with pytest.raises(InvalidConfig, match=r"network.gru = 32.*: set it to false, or network.gru to 0") as caught:
        checked({"network": {"gru": 32}, "replay": {"prioritised": True}})
    (problem,) = caught.value.problems
    assert (problem.path, problem.value) == ("replay.prioritised", True)
    assert problem.sentence.startswith("replay.prioritised = true cannot be used: policies that remember")


def test_a_replay_memory_smaller_than_a_chunk_is_refused_with_the_size_that_is_needed() -> None:
    checked({"replay": {"capacity": 100}})
    checked({"replay": {"capacity": 11}, "collection": {"chunk_steps": 11}})
    sentence = (
        "replay.capacity = 11 cannot be used: chunks of up to 100 steps (collection.chunk_steps) enter the replay memory as a whole: "
        "set it to 100 or more, or collection.chunk_steps to 11 or less"
    )
    with pytest.raises(InvalidConfig) as caught:
        checked({"replay": {"capacity": 11}})
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("reqd", "did you mean 'redq'?"),
        ("sca", "did you mean 'sac'?"),
        ("ppo", "known are sac, redq, droq, tqc, crossq, or give module:attribute"),
        ("mine:", "known are sac, redq, droq, tqc, crossq, or give module:attribute"),
        (":Mine", "known are sac, redq, droq, tqc, crossq, or give module:attribute"),
    ],
)
def test_an_algorithm_that_there_is_not_is_refused_where_it_is_set(name: str, hint: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        checked({"algorithm": {"name": name}})
    assert str(caught.value) == f"algorithm.name = {name!r} cannot be used: there is no algorithm '{name}': {hint}"


def test_an_algorithm_of_ones_own_is_the_trainers_to_find() -> None:
    assert checked({"algorithm": {"name": "not.here:Mine"}})["algorithm"]["name"] == "not.here:Mine"


@pytest.mark.parametrize("setting", [{"trainer": {"device": "cuda"}}, {"roles": ["relay"]}])
def test_a_setting_of_a_daemon_is_said_to_be_none_of_a_run(setting: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidConfig, match=r"^\w+ is not a setting of a run, but one of a daemon: write it into the tmrld.toml"
    ):
        checked(setting)


def test_all_settings_of_a_daemon_are_known_as_such() -> None:
    assert {*DAEMON_SETTINGS, "name", "run"} == set(Settings.model_fields)


# Files on the shelf


GAME = {"id": "tmrld/TM20Lidar-v0", "game": "trackmania", "clock": "realtime", "track": "monza"}


def test_a_configuration_tells_which_files_it_refers_to_and_who_needs_them() -> None:
    config = checked(
        {
            "environment": GAME,
            "collection": {"policy": "expert"},
            "training": {"start_from": "teacher"},
            "replay": {"demonstrations": ["mine", "yours"]},
        }
    )
    worker = [Reference("environment.track", "tracks", "monza"), Reference("collection.policy", "weights", "expert")]
    trainer = [
        Reference("training.start_from", "weights", "teacher"),
        Reference("replay.demonstrations", "demonstrations", "mine"),
        Reference("replay.demonstrations", "demonstrations", "yours"),
    ]
    assert references(config, "worker") == worker
    assert references(config, "trainer") == trainer
    assert references(config) == worker + trainer


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"track": "long"},
        {**GAME, "track": "C:/lines/monza.npy"},
        {**GAME, "track": "monza.CSV"},
        {**GAME, "id": "tests.support.ledger_env:LedgerEnv"},
    ],
)
def test_the_simulators_tracks_and_paths_are_no_files_of_the_shelf(environment: dict[str, Any]) -> None:
    assert references(checked({"environment": environment})) == []


def test_a_configuration_of_an_older_tmrld_refers_to_nothing() -> None:
    assert references({"environment": {"id": "tmrld/TM20Lidar-v0", "game": "sim"}, "replay": {"capacity": 5}}) == []


# Presets


@pytest.mark.parametrize("name", [preset.name for preset in PRESETS])
def test_a_preset_is_a_configuration_and_explains_itself(name: str) -> None:
    found = preset(name)
    assert checked(found.config)
    assert found.title
    assert found.description.endswith(".")


def test_the_demo_preset_is_what_a_new_relay_begins_with() -> None:
    assert checked(preset("demo").config) == checked({})


def test_an_unknown_preset_is_answered_with_all_names() -> None:
    with pytest.raises(NotFound, match="demo, long-track, random-tracks, real-time"):
        preset("dmo")


@pytest.mark.parametrize(
    ("environment", "path", "hint"),
    [
        ({"track": "lnog"}, "environment.track", "did you mean 'long'"),
        ({"id": "tmrld/TM20Lidar-v1"}, "environment.id", "did you mean 'tmrld/TM20Lidar-v0'"),
    ],
)
def test_a_track_or_environment_that_is_not_there_is_refused_with_the_nearest(
    environment: dict[str, Any], path: str, hint: str
) -> None:
    with pytest.raises(InvalidConfig) as refused:
        checked({"environment": environment})
    (problem,) = refused.value.problems
    assert problem.path == path
    assert hint in problem.message


def test_tracks_of_the_game_and_of_other_environments_are_their_own_business() -> None:
    checked({"environment": {"game": "trackmania", "clock": "realtime", "track": "my own"}})
    checked({"environment": {"id": "module:Env", "track": "any"}})


def test_a_word_where_a_list_belongs_is_told_how_one_is_written() -> None:
    with pytest.raises(
        InvalidConfig, match=r'replay\.demonstrations = \'laps\' cannot be used: input should be a list, such as \["a"'
    ):
        checked({"replay": {"demonstrations": "laps"}})
