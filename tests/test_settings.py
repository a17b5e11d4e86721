"""Where settings come from, which of them wins, and what is said of a wrong one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tmrld.configuration import RunConfig, run_config
from tmrld.errors import SettingsError
from tmrld.settings import FirstRun, Settings, assignment, example, first_run_config, ignored_settings, load, merged
from tmrld.validation import keys_of

SECRET = "tmrld_worker_2bmkTzOAbCdEfGh"
EXAMPLE = Path(__file__).parent.parent / "tmrld.toml.example"


def loaded(
    folder: Path, toml: str = "", flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """The settings of a file with this text."""
    file = folder / "tmrld.toml"
    file.write_text(toml, "utf-8")
    return load(file, flags, environment or {})


def complaint(
    folder: Path, toml: str = "", flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What is said of settings that cannot be used."""
    with pytest.raises(SettingsError) as caught:
        loaded(folder, toml, flags, environment)
    return str(caught.value)


# Which source wins


def test_without_any_source_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environment={}) == Settings()


def test_flags_win_over_the_environment_which_wins_over_the_file_which_wins_over_the_defaults(tmp_path: Path) -> None:
    toml = "[relay]\nport = 1\nkeep_weights = 2\nkeep_checkpoints = 4\n"
    environment = {"TMRLD_RELAY__PORT": "5", "TMRLD_RELAY__KEEP_WEIGHTS": "6"}
    relay = loaded(tmp_path, toml, {"relay": {"port": 7}}, environment).relay
    assert (relay.port, relay.keep_weights, relay.keep_checkpoints, relay.host) == (7, 6, 4, "127.0.0.1")


def test_a_file_named_tmrld_toml_is_found_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tmrld.toml").write_text('name = "here"\n')
    assert load(environment={}).name == "here"


def test_the_environment_names_another_file_and_a_flag_yet_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tmrld", "second", "third"):
        Path(f"{name}.toml").write_text(f'name = "{name}"\n')
    assert load(environment={"TMRLD_CONFIG": "second.toml"}).name == "second"
    assert load(Path("third.toml"), environment={"TMRLD_CONFIG": "second.toml"}).name == "third"


def test_the_environment_of_the_process_counts_when_no_other_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_NAME", "gamer")
    assert load().name == "gamer"
    assert load(environment={}).name == ""


def test_the_environment_may_be_written_in_small_letters_and_hold_lists_and_groups(tmp_path: Path) -> None:
    environment = {"tmrld_roles": '["relay", "worker"]', "TMRLD_RUN__ENVIRONMENT__KWARGS": '{"laps": 2}', "PATH": "/bin"}
    settings = loaded(tmp_path, environment=environment)
    assert settings.roles == ("relay", "worker")
    assert settings.run.environment.kwargs == {"laps": 2}


def test_text_stays_text_even_if_it_looks_like_a_number(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        environment={"TMRLD_NAME": "123", "TMRLD_PEERS__TOKEN": "456", "TMRLD_DATA": "7"},
        flags=assignment("run.name=8"),
    )
    assert (settings.name, settings.peers.token.get_secret_value(), settings.data, settings.run.name) == (
        "123",
        "456",
        Path("7"),
        "8",
    )


@pytest.mark.parametrize(
    ("flag", "tree"),
    [
        ("relay.port=7500", {"relay": {"port": 7500}}),
        ("run.algorithm.target_entropy=auto", {"run": {"algorithm": {"target_entropy": "auto"}}}),
        ("run.algorithm.target_entropy=-3", {"run": {"algorithm": {"target_entropy": -3}}}),
        ("run.network.hidden=[64, 64]", {"run": {"network": {"hidden": [64, 64]}}}),
        ("run.environment.id=a=b", {"run": {"environment": {"id": "a=b"}}}),
        (" name =", {"name": ""}),
    ],
)
def test_a_set_flag_is_a_key_and_a_value(flag: str, tree: dict[str, Any], tmp_path: Path) -> None:
    assert assignment(flag) == tree
    loaded(tmp_path, flags=tree)


@pytest.mark.parametrize("flag", ["relay.port", "", "=5", "relay..port=5", ".=1"])
def test_a_set_flag_that_is_no_assignment_is_shown_how_one_looks(flag: str) -> None:
    with pytest.raises(SettingsError, match=r"--set .* is not KEY=VALUE, for example --set run\.algorithm\.gamma=0\.98"):
        assignment(flag)


