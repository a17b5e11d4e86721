"""What `tmrld doctor` prints, keeps and judges again, and the status that it ends with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import zstandard

from tests.doctor.patients import MACHINE, NETWORK, PATIENT, way
from tmrld.cli import main
from tmrld.client import Client
from tmrld.commands.doctor import _world_here, print_diagnoses, summary
from tmrld.doctor.diagnosis import note, ok, wrong
from tmrld.doctor.examining import secrets_of, with_game, with_line
from tmrld.doctor.report import Report, save
from tmrld.envs.options import EnvironmentOptions, RandomisationOptions
from tmrld.envs.trackmania.tracks import name_of
from tmrld.local import shelf_of
from tmrld.settings import Settings

TOKEN = "tmrld_worker_c2VjcmV0"
QUICK = ["--set", 'roles=["relay"]', "--set", "relay.port=0", "--set", "control.port=0"]
"""A relay's machine: no package has to be tried, and no time to be kept."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the settings of whoever runs this."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TMRLD_CONFIG", raising=False)


def doctor(*arguments: str) -> tuple[int, str, str]:
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = main(["doctor", *arguments])
    return status, out.getvalue(), err.getvalue()


def a_report(path: Path, **changes: object) -> Path:
    """A file with the report of a sound machine, with these changes."""
    save(path, Report(made=1.7e9, patient=PATIENT, machine=MACHINE, network=NETWORK).model_copy(update=changes))
    return path


def test_a_sound_machine_is_told_area_by_area(tmp_path: Path) -> None:
    status, out, err = doctor(*QUICK, "--data", str(tmp_path / "data"))
    assert status == 0
    assert err == ""
    lines = out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")][:-1] == [
        "settings",
        "python",
        "machine",
        "disk",
        "network",
    ]
    assert f"  ok    data folder: {tmp_path / 'data'}, which will be made" in lines
    assert lines[-1].startswith("nothing is wrong (")
    assert "gamepad" not in out
    assert "\x1b" not in out
    assert not (tmp_path / "data").exists()


def test_what_is_wrong_comes_with_what_mends_it_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    status, out, _ = doctor(*QUICK, "--data", str(tmp_path / "data"))
    assert status == 1
    assert f"  wrong data folder: {tmp_path / 'data'} is a file, where a folder is needed" in out
    assert "          -> choose another one: --data FOLDER" in out
    assert out.splitlines()[-1].startswith("1 wrong, ")
    assert "First, about data folder (disk): choose another one" in out.splitlines()[-1]


def test_scripts_get_json(tmp_path: Path) -> None:
    status, out, _ = doctor(*QUICK, "--data", str(tmp_path / "data"), "--json")
    answer = json.loads(out)
    assert status == 0
    assert answer["state"] in ("ok", "note")
    assert {"area", "check", "state", "text", "mend", "code"} == set(answer["diagnoses"][0])


def test_settings_that_cannot_be_used_are_the_first_thing_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.doctor.machine.gather_software", lambda _patient: MACHINE.software)
    monkeypatch.setattr("tmrld.doctor.machine.gather_timing", lambda _patient: MACHINE.timing)
    (tmp_path / "tmrld.toml").write_text('rolls = ["relay"]\n')
    status, out, _ = doctor("--data", str(tmp_path / "data"), "--replay", str(a_report(tmp_path / "seen")))
    assert status == 0  # a replay reads no settings
    status, out, _ = doctor(*QUICK, "--data", str(tmp_path / "data"))
    assert status == 1
    assert out.splitlines()[1].startswith("  wrong settings: rolls is not a setting")
    status, out, _ = doctor(*QUICK, "--config", "nowhere.toml")
    assert "the settings file nowhere.toml does not exist" in out


def test_what_was_kept_is_judged_the_same_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tmrld.toml").write_text(
        f"[peers]\ntoken = '{TOKEN}'\nrelay = 'wss://nowhere.invalid:1'\npin = 'sha256:{'ab' * 32}'\n"
    )
    worker = ["--set", 'roles=["trainer"]', "--data", str(tmp_path / "data")]
    status, out, err = doctor(*worker, "--record", str(tmp_path / "seen"))
    assert status == 1
    assert "the name of nowhere.invalid:1 stands for no address here" in out
    assert f"all that was seen is in {tmp_path / 'seen'}" in err
    inside = zstandard.ZstdDecompressor().decompress((tmp_path / "seen").read_bytes())
    assert b"nowhere.invalid" in inside
    assert TOKEN.encode() not in inside
    again = doctor("--replay", str(tmp_path / "seen"))
    assert again[:2] == (status, out)
    assert "recorded on 20" in again[2]


