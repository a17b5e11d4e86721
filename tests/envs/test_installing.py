"""What the game needs of a machine: the driver of gamepads, the game's own settings, and what an installation makes of them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tmrld.envs.trackmania.display import Display, config_file, parse, windowed
from tmrld.envs.trackmania.driver import Driver, Facts, gather, installer_in, judge
from tmrld.envs.trackmania.installing import Found, Part, Wanted, clicks, parts
from tmrld.envs.trackmania.openplanet import Look, Running
from tmrld.errors import GameError

FILE = Path("Default.json")
CONFIG = """{\r
 "GpuName" : "Display",\r
 "DisplaySafe" : {\r
  "DisplayMode" : "fullscreen",\r
  "ScreenSizeWin" : "800x600"\r
 },\r
 "Display" : {\r
  "Preset" : "high",\r
  "DisplayMode" : "windowedfull",\r
  "ScreenSizeFS" : "1920x1080",\r
  "ScreenSizeWin" : "1280x720"\r
 },\r
 "AudioEnabled" : true\r
}\r
"""
PLUGINS = Path("OpenplanetNext", "Plugins")
LOOK = Look(PLUGINS, "0.1.0", True, False, (), True, None, ())
WANTED = Wanted("Trackmania", 958, 488, True, 9000, 10000, False)
READY = Driver(True, "it is installed")
FOUND = Found(LOOK, READY, Display(FILE, "windowed", (958, 488)), "", game_runs=True)


# The game's settings of its screen


def test_they_are_read_from_their_own_block() -> None:
    assert parse(FILE, CONFIG) == Display(FILE, "windowedfull", (1280, 720))
    assert not parse(FILE, CONFIG).is_window
    assert parse(FILE, "\ufeff" + CONFIG.replace("1280x720", "auto")).size is None


def test_only_two_values_change_and_not_a_letter_besides() -> None:
    changed = windowed(FILE, CONFIG, 958, 488)
    assert changed == CONFIG.replace("windowedfull", "windowed").replace("1280x720", "958x488")
    assert parse(FILE, changed) == Display(FILE, "windowed", (958, 488))
    assert windowed(FILE, changed, 958, 488) == changed
    assert windowed(FILE, "\ufeff" + CONFIG, 958, 488) == "\ufeff" + changed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"Display": 1}',
        '{"Display": {"DisplayMode": "windowed"}}',
        '{"Display": {"DisplayMode": 1, "ScreenSizeWin": "1x1"}}',
    ],
)
def test_what_is_not_as_expected_is_left_alone(text: str) -> None:
    for use in (lambda: parse(FILE, text), lambda: windowed(FILE, text, 958, 488)):
        with pytest.raises(GameError, match=r"the game's settings in Default.json are not understood .*set the display mode"):
            use()


def test_an_order_that_was_never_seen_is_not_guessed_at() -> None:
    odd = json.dumps(
        {
            "Display": {
                "Inner": {"DisplayMode": "x", "ScreenSizeWin": "1x1"},
                "DisplayMode": "fullscreen",
                "ScreenSizeWin": "2x2",
            },
        }
    )
    with pytest.raises(GameError, match="not where they should be"):
        windowed(FILE, odd, 958, 488)


def test_its_file_is_among_the_documents(tmp_path: Path) -> None:
    assert config_file(tmp_path) is None
    for folder in ("Trackmania2020", "Trackmania"):
        file = tmp_path / folder / "Config" / "Default.json"
        file.parent.mkdir(parents=True)
        file.write_text(CONFIG)
        assert config_file(tmp_path) == file


# The driver of gamepads


def test_on_windows_the_installer_that_vgamepad_brings_is_offered(tmp_path: Path) -> None:
    for kind in ("x64", "x86"):
        file = tmp_path / "win" / "vigem" / "install" / kind / f"ViGEmBusSetup_{kind}.msi"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
    installer = installer_in(tmp_path, "AMD64")
    assert installer is not None
    assert installer.name == "ViGEmBusSetup_x64.msi"
    other = installer_in(tmp_path, "x86")
    assert other is not None
    assert other.name == "ViGEmBusSetup_x86.msi"
    driver = judge(Facts("win32", True, False, installer), {})
    msiexec = f"{os.environ.get('SYSTEMROOT', 'C:/Windows')}/System32/msiexec.exe".replace("/", "\\")
    assert driver == Driver(False, "the driver ViGEmBus is not installed", installer=(msiexec, "/i", str(installer)))


def test_on_windows_without_vgamepad_pip_brings_both(tmp_path: Path) -> None:
    assert installer_in(tmp_path, "AMD64") is None
    driver = judge(Facts("win32", False), {})
    assert not driver.is_ready
    assert driver.commands == ('pip install "tmrld[game]"', "tmrld trackmania install")
    assert judge(Facts("win32", False, True), {}).commands == ('pip install "tmrld[game]"',)
    assert judge(Facts("win32", True, True), {}).is_ready


LINUX = Facts("linux", True, has_device=True, is_writable=True, has_libevdev=True)


def test_on_linux_nothing_is_to_be_done_where_it_works() -> None:
    assert judge(LINUX, {}) == Driver(True, "/dev/uinput can be written to")


def test_on_linux_a_rule_of_udevs_lets_the_user_write() -> None:
    driver = judge(replace(LINUX, is_writable=False), {"USER": "ada"})
    assert driver.text == "/dev/uinput may not be written to by ada"
    assert driver.commands == (
        """echo 'KERNEL=="uinput", SUBSYSTEM=="misc", OPTIONS+="static_node=uinput", TAG+="uaccess"' """
        "| sudo tee /etc/udev/rules.d/60-tmrld.rules",
        "sudo udevadm control --reload-rules",
        "sudo udevadm trigger --name-match=uinput",
    )


def test_on_linux_all_that_is_lacking_is_named() -> None:
    driver = judge(Facts("linux", False), {})
    assert driver.text == "libevdev is not installed, and the package vgamepad is not installed, and there is no /dev/uinput"
    assert driver.commands[:3] == ("sudo apt install libevdev2", 'pip install "tmrld[game]"', "sudo modprobe uinput")


def test_this_machine_is_looked_at_without_making_a_gamepad() -> None:
    facts = gather()
    assert facts.has_device == Path("/dev/uinput").exists()
    assert facts.has_device or not facts.is_writable


# What is made of it


def part(found: Found, name: str, wanted: Wanted = WANTED) -> Part:
    (only,) = [each for each in parts(found, wanted, "0.1.0") if each.name == name]
    return only


def test_where_all_is_ready_nothing_is_copied_and_nothing_installed() -> None:
    assert all(each.is_ready for each in parts(FOUND, WANTED, "0.1.0"))
    assert [each.action for each in parts(FOUND, WANTED, "0.1.0")] == ["nothing", "nothing", "resize"]
    assert [each.action for each in parts(replace(FOUND, game_runs=False), WANTED, "0.1.0")] == ["nothing"] * 3


@pytest.mark.parametrize(
    ("version", "current", "text"),
    [
        (None, False, "OpenPlanet has no plugin tmrld in "),
        ("0.0.9", False, "the plugin tmrld 0.0.9 is in "),
        ("0.1.0", False, "the plugin tmrld 0.1.0, but not as this tmrld has it, is in "),
        ("", False, "the plugin in "),
    ],
)
def test_a_plugin_that_is_not_ours_of_today_is_copied(version: str | None, current: bool, text: str) -> None:
    plugin = part(replace(FOUND, look=replace(LOOK, version=version, is_current=current)), "plugin")
    assert (plugin.is_ready, plugin.action) == (False, "copy")
    assert plugin.text.startswith(text)
    assert plugin.intent.startswith(f"copy the plugin tmrld 0.1.0 to {PLUGINS / 'tmrld.op'}")


def test_the_drivers_installer_is_shown_before_it_is_started() -> None:
    driver = Driver(False, "it is not", installer=("msiexec", "/i", "C:\\Program Files\\setup.msi"))
    seen = part(replace(FOUND, driver=driver), "driver")
    assert seen.action == "start"
    assert seen.intent == 'start its installer, msiexec /i "C:\\Program Files\\setup.msi"'
    told = part(replace(FOUND, driver=Driver(False, "it is not", commands=("do this",))), "driver")
    assert (told.action, told.commands) == ("tell", ("do this",))


@pytest.mark.parametrize(
    ("mode", "size", "runs", "action", "ready"),
    [
        ("windowed", (958, 488), False, "nothing", True),
        ("windowed", (1280, 720), False, "edit", False),
        ("fullscreen", (958, 488), False, "edit", False),
        ("windowed", (1280, 720), True, "resize", True),
        ("fullscreen", (958, 488), True, "tell", False),
    ],
)
def test_the_window_is_seen_to(mode: str, size: tuple[int, int], runs: bool, action: str, ready: bool) -> None:
    seen = part(replace(FOUND, display=Display(FILE, mode, size), game_runs=runs), "window")
    assert (seen.action, seen.is_ready) == (action, ready)


def test_what_was_left_out_is_no_part() -> None:
    names = [each.name for each in parts(replace(FOUND, driver=None, display=None), WANTED, "0.1.0")]
    assert names == ["plugin"]
    problem = replace(FOUND, display=None, display_problem="it is not understood")
    assert part(problem, "window").text == "it is not understood"


# What is left to the player


def steps(found: Found = FOUND, wanted: Wanted = WANTED, *, copied: bool = False) -> str:
    return "\n".join(clicks(found, wanted, copied=copied))


def test_where_all_is_ready_only_the_map_is_left() -> None:
    first, second = clicks(FOUND, WANTED, copied=False)
    assert first.startswith("Load a map whose road has black borders, begin a race, and press 3 until")
    assert second.startswith("See whether it works: tmrld doctor.")
    assert "choose the camera" in steps(wanted=replace(WANTED, is_lidar=False))


def test_developer_mode_is_asked_for_unless_it_is_on() -> None:
    for developer in (None, False):
        assert "Signature Mode, Developer" in steps(replace(FOUND, look=replace(LOOK, developer=developer)))
    assert "Signature Mode" not in steps()


def test_a_game_that_runs_must_load_what_was_copied() -> None:
    assert "(Re)load plugin, tmrld" in steps(copied=True)
    assert steps(replace(FOUND, game_runs=False), copied=True).startswith("Start TrackMania.")


def test_tmrls_plugins_are_to_be_switched_off() -> None:
    assert "Switch TMRL's TMRL Grab Data off" in steps(replace(FOUND, look=replace(LOOK, rivals=("TMRL_GrabData",))))


def test_a_folder_of_sources_is_told_of() -> None:
    assert f"There is a folder {PLUGINS / 'tmrld'} as well" in steps(replace(FOUND, look=replace(LOOK, has_sources=True)))


def test_a_window_that_could_not_be_had_is_asked_for() -> None:
    assert "set the display mode to windowed" in steps(replace(FOUND, display=Display(FILE, "fullscreen", None)))
    assert "set the display mode to windowed" in steps(replace(FOUND, display=None, display_problem="unknown"))


def test_ports_that_differ_are_to_be_set_in_the_plugin() -> None:
    assert "Set the plugin's telemetry port to 9100" in steps(wanted=replace(WANTED, telemetry_port=9100))
    assert "port" not in steps(
        replace(FOUND, look=replace(LOOK, running=Running("0.1.0", 9100, 0))), replace(WANTED, telemetry_port=9100)
    )
    assert "Set the plugin's replay port to 10000" in steps(
        replace(FOUND, look=replace(LOOK, running=Running("0.1.0", 9000, 0))), replace(WANTED, saves_replays=True)
    )