def test_merging_goes_group_by_group_and_changes_neither_side() -> None:
    first, second = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": {"e": 5}}
    assert merged(first, second) == {"a": {"b": 4, "c": 2}, "d": {"e": 5}}
    assert first == {"a": {"b": 1, "c": 2}, "d": 3}


# What is said of wrong ones


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("[relay]\nprot = 1\n", "relay.prot is not a setting: did you mean relay.port?"),
        ("[relai]\nport = 1\n", "relai is not a setting: did you mean relay?"),
        ("[run.algorithm]\ngama = 0.9\n", "run.algorithm.gama is not a setting: did you mean run.algorithm.gamma?"),
        ("gamma = 0.9\n", "gamma is not a setting: did you mean run.algorithm.gamma?"),
        ("host = ''\n", "host is not a setting: did you mean relay.host or control.host?"),
        ("[trainer]\nxyz = 1\n", "trainer.xyz is not a setting: the keys there are device, profile_updates"),
    ],
)
def test_an_unknown_key_in_the_file_names_the_nearest(toml: str, sentence: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, toml) == sentence


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("TMRLD_RELAY__PROT", "TMRLD_RELAY__PROT names no setting (relay.prot): did you mean relay.port?"),
        ("TMRLD_RELAI__PORT", "TMRLD_RELAI__PORT names no setting (relai.port): did you mean relay?"),
        ("TMRLD_RELAY_PORT", "TMRLD_RELAY_PORT names no setting (relay_port): did you mean relay?"),
        ("TMRLD_NAME__X", "TMRLD_NAME__X names no setting (name.x): "),
        ("TMRLD_", "TMRLD_ names no setting (): the keys there are roles, name, data"),
    ],
)
def test_an_unknown_variable_names_the_nearest(variable: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in complaint(tmp_path, environment={variable: "1"})


def test_an_unknown_key_in_a_flag_names_the_nearest(tmp_path: Path) -> None:
    flags = assignment("run.trainning.seed=1")
    assert complaint(tmp_path, flags=flags) == "run.trainning is not a setting: did you mean run.training?"


@pytest.mark.parametrize(
    ("toml", "parts"),
    [
        ("[relay]\nport = 70000\n", ["relay.port = 70000 cannot be used", "less than or equal to 65535"]),
        ("[relay]\nport = 'many'\n", ["relay.port = 'many' cannot be used", "integer"]),
        ("log_level = 'loud'\n", ["log_level = 'loud'", "'debug', 'info', 'warning' or 'error'"]),
        ("roles = ['relay', 'driver']\n", ["roles.1 = 'driver'", "'relay', 'trainer' or 'worker'"]),
        ("[trainer]\ndevice = 'gpu'\n", ["trainer.device = 'gpu'", "cuda"]),
        ("relay = 5\n", ["relay = (int, not shown) cannot be used: it is a group of settings"]),
        ("[run.algorithm]\ntarget_entropy = 'low'\n", ["run.algorithm.target_entropy = 'low'", "number", ", or ", "'auto'"]),
        ("[run.network]\nhidden = [64, 'x']\n", ["run.network.hidden.1 = 'x'", "integer"]),
        ("[run.network]\nhidden = [0]\n", ["run.network.hidden.0 = 0", "greater than or equal to 1"]),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_what_was_expected(toml: str, parts: list[str], tmp_path: Path) -> None:
    said = complaint(tmp_path, toml)
    assert all(part in said for part in parts), said


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    said = complaint(tmp_path, "[relay]\nport = -1\n[control]\nprot = 1\n")
    assert "relay.port = -1" in said
    assert "control.prot is not a setting" in said


def test_long_values_are_shortened(tmp_path: Path) -> None:
    assert len(complaint(tmp_path, f"log_level = '{'x' * 1000}'\n")) < 250


def test_a_bad_variable_is_named_by_its_key(tmp_path: Path) -> None:
    said = complaint(tmp_path, environment={"TMRLD_ROLES": "relay,worker"})
    assert said.startswith("roles = 'relay,worker' cannot be used: ")


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"the settings file .*nowhere\.toml does not exist"):
        load(tmp_path / "nowhere.toml", environment={})


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is no file: give the path of a tmrld\.toml"):
        load(tmp_path, environment={})


@pytest.mark.parametrize("content", [b"name = \n", b"name = 'a'\nname = 'b'\n", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"mine\.toml is not valid TOML: "):
        load(file, environment={})


# Secrets


def test_a_secret_is_not_in_the_repr(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f"[peers]\ntoken = '{SECRET}'\n")
    assert settings.peers.token.get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


@pytest.mark.parametrize(
    "toml",
    [
        f"[peers]\ntoken = ['{SECRET}']\n",
        f"[peers.token]\nvalue = '{SECRET}'\n",
        f"peers = '{SECRET}'\n",
        f"peers = ['{SECRET}']\n",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_in_the_error(toml: str, tmp_path: Path) -> None:
    said = complaint(tmp_path, toml)
    assert said.startswith("peers")
    assert SECRET not in said


def test_an_error_names_a_misspelt_variable_without_its_value(tmp_path: Path) -> None:
    assert SECRET not in complaint(tmp_path, environment={"TMRLD_PEERS_TOKEN": SECRET})


# Runs


def test_a_run_configuration_is_checked_like_settings() -> None:
    assert run_config({}) == RunConfig()
    with pytest.raises(SettingsError, match=r"algorithm\.gamma = 2 cannot be used: .*less than 1"):
        run_config({"algorithm": {"gamma": 2}})
    with pytest.raises(SettingsError, match=r"algorithm\.gama is not a setting: did you mean algorithm\.gamma\?"):
        run_config({"algorithm": {"gama": 0.9}})


def test_the_first_run_is_a_run_configuration_without_its_name(tmp_path: Path) -> None:
    plain = first_run_config(loaded(tmp_path, "[run]\nname = 'mine'\n[run.training]\nseed = 3\n"))
    assert "name" not in plain
    assert run_config(plain).training.seed == 3


# The example


def test_the_example_in_the_repository_is_what_the_program_prints() -> None:
    assert EXAMPLE.read_text("utf-8") == example(), "run `tmrld settings > tmrld.toml.example`"


def test_the_example_loads_and_changes_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, example()) == Settings()


def test_the_example_shows_every_setting_but_the_folder_that_differs_per_machine() -> None:
    def keys(tree: Mapping[str, Any], prefix: str = "") -> set[str]:
        below = {key for name, value in tree.items() if isinstance(value, dict) for key in keys(value, f"{prefix}{name}.")}
        return {f"{prefix}{name}" for name in tree} | below

    assert keys(tomllib.loads(example())) == set(keys_of(Settings)) - {"data"}
    assert '\n# data = "' in example()


def test_every_line_of_the_example_can_be_used_on_its_own(tmp_path: Path) -> None:
    header = ""
    for line in example().splitlines():
        if line.startswith("["):
            header = line
        tomllib.loads(line)
        loaded(tmp_path, f"{header}\n{line}\n" if line != header else header)


def test_every_setting_is_explained_and_has_a_default() -> None:
    def check(model: type[BaseModel], path: str) -> None:
        for name, field in model.model_fields.items():
            assert not field.is_required(), f"{path}{name}"
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                assert field.annotation.__doc__, f"{path}{name}"
                check(field.annotation, f"{path}{name}.")
            else:
                assert field.description, f"{path}{name}"

    check(Settings, "")
    check(FirstRun, "run.")


# What a run does not have


def test_settings_that_a_run_does_not_have_are_named(tmp_path: Path) -> None:
    text = '[run.environment]\ngame = "trackmania"\nclock = "realtime"\n[run.algorithm]\ngamma = 0.98\nbatch_size = 64\n'
    chosen = loaded(tmp_path, text)
    made_before = first_run_config(Settings()) | {"algorithm": first_run_config(chosen)["algorithm"]}
    assert ignored_settings(chosen, made_before) == ["run.environment.game", "run.environment.clock"]
    assert ignored_settings(chosen, first_run_config(chosen)) == []
    assert ignored_settings(Settings(), made_before) == []


def test_a_wrong_value_of_the_environment_is_told_to_be_from_there() -> None:
    environment = {"TMRLD_CONTROL__PORT": "abc", "TMRLD_NAME": "gamer"}
    with pytest.raises(SettingsError, match=r"control\.port = 'abc' .* \(set by the environment: TMRLD_CONTROL__PORT\)$"):
        load(environment=environment)
    with pytest.raises(SettingsError, match=r"control\.port = 'def' cannot be used: [^()]*$"):
        load(environment=environment, flags={"control": {"port": "def"}})
