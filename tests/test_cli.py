"""The command line: what it prints, what it says of mistakes, how it ends."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tmrld import __version__
from tmrld.cli import main
from tmrld.payloads import EnvSpec, PartSpec, WeightsManifest
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.weights import pack
from tmrld.security.invites import Invite
from tmrld.settings import example
from tmrld.storage.layout import open_data_folder

LIDAR_ID = "tmrld/TM20Lidar-v0"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes settings and data of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    for variable in ("TMRLD_CONFIG", "TMRLD_DATA"):
        monkeypatch.delenv(variable, raising=False)


def complaint(capsys: pytest.CaptureFixture[str], status: int, *arguments: str) -> str:
    """The sentence that this command prints instead of doing anything; it ends with this status."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert captured.err.startswith("tmrld: ")
    assert "Traceback" not in captured.err
    return captured.err.removeprefix("tmrld: ").rstrip("\n")


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """The program in a process of its own; ``code`` is run in it before."""
    program = f"{code}\nimport sys\nfrom tmrld.cli import main\nsys.exit(main())" if code else ""
    command = [sys.executable, "-c", program] if code else [sys.executable, "-m", "tmrld"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)


# The program


def test_it_tells_its_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"tmrld {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["token"], ["env", "swim"], ["up", "--no-such-flag"], ["serve", "--role", "dj"]]
)
def test_an_unknown_command_or_flag_is_told_what_there_is(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: tmrld")


def test_it_prints_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    assert capsys.readouterr().out == example()


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "tmrld", "settings"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(60) == 1


def test_what_a_role_needs_and_is_not_installed_is_named() -> None:
    done = run("env", "list", code="import sys; sys.modules['rtgym'] = None")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tmrld: this needs rtgym, which is not installed here: pip install 'tmrld[worker]'\n"


# Settings


def test_a_set_flag_that_is_none_is_told_how_one_looks(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, 2, "up", "--set", "nonsense")
    assert said == "--set 'nonsense' is not KEY=VALUE, for example --set run.algorithm.gamma=0.98"


def test_an_unknown_key_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, 2, "up", "--set", "run.algorithm.gama=0.9")
    assert said == "run.algorithm.gama is not a setting: did you mean run.algorithm.gamma?"


def test_the_last_of_several_set_flags_counts_and_flags_win_over_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("tmrld.toml").write_text("[relay]\nport = 1\n")
    said = complaint(capsys, 2, "up", "--set", "relay.port=2", "--set", "control.port=-3", "--set", "relay.port=-4")
    assert said.startswith("relay.port = -4 cannot be used")
    assert "control.port = -3 cannot be used" in said


def test_a_settings_file_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the settings file nowhere.toml does not exist" in complaint(capsys, 2, "up", "--config", "nowhere.toml")


@pytest.mark.parametrize("until", ["", "tomorrow", "updates=many"])
def test_until_nonsense_is_told_what_there_is(until: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, 2, "up", f"--until={until}")
    assert said == f"--until {until!r} cannot be used: expected first-lap, updates=N or minutes=N"


def test_a_daemon_without_a_role_is_told_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, 2, "serve").startswith("no role is set: use `tmrld up`, or `tmrld serve --role relay`")


def test_a_worker_without_a_token_is_told_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, 2, "serve", "--role", "worker", "--data", "data", "--set", "name=gamer")
    assert "this worker has no token: on the relay's machine run `tmrld token new --role worker --name gamer`" in said


# Folders and ports


@pytest.mark.parametrize("arguments", [["serve", "--role", "relay"], ["token", "new", "--role", "worker"]])
def test_a_data_folder_that_cannot_be_made_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("in the way")
    said = complaint(capsys, 1, *arguments, "--data", "file/data")
    assert said.startswith("Cannot make the folder")
    assert "file/data" in said


