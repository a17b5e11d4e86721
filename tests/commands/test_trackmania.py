"""`tmrld trackmania`: installs, tells and removes, in folders that stand for a player's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tmrld
from tmrld.cli import main
from tmrld.commands.trackmania import consented, start
from tmrld.envs.trackmania.openplanet import FILE, packed
from tmrld.errors import Conflict, GameError

CONFIG = '{\n "Display" : {\n  "DisplayMode" : "fullscreen",\n  "ScreenSizeWin" : "1280x720"\n }\n}\n'


class Player:
    """A user's folder with OpenPlanet in it."""

    def __init__(self, folder: Path) -> None:
        self.openplanet = folder / "OpenplanetNext"
        self.plugin = self.openplanet / "Plugins" / FILE
        self.config = folder / "Documents" / "Trackmania" / "Config" / "Default.json"
        self.openplanet.mkdir()
        self.config.parent.mkdir(parents=True)
        self.config.write_text(CONFIG)

    def run(self, action: str, *flags: str) -> int:
        return main(["trackmania", action, "--plugins-folder", str(self.openplanet), *flags])


@pytest.fixture
def player(tmp_path: Path) -> Player:
    return Player(tmp_path)


def test_an_installation_copies_the_plugin_and_lists_what_is_left(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    assert player.run("install", "--no-driver") == 0
    assert player.plugin.read_bytes() == packed()
    assert [file.name for file in player.plugin.parent.iterdir()] == [FILE]  # nothing half written
    told = capsys.readouterr().out
    assert f"✗ OpenPlanet has no plugin tmrld in {player.plugin.parent}" in told
    assert f"→ copy the plugin tmrld {tmrld.__version__} to {player.plugin}\n    done\n" in told
    assert (
        "what is left to you:\n  1. Start TrackMania.\n  2. Press F3; in the bar at the top choose Openplanet, Signature Mode"
        in told
    )


@pytest.mark.parametrize("action", ["install", "status"])
def test_a_file_or_a_pipe_of_windows_takes_what_is_told(player: Player, action: str) -> None:
    command = [sys.executable, "-m", "tmrld", "trackmania", action, "--plugins-folder", str(player.openplanet)]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    told = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True).stdout.decode("cp1252")
    assert "? OpenPlanet has no plugin tmrld" in told


