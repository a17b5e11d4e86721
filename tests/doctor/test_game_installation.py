"""Whether the game runs, and what OpenPlanet has of the plugins: with processes, folders and logs as there are on a player's "
"machine."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.looks import by_code, until
from tmrld.doctor.installation import (
    GHOSTS,
    OURS,
    TMRLS,
    Installation,
    Wish,
    gather_installation,
    is_game,
    is_stand_in,
    judge_installation,
    openplanet_folders,
    troubles,
)
from tmrld.envs.trackmania import openplanet

WISH = Wish(9000, 10000, replays=False, talks=False)
PROTON = ".steam/steam/steamapps/compatdata/2225070/pfx/drive_c/users/steamuser"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A player's folder with OpenPlanet in it, as the game runs in Proton."""
    (tmp_path / PROTON / "OpenplanetNext" / "Plugins").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def folder(home: Path) -> Path:
    return home / PROTON / "OpenplanetNext"


def put(folder: Path, name: str, version: str = "1.0") -> None:
    """A plugin's file, as OpenPlanet has them."""
    with zipfile.ZipFile(folder / "Plugins" / f"{name}.op", "w") as archive:
        archive.writestr("info.toml", f'[meta]\nname = "{name}"\nversion = "{version}"\n')


def seen(home: Path) -> Installation:
    """What is found there, on a machine where the game runs and its stand-in does not."""
    found = gather_installation(home, {})
    return found.model_copy(update={"game": True, "stand_in": False})


def codes(home: Path, wish: Wish = WISH) -> set[str]:
    return set(by_code(judge_installation(seen(home), wish)))