@pytest.mark.parametrize("name", ["nosuch:make", "nosuch.deeper:make", ":make"])
def test_an_environment_of_a_module_that_is_not_here_is_told_before_a_run_is_made(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, 2, "up", "--headless", "--data", "data", "--set", f"run.environment.id={name}")
    assert name in said
    assert not Path("data").exists()


@pytest.mark.parametrize("arguments", [["token", "list"], ["token", "revoke", "gamer"]])
def test_where_no_relay_has_run_there_are_no_tokens_and_nothing_is_made(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, 1, *arguments, "--data", "mistyped")
    assert said.startswith("no relay has run in")
    assert "--data" in said
    assert not Path("mistyped").exists()


def test_a_token_for_a_relay_that_has_not_run_yet_is_made_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("token", "new", "--role", "worker", "--data", "fresh")) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("tmrld_worker_")
    assert "no relay has run in" in captured.err
    assert main(("token", "new", "--role", "viewer", "--data", "fresh")) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")
def test_output_that_cannot_be_written_is_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "tmrld", "settings"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "tmrld: the output cannot be written: there is no space left where it goes\n")


@pytest.mark.parametrize("where", ["a file", "a folder in use"])
def test_an_invite_is_kept_where_the_data_folder_cannot_be_used(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    secret = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    invite = Invite("127.0.0.1:1", "worker", f"sha256:{64 * '0'}", secret).text()
    with ExitStack() as stack:
        if where == "a file":
            Path("data").write_text("in the way")
        else:
            stack.enter_context(open_data_folder(Path("data")))
        said = complaint(capsys, 1, "join", invite, "--no-start", "--data", "data")
    assert "choose another one with --data" in said


@pytest.mark.parametrize("listener", ["relay", "control"])
def test_a_port_that_is_taken_is_named(listener: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"relay": 0, "control": 0, listener: port}
        flags = [flag for name, number in ports.items() for flag in ("--set", f"{name}.port={number}")]
        flags += ["--set", "log_level=warning"]
        said = complaint(capsys, 1, "serve", "--role", "relay", "--data", "data", *flags)
    assert str(port) in said


# Tokens


def test_tokens_are_made_listed_replaced_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "new", "--data", "data", "--role", "worker", "--name", "gamer"]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith("tmrld_worker_")

    assert main(["token", "list", "--data", "data"]) == 0
    listed = capsys.readouterr().out
    assert listed.splitlines()[1].split()[:2] == ["gamer", "worker"]
    assert token not in listed
    assert main(["token", "list", "--data", "data", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["name"], record["scope"]) == ("gamer", "worker")

    said = complaint(capsys, 1, "token", "new", "--data", "data", "--role", "trainer", "--name", "gamer")
    assert said == "there is a token for 'gamer' already: choose another name, or replace it"
    assert main(["token", "new", "--data", "data", "--role", "trainer", "--name", "gamer", "--replace"]) == 0
    assert capsys.readouterr().out.startswith("tmrld_trainer_")

    assert main(["token", "revoke", "--data", "data", "gamer"]) == 0
    assert capsys.readouterr().out == "the token of gamer is worthless from now on\n"
    assert complaint(capsys, 1, "token", "revoke", "--data", "data", "gamer") == "there is no token for 'gamer'"


def test_a_token_is_called_as_its_role_where_no_name_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "new", "--data", "data", "--role", "viewer"]) == 0
    assert main(["token", "list", "--data", "data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1])[0]["name"] == "viewer"


def test_a_name_that_cannot_be_is_told_what_can(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, 2, "token", "new", "--data", "data", "--role", "worker", "--name", "two words")
    assert said.startswith("'two words' cannot be a name: expected 1 to 64 letters, digits")


# Environments


def test_our_environments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "list"]) == 0
    assert LIDAR_ID in capsys.readouterr().out


