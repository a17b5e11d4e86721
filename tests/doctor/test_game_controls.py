"""Gamepad and keys: packages, libraries and devices that are missing, and games that do not obey."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.doctor.looks import by_code, record, telling
from tests.support import uinput
from tests.support.display import virtual_display
from tests.support.x11 import Game, Person
from tmrld.doctor import controls
from tmrld.doctor.controls import Controls, Try, gather_controls, judge_controls, look_at_uinput, try_controls
from tmrld.doctor.diagnosis import Diagnosis
from tmrld.doctor.telemetry import Listening
from tmrld.envs.options import EnvironmentOptions, TrackmaniaOptions
from tmrld.envs.trackmania.telemetry import Record

NOTHING = np.zeros((0, 12))


def judged(seen: Controls) -> dict[str, Diagnosis]:
    return by_code(judge_controls(seen, NOTHING))


# Gamepads


def shadowed(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str, code: str) -> None:
    """Another package of that name comes first."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def gamepad(device: Path) -> dict[str, Diagnosis]:
    """What is said of a gamepad that would be made by this device."""
    return judged(gather_controls("gamepad", device))


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device that may be written to."""
    (tmp_path / "uinput").touch()
    return tmp_path / "uinput"


def test_a_gamepad_could_be_had(device: Path) -> None:
    assert gamepad(device) == {}


def test_vgamepad_is_not_installed(device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shadowed(tmp_path, monkeypatch, "vgamepad", "raise ModuleNotFoundError(\"No module named 'vgamepad'\", name='vgamepad')")
    assert gamepad(device)["gamepad-package-missing"].mend.startswith('pip install "tmrld[game]"')


def test_the_library_libevdev_is_missing(device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import ctypes\nctypes.CDLL('libevdev.so.987')"
    shadowed(tmp_path, monkeypatch, "libevdev", code)
    assert "sudo apt install libevdev2" in gamepad(device)["gamepad-libevdev-missing"].mend


def test_a_vgamepad_that_is_broken(device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shadowed(tmp_path, monkeypatch, "vgamepad", "raise AttributeError('partially initialized module')")
    assert "partially initialized module" in gamepad(device)["gamepad-broken"].text


def test_linux_has_no_device_for_gamepads(tmp_path: Path) -> None:
    assert gamepad(tmp_path / "uinput")["gamepad-uinput-missing"].mend.startswith("sudo modprobe uinput")


def test_the_device_is_not_this_user_s(uinput_library: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tmrld.doctor.controls import look_at_uinput; print(look_at_uinput(Path('/dev/uinput')))"
    )
    variables = uinput.environment(uinput_library, tmp_path / "events", error=13)
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "forbidden\n"
    seen = Controls(system="linux", wanted="gamepad", uinput="forbidden")
    assert "sudo setfacl -m u:$USER:rw /dev/uinput" in judged(seen)["gamepad-uinput-forbidden"].mend


def test_looking_makes_no_gamepad(device: Path) -> None:
    assert look_at_uinput(device) == "ok"
    assert device.read_bytes() == b""


@pytest.mark.parametrize(
    ("error", "wine", "code"),
    [
        ("RuntimeError: Error: VIGEM_ERROR_BUS_NOT_FOUND", False, "gamepad-driver-missing"),
        ("RuntimeError: Error: VIGEM_ERROR_BUS_NOT_FOUND", True, "gamepad-in-wine"),
        ("OSError: [WinError 193] not a valid Win32 application", False, "gamepad-broken"),
    ],
)
def test_windows_has_no_driver_for_gamepads(error: str, wine: bool, code: str) -> None:
    assert set(judged(Controls(system="win32", wanted="gamepad", error=error, wine=wine))) == {code}


# Keys


def test_keys_can_be_pressed_on_a_display(display: str) -> None:
    assert judged(gather_controls("keyboard")) == {}


def test_without_a_display_no_keys_can_be_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert set(judged(gather_controls("keyboard"))) == {"keys-not-pressed"}


def test_a_display_that_lets_nobody_press_keys(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with virtual_display(320, 200, "-extension", "XTEST") as name:
        monkeypatch.setenv("DISPLAY", name)
        assert set(judged(gather_controls("keyboard"))) == {"keys-no-xtest"}


def test_a_person_needs_nothing() -> None:
    assert judged(gather_controls("none")) == {}


# A try


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "GAS_S", 0.4)
    monkeypatch.setattr(controls, "TOLD_S", 0.2)


@pytest.fixture
def window(display: str) -> Iterator[Game]:
    game = Game("Trackmania")
    yield game
    game.close()


def tried(tell: Callable[[], Record], title: str = "Trackmania") -> dict[str, Diagnosis]:
    """Try the keys in a game that tells this."""
    began = time.perf_counter()
    options = TrackmaniaOptions(controls="keyboard", window_title=title, sleep_at_reset_s=0.1)
    world = EnvironmentOptions(game="trackmania", clock="realtime", trackmania=options)
    with telling(tell) as plugin:
        listening = Listening("127.0.0.1", plugin.port, began)
        done = try_controls(world, lambda: time.perf_counter() - began)
        told = listening.heard().told
    return by_code(judge_controls(Controls(system="linux", wanted="keyboard", tried=done), told))


class Car:
    """Drives along z while the key for gas is down, and back to the start on a reset."""

    def __init__(self, window: Game, **faults: bool) -> None:
        self._window = window
        self._faults = faults
        self._gas = False
        self._z = 0.0
        self._last = time.perf_counter()

    def tell(self) -> Record:
        for sign, key, _ in self._window.told():
            if key == "Up":
                self._gas = sign == "+"
            elif key == "BackSpace" and sign == "+" and not self._faults.get("no_reset"):
                self._z = 0.0
        now = time.perf_counter()
        if self._gas and not self._faults.get("stands"):
            self._z += 30.0 * (now - self._last)
        self._last = now
        gas = float(self._gas and not self._faults.get("deaf"))
        return dataclasses.replace(record(z=self._z, gas=gas), finished=bool(self._faults.get("finished")))


def test_a_game_that_obeys_is_well(quick: None, window: Game) -> None:
    assert tried(Car(window).tell) == {}


def test_a_game_that_hears_no_gas(quick: None, window: Game) -> None:
    found = tried(Car(window, deaf=True, stands=True).tell)
    assert "Controls" in found["controls-unheard"].mend


def test_a_car_that_stands_though_the_game_hears_the_gas(quick: None, window: Game) -> None:
    assert set(tried(Car(window, stands=True).tell)) == {"car-stands"}


def test_a_game_in_which_another_key_begins_the_race_anew(quick: None, window: Game) -> None:
    assert "Backspace" in tried(Car(window, no_reset=True).tell)["reset-unheard"].mend


def test_a_finish_that_nothing_closes(quick: None, window: Game) -> None:
    assert set(tried(Car(window, finished=True).tell)) == {"finish-stays"}


def test_a_game_that_does_not_come_to_the_front(quick: None, display: str) -> None:
    assert "controls-not-in-front" in tried(record, title="There is no such window")


def test_a_person_who_presses_a_key_meanwhile(quick: None, window: Game) -> None:
    over = threading.Event()

    def press() -> None:
        with Person() as person:
            while not over.wait(0.02):
                person.press("a")
                person.release("a")

    hand = threading.Thread(target=press)
    hand.start()
    try:
        found = tried(record)
    finally:
        over.set()
        hand.join()
    assert found["controls-taken-over"].state == "note"


def test_controls_that_cannot_be_had_say_so_once(
    quick: None, uinput_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in uinput.environment(uinput_library, tmp_path / "pad", error=2).items():
        monkeypatch.setenv(name, value)
    done = try_controls(EnvironmentOptions(game="trackmania", clock="realtime"), time.perf_counter)
    found = judged(Controls(system="linux", wanted="gamepad", tried=done))
    assert "there is no virtual gamepad" in found["controls-failed"].text


def test_where_the_plugin_tells_nothing_a_try_tells_nothing() -> None:
    assert judged(Controls(system="linux", wanted="keyboard", tried=Try(began_s=1.0, held_s=2.0, again_s=4.0))) == {}


def test_evidence_of_controls_is_plain(display: str) -> None:
    seen = gather_controls("keyboard")
    assert Controls.model_validate(json.loads(seen.model_dump_json())) == seen