@contextlib.contextmanager
def running(program: Path) -> Iterator[None]:
    """A process of that name."""
    shutil.copy(shutil.which("sleep") or "", program)
    process = subprocess.Popen([program, "60"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_the_game_is_a_process_of_its_name(tmp_path: Path) -> None:
    with running(tmp_path / "Trackmania.exe"):
        assert gather_installation(tmp_path, {}).game
    until(lambda: not gather_installation(tmp_path, {}).game, "it has ended")
    without = gather_installation(tmp_path, {}).model_copy(update={"stand_in": False})
    found = by_code(judge_installation(without, WISH))
    assert found["game-not-running"].mend.startswith("start TrackMania 2020")


@pytest.mark.parametrize(
    ("name", "command", "game"),
    [
        ("Trackmania.exe", [], True),
        ("trackmania.exe", [], True),
        ("wine64-preloade", ["Z:\\games\\Trackmania\\Trackmania.exe", "-x"], True),
        ("bash", ["bash", "Trackmania.exe"], False),
        ("UbisoftConnect.exe", ["upc.exe"], False),
    ],
)
def test_what_is_called_like_the_game_in_another_way_is_none(name: str, command: list[str], game: bool) -> None:
    assert is_game(name, command) == game


def test_the_stand_in_is_told_from_other_commands() -> None:
    assert is_stand_in(["python", "-m", "tmrld", "sim", "--track", "short"])
    assert is_stand_in(["/usr/bin/python", "/home/me/.venv/bin/tmrld", "sim"])
    assert not is_stand_in(["python", "-m", "tmrld", "doctor", "sim"])
    assert not is_stand_in(["tmrld"])


def test_the_stand_in_needs_no_openplanet(tmp_path: Path) -> None:
    found = gather_installation(tmp_path, {}).model_copy(update={"game": False, "stand_in": True})
    assert by_code(judge_installation(found, WISH)) == {}


def test_openplanet_is_missing_where_it_has_no_folder(tmp_path: Path) -> None:
    (found,) = by_code(judge_installation(seen(tmp_path), WISH)).values()
    assert found.code == "openplanet-missing"
    assert "tmrld trackmania install" in found.mend


def test_what_is_heard_cannot_be_missing(tmp_path: Path) -> None:
    assert codes(tmp_path, Wish(9000, 10000, replays=False, talks=True)) == set()


def test_links_of_steam_to_itself_are_one_folder(home: Path) -> None:
    (home / ".local/share").mkdir(parents=True)
    (home / ".local/share/Steam").symlink_to(home / ".steam/steam")
    assert len(openplanet_folders(home, {}, "linux")) == 1


def test_a_folder_without_the_plugin_lacks_it(home: Path) -> None:
    (found,) = by_code(judge_installation(seen(home), WISH)).values()
    assert found.code == "plugin-missing"
    assert "~/.steam/steam" in found.text
    assert str(home) not in found.text


@pytest.mark.parametrize("name", [OURS, TMRLS])
def test_one_plugin_that_tells_is_enough(home: Path, folder: Path, name: str) -> None:
    put(folder, name, "99.0")
    assert codes(home) == set()


def test_our_own_plugin_is_up_to_date_once_it_is_installed(home: Path, folder: Path) -> None:
    (folder / "Plugins" / openplanet.FILE).write_bytes(openplanet.packed())
    assert codes(home) == set()
    assert any(f"{OURS} {seen(home).shipped} lies in" in each.text for each in judge_installation(seen(home), WISH))


def test_an_old_one_is_named_with_both_versions(home: Path, folder: Path) -> None:
    put(folder, OURS, "0.0.1")
    found = by_code(judge_installation(seen(home), WISH))["plugin-old"]
    assert "0.0.1" in found.text
    assert seen(home).shipped in found.text


def test_one_that_was_replaced_while_the_game_ran_is_to_be_reloaded(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    running_word(folder, version="98.0")
    assert codes(home) == {"plugin-not-reloaded"}


def running_word(folder: Path, version: str, telemetry_port: int = 9000) -> None:
    """What our plugin writes down when it begins."""
    storage = folder / "PluginStorage" / OURS
    storage.mkdir(parents=True)
    word = {"version": version, "telemetry_port": telemetry_port, "replay_port": 10000}
    (storage / "running.json").write_text(json.dumps(word))


def test_a_plugin_that_is_set_to_another_port_tells_which(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    running_word(folder, "99.0", 9123)
    found = by_code(judge_installation(seen(home), WISH))
    assert found["plugin-port-differs"].mend.startswith("set trackmania.telemetry_port = 9123")


def test_two_that_tell_the_same_want_the_same_port(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    put(folder, TMRLS)
    found = by_code(judge_installation(seen(home), WISH))
    assert found["plugin-twice"].state == "note"


@pytest.mark.parametrize("data", [b"", b"not a ZIP archive"])
def test_a_file_that_is_no_plugin_is_damaged(home: Path, folder: Path, data: bytes) -> None:
    (folder / "Plugins" / f"{TMRLS}.op").write_bytes(data)
    assert codes(home) == {"plugin-damaged"}


def test_a_plugin_without_its_description_is_damaged(home: Path, folder: Path) -> None:
    (folder / "Plugins" / OURS).mkdir()
    assert codes(home) == {"plugin-damaged"}


# The log


def log(folder: Path, *lines: str) -> None:
    (folder / "Openplanet.log").write_text("\n".join(lines))


def test_an_unsigned_plugin_is_told_from_the_log(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    log(folder, f"[ScriptEngine] [09:08:26]  Unable to load plugin info for '{OURS}': Missing required signature file!")
    found = by_code(judge_installation(seen(home), WISH))
    assert "Missing required signature file" in found["plugin-unsigned"].text
    assert "Signature mode" in found["plugin-unsigned"].mend


def test_an_unsigned_plugin_is_told_from_the_mode(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    (folder / "Settings.ini").write_text("[Openplanet]\nDeveloperMode=false\n")
    assert codes(home) == {"plugin-unsigned"}


def test_what_was_mended_since_is_no_trouble(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    log(
        folder,
        f"[ScriptEngine] [09:08:26]  Unable to load plugin info for '{OURS}': Missing required signature file!",
        f"[ScriptEngine] [09:09:26]  Loaded zipped plugin '{OURS}' (version 99.0)",
    )
    assert codes(home) == set()


def test_an_error_in_the_plugin_is_repeated(home: Path, folder: Path) -> None:
    put(folder, TMRLS)
    log(folder, f"[ScriptRuntime] [21:47:55] [{TMRLS}]  Script exception: Null pointer access")
    found = by_code(judge_installation(seen(home), WISH))
    assert "Null pointer access" in found["plugin-error"].text


def test_a_port_that_the_plugin_cannot_have_is_told(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    log(folder, f"[ScriptRuntime] [21:47:55] [{OURS}]  tmrld: port 9000 for telemetry is taken: switch the other plugin off")
    assert codes(home) == {"plugin-port-taken"}


def test_lines_about_other_plugins_are_left_out_and_nobody_is_named() -> None:
    lines = [
        "[ScriptEngine] Unable to load plugin info for 'Felix': Missing required signature file!",
        f"[ScriptRuntime] [{OURS}] Script exception in C:\\Users\\Felix Mustermann\\OpenplanetNext\\Plugins\\{OURS}\\Main.as "
        "line 3",
        f"[ScriptRuntime] [{OURS}] error in /home/me/x " + "x" * 1000,
    ]
    found = troubles(lines, "/home/me")
    assert len(found) == 2
    assert not any("elix" in line for line in found)
    assert max(map(len, found)) <= 300


# Replays


REPLAYS = Wish(9000, 10000, replays=True, talks=False)


def test_replays_need_a_plugin_that_saves_them(home: Path, folder: Path) -> None:
    put(folder, TMRLS)
    assert codes(home, REPLAYS) == {"replay-plugin-missing"}
    assert codes(home) == set()
    put(folder, GHOSTS)
    assert codes(home, REPLAYS) == set()


def test_ours_saves_replays_too(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    assert codes(home, REPLAYS) == set()


def test_an_unsigned_plugin_for_replays_matters_where_they_are_wanted(home: Path, folder: Path) -> None:
    put(folder, TMRLS)
    put(folder, GHOSTS)
    log(folder, f"[ScriptEngine] Unable to load plugin info for '{GHOSTS}': Missing required signature file!")
    assert codes(home, REPLAYS) == {"replay-plugin-unsigned"}
    assert codes(home) == set()


def test_a_replay_that_the_game_refused_is_told_with_its_reason(home: Path, folder: Path) -> None:
    put(folder, OURS, "99.0")
    log(folder, f"[{OURS}] tmrld: no replay: the game does not let this account save one (it needs Club access)")
    found = by_code(judge_installation(seen(home), REPLAYS))
    assert "Club access" in found["replay-refused"].text
    assert codes(home) == set()


# Rights: only Windows tells them


@pytest.mark.parametrize(
    ("game", "we", "wrong"),
    [(True, False, True), (True, None, True), (True, True, False), (False, False, False), (None, None, False)],
)
def test_a_game_with_more_rights_than_we_hears_no_key(home: Path, folder: Path, game: bool, we: bool, wrong: bool) -> None:
    put(folder, OURS, "99.0")
    found = seen(home).model_copy(update={"game_is_admin": game, "is_admin": we})
    assert (set(by_code(judge_installation(found, WISH))) == {"game-is-admin"}) == wrong
