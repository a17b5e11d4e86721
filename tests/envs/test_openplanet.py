"""OpenPlanet's folder on the machines that players have, and what is read of it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

import tmrld
from tmrld.envs.trackmania.openplanet import (
    FILE,
    FOLDER,
    ID,
    SOURCES,
    STEAM_ID,
    Running,
    documents,
    find,
    folders,
    look,
    packed,
    plugin_folder,
    version_of,
)
from tmrld.errors import BadInput, NotFound

PREFIX = Path("steamapps", "compatdata", STEAM_ID, "pfx", "drive_c", "users", "steamuser")


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


# Our plugin as a file


def test_its_file_holds_the_scripts_and_what_openplanet_reads_first() -> None:
    with zipfile.ZipFile(io.BytesIO(packed())) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"info.toml", *(file.name for file in SOURCES.glob("*.as"))}
        assert archive.read("Main.as") == (SOURCES / "Main.as").read_bytes()
    assert version_of(packed()) == tmrld.__version__


def test_its_file_is_the_same_whenever_it_is_made() -> None:
    before = packed()
    packed.cache_clear()
    assert packed() == before


@pytest.mark.parametrize("files", [{}, {"info.toml": "[meta]\nname = 'x'"}, {"info.toml": "["}, {"info.toml": "meta = 1"}])
def test_what_is_no_plugin_has_no_version(files: dict[str, str]) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    for broken in (data.getvalue(), b"", b"no archive", packed()[:300]):
        with pytest.raises(BadInput, match="no plugin for OpenPlanet"):
            version_of(broken)


# Where it is


def test_on_windows_it_is_in_the_users_folder(tmp_path: Path) -> None:
    made(tmp_path / "me" / FOLDER)
    assert find(tmp_path, {"USERPROFILE": str(tmp_path / "me")}, "win32") == tmp_path / "me" / FOLDER / "Plugins"
    assert list(folders(tmp_path, {}, "win32")) == [tmp_path / FOLDER]


@pytest.mark.parametrize(
    "root",
    [
        ".steam/steam",
        ".local/share/Steam",
        ".var/app/com.valvesoftware.Steam/.local/share/Steam",
        "snap/steam/common/.local/share/Steam",
    ],
)
def test_on_linux_it_is_in_steams_prefix(tmp_path: Path, root: str) -> None:
    folder = made(tmp_path / root / PREFIX / FOLDER)
    assert find(tmp_path, {}, "linux") == folder / "Plugins"


def test_or_in_a_library_of_steams_on_another_disk(tmp_path: Path) -> None:
    disk = tmp_path / 'a "quoted" disk'
    folder = made(disk / PREFIX / FOLDER)
    escaped = str(disk).replace("\\", "\\\\").replace('"', '\\"')
    listed = made(tmp_path / ".steam/steam/steamapps") / "libraryfolders.vdf"
    listed.write_text(
        f'"libraryfolders"\n{{\n\t"0"\n\t{{\n\t\t"path"\t\t"/elsewhere"\n\t}}\n\t"1"\n\t{{\n\t\t"path"\t\t"{escaped}"\n\t}}\n}}\n'
    )
    assert find(tmp_path, {}, "linux") == folder / "Plugins"


@pytest.mark.parametrize("prefix", [".wine", "Games/ubisoft-connect", ".local/share/lutris/prefixes/trackmania"])
def test_or_in_a_prefix_of_wines_or_lutris(tmp_path: Path, prefix: str) -> None:
    made(tmp_path / prefix / "drive_c" / "users" / "Public")
    folder = made(tmp_path / prefix / "drive_c" / "users" / "me" / FOLDER)
    assert find(tmp_path, {}, "linux") == folder / "Plugins"


def test_a_prefix_that_the_environment_names_comes_first(tmp_path: Path) -> None:
    made(tmp_path / ".steam/steam" / PREFIX / FOLDER)
    folder = made(tmp_path / "prefix" / "pfx" / "drive_c" / "users" / "steamuser" / FOLDER)
    assert find(tmp_path, {"WINEPREFIX": str(tmp_path / "prefix")}, "linux") == folder / "Plugins"


@pytest.mark.parametrize("system", ["win32", "linux"])
def test_where_there_is_none_it_says_where_it_looked_and_what_to_do(tmp_path: Path, system: str) -> None:
    with pytest.raises(
        NotFound, match=f"there is no OpenPlanet .*{FOLDER}.*install it from https://openplanet.dev, start the game"
    ):
        find(tmp_path, {}, system)


def test_a_person_may_name_either_folder(tmp_path: Path) -> None:
    folder = made(tmp_path / FOLDER)
    assert plugin_folder(folder) == plugin_folder(folder / "Plugins") == folder / "Plugins"
    other = made(tmp_path / "other" / "Plugins")
    assert plugin_folder(other.parent) == plugin_folder(other) == other
    assert plugin_folder(made(tmp_path / "anywhere")) == tmp_path / "anywhere"
    with pytest.raises(NotFound, match=r"there is no folder .*missing: give OpenPlanet's folder for plugins"):
        plugin_folder(tmp_path / "missing")


def test_documents_are_beside_it(tmp_path: Path) -> None:
    assert documents(tmp_path / "steamuser" / FOLDER) == tmp_path / "steamuser" / "Documents"


# What it has


def test_an_empty_folder_tells_nothing(tmp_path: Path) -> None:
    seen = look(tmp_path / FOLDER / "Plugins")
    assert (seen.version, seen.is_current, seen.has_sources, seen.rivals) == (None, False, False, ())
    assert (seen.developer, seen.running, seen.log) == (None, None, ())


def test_our_plugin_is_known_by_its_bytes(tmp_path: Path) -> None:
    plugins = made(tmp_path / FOLDER / "Plugins")
    (plugins / FILE).write_bytes(packed())
    seen = look(plugins)
    assert (seen.version, seen.is_current) == (tmrld.__version__, True)


def test_another_version_of_it_is_told(tmp_path: Path) -> None:
    plugins = made(tmp_path / FOLDER / "Plugins")
    with zipfile.ZipFile(plugins / FILE, "w") as archive:
        archive.writestr("info.toml", "[meta]\nversion = '0.0.1'")
    assert (look(plugins).version, look(plugins).is_current) == ("0.0.1", False)
    (plugins / FILE).write_bytes(b"half of a")
    assert (look(plugins).version, look(plugins).is_current) == ("", False)


def test_tmrls_plugins_and_a_folder_of_ours_are_seen(tmp_path: Path) -> None:
    plugins = made(tmp_path / FOLDER / "Plugins")
    (plugins / "TMRL_GrabData.op").write_bytes(b"")
    made(plugins / "TMRL_SaveGhost")
    made(plugins / ID)
    seen = look(plugins)
    assert seen.rivals == ("TMRL_GrabData", "TMRL_SaveGhost")
    assert seen.has_sources


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[App]\r\nDeveloperMode=true\r\n[Scripting]\r\n", True),
        ("[App]\nDeveloperMode = False\n", False),
        ("[App]\nNotDeveloperMode=true\n", None),
        ("", None),
    ],
)
def test_openplanets_mode_is_read(tmp_path: Path, text: str, expected: bool | None) -> None:
    openplanet = made(tmp_path / FOLDER)
    (openplanet / "Settings.ini").write_bytes(text.encode())
    assert look(openplanet / "Plugins").developer is expected


def test_what_the_plugin_left_is_read(tmp_path: Path) -> None:
    openplanet = made(tmp_path / FOLDER)
    file = made(openplanet / "PluginStorage" / ID) / "running.json"
    file.write_text(json.dumps({"version": "0.1.0", "telemetry_port": 9000, "replay_port": 0}))
    assert look(openplanet / "Plugins").running == Running("0.1.0", 9000, 0)
    for broken in ("", "[]", "{}", '{"version": "1", "telemetry_port": "many", "replay_port": 0}'):
        file.write_text(broken)
        assert look(openplanet / "Plugins").running is None


def test_the_last_lines_of_the_log_that_name_it_are_kept(tmp_path: Path) -> None:
    openplanet = made(tmp_path / FOLDER)
    lines = [f"[ScriptEngine] {'tmrld' if i % 2 else 'other'} {i}" for i in range(40)]
    (openplanet / "Openplanet.log").write_bytes(b"\xff\xfe" * 300_000 + "\n".join(["", *lines]).encode())
    assert look(openplanet / "Plugins").log == tuple(f"[ScriptEngine] tmrld {i}" for i in (31, 33, 35, 37, 39))