def test_the_game_is_made_to_start_in_a_window(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    assert player.run("install", "--no-driver") == 0
    assert player.config.read_text() == CONFIG.replace("fullscreen", "windowed").replace("1280x720", "958x488")
    assert "set the display mode" not in capsys.readouterr().out
    assert player.run("install", "--no-driver", "--set", "run.environment.id=tmrld/TM20Full-v0") == 0
    assert '"256x128"' in player.config.read_text()


def test_the_window_can_be_left_alone(player: Player) -> None:
    assert player.run("install", "--no-driver", "--no-window") == 0
    assert player.config.read_text() == CONFIG


def test_settings_of_the_game_that_are_not_understood_are_left_alone(
    player: Player, capsys: pytest.CaptureFixture[str]
) -> None:
    player.config.write_text("{}")
    assert player.run("install", "--no-driver") == 0
    assert player.config.read_text() == "{}"
    told = capsys.readouterr().out
    assert "are not understood" in told
    assert "In the game's settings (Video), set the display mode to windowed." in told


def test_a_trial_changes_nothing(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    assert player.run("install", "--no-driver", "--dry-run") == 0
    assert not player.plugin.parent.exists()
    assert player.config.read_text() == CONFIG
    assert "nothing was changed (--dry-run)" in capsys.readouterr().out


def test_an_old_plugin_is_replaced_and_the_players_settings_stay(player: Player) -> None:
    player.plugin.parent.mkdir()
    player.plugin.write_bytes(b"old")
    settings = player.openplanet / "Settings.ini"
    settings.write_text("[tmrld]\nS_TelemetryPort=9100\n")
    other = player.plugin.with_name("TMRL_GrabData.op")
    other.write_bytes(b"TMRL's")
    assert player.run("install", "--no-driver") == 0
    assert player.plugin.read_bytes() == packed()
    assert settings.read_text() == "[tmrld]\nS_TelemetryPort=9100\n"
    assert other.read_bytes() == b"TMRL's"


def test_a_second_installation_has_nothing_to_do(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    player.run("install", "--no-driver")
    before = player.plugin.stat().st_mtime_ns
    capsys.readouterr()
    assert player.run("install", "--no-driver", "--json") == 0
    assert player.plugin.stat().st_mtime_ns == before
    facts = json.loads(capsys.readouterr().out)
    assert [part["action"] for part in facts["parts"]] == ["nothing", "nothing"]
    assert facts["undone"] == []


def test_scripts_are_told_all_of_it(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    assert player.run("install", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["plugins_folder"] == str(player.plugin.parent)
    assert [part["name"] for part in facts["parts"]] == ["plugin", "driver", "window"]
    assert facts["changed"] is True
    assert facts["clicks"][0] == "Start TrackMania."


def test_the_status_says_how_it_stands(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    assert player.run("status") == 0
    told = capsys.readouterr().out
    assert f"✗ OpenPlanet has no plugin tmrld in {player.plugin.parent}" in told
    assert told.endswith(f'to put this right: tmrld trackmania install --plugins-folder "{player.openplanet}"\n')
    assert not player.plugin.parent.exists()
    player.run("install", "--no-driver")
    storage = player.openplanet / "PluginStorage" / "tmrld"
    storage.mkdir(parents=True)
    (storage / "running.json").write_text('{"version": "0.1.0", "telemetry_port": 9000, "replay_port": 10000}')
    (player.openplanet / "Settings.ini").write_text("DeveloperMode=true\n")
    (player.openplanet / "Openplanet.log").write_text("[12:00:00] Loaded plugin tmrld\n")
    capsys.readouterr()
    assert player.run("status") == 0
    told = capsys.readouterr().out
    assert f"✓ the plugin tmrld {tmrld.__version__} is in {player.plugin}" in told
    assert "  it ran last as 0.1.0, on the ports 9000 and 10000\n" in told
    assert "  OpenPlanet was in developer mode when the game was last closed\n" in told
    assert "    [12:00:00] Loaded plugin tmrld\n" in told


def test_what_was_installed_is_removed_and_nothing_else(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    player.run("install", "--no-driver")
    storage = player.openplanet / "PluginStorage" / "tmrld"
    storage.mkdir(parents=True)
    (storage / "running.json").write_text("{}")
    other = player.plugin.with_name("TMRL_GrabData.op")
    other.write_bytes(b"")
    capsys.readouterr()
    assert player.run("uninstall", "--dry-run") == 0
    assert player.plugin.exists()
    assert player.run("uninstall") == 0
    assert not player.plugin.exists()
    assert not storage.exists()
    assert other.exists()
    assert player.run("uninstall", "--json") == 0
    told = capsys.readouterr().out
    assert f"would remove {player.plugin}\n" in told
    assert f"removed {player.plugin}\n" in told
    assert json.loads(told.splitlines()[-1])["removed"] == []


def test_a_folder_of_sources_stays(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    sources = player.plugin.parent / "tmrld"
    sources.mkdir(parents=True)
    assert player.run("uninstall") == 0
    assert sources.is_dir()
    assert f"the folder {sources} was not made by this command, and stays" in capsys.readouterr().out


def test_without_openplanet_it_says_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WINEPREFIX", raising=False)
    assert main(["trackmania", "install"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("tmrld: there is no OpenPlanet for TrackMania 2020 here (looked for ")
    assert main(["trackmania", "status", "--plugins-folder", str(tmp_path / "missing")]) == 1


def test_a_folder_that_may_not_be_written_to_is_an_error(player: Player, capsys: pytest.CaptureFixture[str]) -> None:
    player.plugin.parent.write_text("a file")
    assert player.run("install", "--no-driver") == 1
    assert "is a file, where a folder is needed" in capsys.readouterr().err


# The driver's installer


def test_the_installer_is_started_with_consent_alone() -> None:
    consented(None, given=True)
    for yes in ("y", " Yes\n"):
        consented({"    Start it now? [y/N] ": yes}.__getitem__, given=False)
    for no in ("", "n", "yeah"):
        with pytest.raises(Conflict, match="it was not started"):
            consented({"    Start it now? [y/N] ": no}.__getitem__, given=False)
    with pytest.raises(Conflict, match="run this in a terminal, or with --yes"):
        consented(None, given=False)


def test_an_installer_that_fails_is_told_of() -> None:
    start((sys.executable, "-c", "raise SystemExit(0)"))
    with pytest.raises(GameError, match="ended with 7, without having installed it"):
        start((sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(GameError, match="cannot be started"):
        start(("/missing/installer",))