def test_the_scripted_policy_drives_a_lap() -> None:
    done = run("env", "run", LIDAR_ID, "--policy", "scripted", "--episodes", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    result = json.loads(last)
    assert (result["id"], result["policy"], result["episodes"], result["finished"]) == (LIDAR_ID, "scripted", 1, 1)
    (lap_s,) = result["lap_times_s"]
    assert result["median_lap_s"] == lap_s > 0
    assert lines[0].startswith(f"seed 0: lap {lap_s:.2f} s, return ")


def test_every_episode_is_reported_and_the_seeds_count_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "run", LIDAR_ID, "--episodes", "2", "--seed", "7", "--set", "run.environment.max_steps=5"]) == 0
    first, second, summary = capsys.readouterr().out.splitlines()
    assert first.startswith("seed 7: no lap (0% of the track), return ")
    assert second.startswith("seed 8: ")
    assert summary.startswith("0 of 2 finished, mean return ")


def test_any_gymnasium_environment_can_be_driven(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "run", "Pendulum-v1", "--episodes", "1", "--json"]) == 0
    line, last = capsys.readouterr().out.splitlines()
    assert line.startswith("seed 0: return -")
    assert json.loads(last)["lap_times_s"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tmrld/TM20Lidr-v0"], "no environment is called 'tmrld/TM20Lidr-v0': did you mean 'tmrld/TM20Lidar-v0'?"),
        (["no.such.module:Env"], "no.such.module:Env: the module 'no.such.module' cannot be imported"),
        ([LIDAR_ID, "--track", "nowhere"], "nowhere"),
        ([LIDAR_ID, "--policy", "missing.safetensors"], "'missing.safetensors' is neither random nor scripted nor a file"),
        (["Pendulum-v1", "--policy", "scripted"], "the scripted policy drives by speed and lidar, which Pendulum-v1 does not"),
    ],
)
def test_what_cannot_be_driven_is_told_why(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in complaint(capsys, 2, "env", "run", *arguments)


@pytest.mark.parametrize("flags", [["--episodes", "0"], ["--episodes", "x"], ["--seed=-1"], ["--seed", "1.5"]])
def test_numbers_that_are_none_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["env", "run", LIDAR_ID, *flags])
    assert ended.value.code == 2
    assert ("is no whole number from 0 up" in (said := capsys.readouterr().err)) or "0 is less than 1" in said


def a_weights_file(spec: EnvSpec) -> Path:
    """A policy that has learned nothing yet."""
    network = NetworkOptions(hidden=(4,))
    algorithm = make_algorithm(AlgorithmOptions(), network, spec, 0)
    manifest = WeightsManifest("demo", 7, 70, 0, spec, network.model_dump(mode="json"), "sac")
    path = Path("policy.safetensors")
    path.write_bytes(pack(manifest, algorithm.policy_tensors()).data)
    return path


def test_a_policy_from_a_file_drives(capsys: pytest.CaptureFixture[str]) -> None:
    spec = EnvSpec("Pendulum-v1", (PartSpec("observation", (3,), low=-8.0, high=8.0),), 1, default_action=(0.0,))
    assert main(["env", "run", "Pendulum-v1", "--policy", str(a_weights_file(spec)), "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["policy"] == "policy.safetensors"


def test_a_policy_made_for_other_spaces_is_refused_with_the_difference() -> None:
    lidar = EnvSpec(LIDAR_ID, (PartSpec("speed", (1,)), PartSpec("lidar", (17,), history=4)), 3, 2, (0.0, 0.0, 0.0))
    done = run("env", "run", LIDAR_ID, "--policy", str(a_weights_file(lidar)))
    assert (done.returncode, done.stdout) == (2, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"tmrld: weights 7 of the run 'demo' (made for {LIDAR_ID}) do not fit {LIDAR_ID}: the ")
    assert "should be" in sentence


def test_a_file_that_is_no_policy_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.txt").write_text("buy milk")
    assert "this is not a safetensors file" in complaint(capsys, 2, "env", "run", LIDAR_ID, "--policy", "notes.txt")