def test_a_record_with_something_wrong_ends_with_status_1(tmp_path: Path) -> None:
    assert doctor("--replay", str(a_report(tmp_path / "sound")))[0] == 0
    status, out, _ = doctor(
        "--replay", str(a_report(tmp_path / "ill", network=way(outcome="http", status=401, text="unknown")))
    )
    assert status == 1
    assert "tmrld join INVITE" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--replay", "foreign"), "foreign is no report of the doctor's, or damaged"),
        (("--replay", "missing"), "missing: it does not exist"),
        (("--replay", "foreign", "--record", "other"), "--replay looks at nothing that --record could keep"),
        (("--record", "nowhere/seen"), "there is no folder"),
        (("--jpeg", "nowhere/seen.jpg"), "there is no folder"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    (tmp_path / "foreign").write_bytes(b"something else")
    status, out, err = doctor(*arguments)
    assert status in (1, 2)
    assert out == ""
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_picture_is_there_only_where_something_is_seen(tmp_path: Path) -> None:
    status, _, err = doctor("--replay", str(a_report(tmp_path / "seen")), "--jpeg", str(tmp_path / "seen.jpg"))
    assert status == 2
    assert "nothing was seen of the game" in err


def test_on_a_terminal_there_are_colours_and_it_is_told_what_is_looked_at(tmp_path: Path) -> None:
    assert sys.platform != "win32"
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "tmrld", "doctor", *QUICK, "--data", str(tmp_path / "data")]
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:
            pass  # Linux says so that the other end is closed
        assert process.wait() == 0
    os.close(ours)
    assert b"\x1b[32m  ok    " in shown
    assert "looking: the packages …".encode() in shown


def test_the_last_line_counts_and_says_what_comes_first() -> None:
    well = ok("disk", "free space", "much")
    known = note("disk", "free space", "little", "free some", code="disk-short")
    bad = wrong("network", "relay", "nothing listens", "start it", code="relay-refused")
    assert summary([well, known]) == "nothing is wrong (1 ok, 1 note)"
    assert summary([well, bad, known, known]) == "1 wrong, 2 notes.  First, about relay (network): start it"


def test_areas_are_told_together_and_sentences_are_not_folded() -> None:
    with redirect_stdout(StringIO()) as out:
        print_diagnoses([ok("a", "one", "x " * 200), ok("b", "two", "y"), ok("a", "three", "[red]z")])
    lines = out.getvalue().splitlines()
    assert [lines[0], lines[3]] == ["a", "b"]
    assert lines[2] == "  ok    three: [red]z"


def test_another_game_may_be_looked_at_than_the_settings_name() -> None:
    varied = EnvironmentOptions(randomisation=RandomisationOptions(grip=0.1), history=5)
    game = with_game(varied, "trackmania")
    assert (game.game, game.clock, game.history, game.randomisation.grip) == ("trackmania", "realtime", 5, 0.0)
    back = with_game(game.model_copy(update={"track": "/lines/mine.npy"}), "sim")
    assert (back.game, back.track) == ("sim", "default")
    assert with_game(varied, None) is varied
    assert with_game(varied, "sim") is varied


def test_the_token_and_a_proxy_s_password_are_the_secrets() -> None:
    settings = Settings.model_validate({"peers": {"token": TOKEN, "proxy": "http://paul:hush@proxy.example:3128"}})
    assert secrets_of(settings) == [TOKEN, "hush"]


@pytest.mark.parametrize(
    ("roles", "runs", "game"),
    [
        ([], [], None),
        ([], [("stopped", "trackmania"), ("running", "trackmania")], "trackmania"),
        (["relay", "worker"], [("paused", "sim"), ("running", "trackmania")], "sim"),
        (["worker"], [("running", "trackmania")], None),  # its relay is elsewhere
        ([], [("running", "another game")], None),  # of a newer version
    ],
)
def test_the_world_of_the_run_that_a_relay_of_this_machine_has_active_is_looked_at(
    roles: list[str], runs: list[tuple[str, str]], game: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"state": state, "config": {"environment": {"game": name, "clock": "realtime"}}} for state, name in runs]
    monkeypatch.setattr(Client, "ask", lambda *_, **__: {"items": items})
    world = _world_here(Settings.model_validate({"roles": roles, "data": str(tmp_path)}))
    assert (None if world is None else world.game) == game


def test_without_a_relay_that_answers_the_settings_count(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        control = {"port": taken.getsockname()[1]}
        assert _world_here(Settings.model_validate({"data": str(tmp_path), "control": control})) is None


def test_the_line_of_a_track_on_this_machine_s_shelf_is_read(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    oval = EnvironmentOptions(game="trackmania", clock="realtime", track="oval")
    assert with_line(oval, settings) == oval
    shelf_of(settings).put("tracks", "oval", b"a line")
    found = with_line(oval, settings).track
    assert Path(found).read_bytes() == b"a line"
    assert name_of(found) == "oval"
