"""Python, packages and graphics cards: what is seen when packages are missing, broken, crash or hang; and what is said of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor.patients import MACHINE, PATIENT, codes, software
from tmrld.doctor import importing, packages
from tmrld.doctor.packages import CUDA_TORCH, Package, Torch, gather_software, judge_software, nvidia_rows, wanted_by


@pytest.fixture
def own_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules a new Python finds."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    return tmp_path


# Looking


def test_a_package_that_is_there_one_that_is_missing_and_one_that_fails(own_packages: Path) -> None:
    (own_packages / "sound.py").write_text("print('hello from a package')\n")
    (own_packages / "broken.py").write_text("import ctypes\nctypes.CDLL('libnothere.so.9')\n")
    (own_packages / "needy.py").write_text("import nothere\n")
    said = importing.ask(["sound", "missing_one", "broken", "needy"])
    assert said["sound"] == {"name": "sound", "error": ""}
    assert said["missing_one"]["missing"]
    assert "libnothere.so.9" in said["broken"]["error"]
    assert not said["needy"]["missing"]  # it is there, and what it needs is not
    assert "nothere" in said["needy"]["error"]


def test_a_package_that_ends_the_process_does_not_keep_the_others_from_being_looked_at(own_packages: Path) -> None:
    (own_packages / "crashing.py").write_text("import os\nos.abort()\n")
    said = importing.ask(["crashing", "json"])
    assert said["crashing"]["crashed"]
    assert "the process ended with" in said["crashing"]["error"]
    assert said["json"]["error"] == ""


def test_an_import_that_hangs_ends_even_if_whoever_asked_is_no_more(own_packages: Path) -> None:
    (own_packages / "hanging.py").write_text("import time\ntime.sleep(600)\n")
    command = [sys.executable, "-m", "tmrld.doctor.importing", "0.5", "hanging"]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 1


def test_a_package_that_hangs_is_not_waited_for(own_packages: Path) -> None:
    (own_packages / "hanging.py").write_text("import time\ntime.sleep(600)\n")
    said = importing.ask(["hanging"], timeout_s=1.0)
    assert said["hanging"]["error"] == "it was not done within 1 s"


def test_what_torch_computes_on_is_asked_in_the_other_process() -> None:
    seen = gather_software(PATIENT.model_copy(update={"roles": ("trainer",)}))
    assert seen.packages["torch"].error == ""
    assert seen.torch is not None
    assert seen.torch.version == seen.packages["torch"].version
    assert not seen.torch.cuda


def test_only_what_is_asked_for_is_looked_at() -> None:
    def wanted(system: str = "Linux", **changes: object) -> set[str]:
        return {each.module for each in wanted_by(PATIENT.model_copy(update=changes), system)}

    assert wanted(roles=("relay",)) == set()
    assert wanted(roles=("worker",)) == {"gymnasium", "rtgym", "PIL"}
    assert wanted(roles=("trainer",)) == {"torch", "numba"}
    assert wanted(roles=("worker",), game=True) >= {"mss", "cv2", "vgamepad", "Xlib"}
    assert "Xlib" not in wanted("Windows", roles=("worker",), game=True)
    assert wanted(roles=("relay",), everything=True) >= {"torch", "gymnasium", "cv2", "av", "pygame"}


def test_nvidia_smi_is_read() -> None:
    assert nvidia_rows("NVIDIA GeForce RTX 3070, 551.23\nTesla T4, 551.23\n") == (
        ["NVIDIA GeForce RTX 3070", "NVIDIA Tesla T4"],
        "551.23",
    )
    assert nvidia_rows("NVIDIA-SMI has failed\n") == ([], "")


def test_cards_are_known_by_their_vendors(tmp_path: Path) -> None:
    for number, vendor in enumerate(("0x1002", "0x8086", "0x1234", "0x1002")):
        folder = tmp_path / f"card{number}" / "device"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
    assert packages._linux_cards(tmp_path) == ["AMD graphics card", "Intel graphics card"]


def test_nvidias_own_program_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4060, 560.1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    cards, driver = packages.gather_cards()
    assert (cards[0], driver) == ("NVIDIA GeForce RTX 4060", "560.1")
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert packages._nvidia_cards() == ([], "")


# Judging: packages


@pytest.mark.parametrize(
    ("module", "package", "code", "mend"),
    [
        ("gymnasium", Package(version="", missing=True, error="ModuleNotFoundError: …"), "package-missing", '"tmrld[worker]"'),
        ("torch", Package(version="", missing=True, error="ModuleNotFoundError: …"), "package-missing", '"tmrld[trainer]"'),
        ("mss", Package(version="", missing=True, error="ModuleNotFoundError: …"), "package-missing", '"tmrld[game]"'),
        (
            "cv2",
            Package(version="4.8", error="ImportError: libGL.so.1: cannot open shared object file: No such file or directory"),
            "system-library-missing",
            "sudo apt install libgl1",
        ),
        (
            "cv2",
            Package(version="4.8", error="ImportError: libxcb.so.1: cannot open shared object file: No such file"),
            "system-library-missing",
            "opencv-python-headless",
        ),
        (
            "vgamepad",
            Package(version="0.1", error="OSError: libevdev.so.2: cannot open shared object file: No such file or directory"),
            "system-library-missing",
            "sudo apt install libevdev2",
        ),
        (
            "av",
            Package(version="14", error="ImportError: libodd-1.so.3: cannot open shared object file: No such file"),
            "system-library-missing",
            "the package of your system that has libodd-1.so.3",
        ),
        (
            "torch",
            Package(version="2.2", error="ImportError: A module that was compiled using NumPy 1.x cannot be run in NumPy 2.0"),
            "numpy-mismatch",
            "pip install --upgrade numpy torch",
        ),
        (
            "cv2",
            Package(version="4.8", error="ImportError: numpy.core.multiarray failed to import"),
            "numpy-mismatch",
            "pip install --upgrade numpy opencv-python",
        ),
        (
            "torch",
            Package(
                version="2.6", error="OSError: [WinError 126] The specified module could not be found. Error loading c10.dll"
            ),
            "windows-runtime-missing",
            "vc_redist.x64.exe",
        ),
        (
            "cv2",
            Package(version="4.8", error="ImportError: DLL load failed while importing cv2: not found"),
            "windows-runtime-missing",
            "Media Feature Pack",
        ),
        (
            "vgamepad",
            Package(version="0.1", error="Exception: VIGEM_ERROR_BUS_NOT_FOUND"),
            "gamepad-driver-missing",
            "ViGEmBus",
        ),
        (
            "rtgym",
            Package(version="0.16", crashed=True, error="the process ended with -6"),
            "package-crashes",
            "--force-reinstall rtgym",
        ),
        ("rtgym", Package(version="0.16", error="SyntaxError: invalid syntax"), "package-broken", "--force-reinstall rtgym"),
    ],
)
def test_why_a_package_is_of_no_use_and_what_helps(module: str, package: Package, code: str, mend: str) -> None:
    patient = PATIENT.model_copy(update={"roles": ("trainer", "worker"), "game": True})
    (found,) = (each for each in judge_software(patient, software(packages={module: package})) if each.code)
    assert (found.state, found.code) == ("note" if module == "av" else "wrong", code)
    assert mend in found.mend


def test_what_nobody_asked_for_is_a_note() -> None:
    patient = PATIENT.model_copy(update={"roles": ("worker",), "everything": True})
    missing = Package(version="", missing=True, error="ModuleNotFoundError: …")
    for module in ("torch", "cv2", "av"):
        (found,) = (each for each in judge_software(patient, software(packages={module: missing})) if each.code)
        assert (found.state, found.code) == ("note", "package-missing")


def test_python_of_32_bits_and_linux_inside_windows_are_told() -> None:
    assert codes(judge_software(PATIENT, software(bits=32))) == {"python-32-bit"}
    wsl = software(system="Linux", release="5.15.153.1-microsoft-standard-WSL2")
    assert codes(judge_software(PATIENT.model_copy(update={"game": True}), wsl)) == {"in-wsl"}
    assert codes(judge_software(PATIENT, wsl)) == set()


# Judging: graphics cards

CPU = Torch(version="2.13.0+cpu")
CUDA = Torch(version="2.13.0+cu126", cuda_build="12.6", cuda=True, devices=("NVIDIA GeForce RTX 3070",))
RTX = ("NVIDIA GeForce RTX 3070",)


@pytest.mark.parametrize(
    ("device", "torch", "cards", "state", "code", "mend"),
    [
        ("cuda", CUDA, RTX, "ok", "", ""),
        ("cuda:1", CUDA, RTX, "wrong", "no-such-gpu", 'trainer.device = "cuda:0"'),
        ("cuda", CPU, RTX, "wrong", "torch-without-cuda", CUDA_TORCH),
        ("cuda", CUDA.model_copy(update={"cuda": False, "devices": ()}), RTX, "wrong", "cuda-driver", "newest driver"),
        ("cuda", CUDA.model_copy(update={"cuda": False, "devices": ()}), (), "wrong", "no-gpu", 'trainer.device = "cpu"'),
        ("cuda", CPU, (), "wrong", "no-gpu", 'trainer.device = "cpu"'),
        ("cuda", CPU, ("AMD Radeon RX 6700 XT",), "wrong", "amd-gpu", "ROCm"),
        ("mps", CPU, (), "wrong", "mps-missing", 'trainer.device = "cpu"'),
        ("mps", CPU.model_copy(update={"mps": True}), (), "ok", "", ""),
        ("cpu", CPU, (), "ok", "", ""),
        ("cpu", CPU, ("AMD Radeon RX 6700 XT",), "ok", "", ""),
        ("cpu", CPU, RTX, "note", "gpu-unused", CUDA_TORCH),
        ("cpu", CUDA, RTX, "note", "gpu-unused", 'trainer.device = "auto"'),
        ("auto", CUDA, RTX, "ok", "", ""),
        ("auto", CPU.model_copy(update={"mps": True}), (), "ok", "", ""),
        ("auto", CPU, (), "ok", "", ""),
        ("auto", CPU, RTX, "note", "gpu-unused", CUDA_TORCH),
    ],
)
def test_what_torch_computes_on(device: str, torch: Torch, cards: tuple[str, ...], state: str, code: str, mend: str) -> None:
    patient = PATIENT.model_copy(update={"device": device})
    found = [each for each in judge_software(patient, software(torch=torch, cards=cards)) if each.area == "graphics card"]
    assert [(each.state, each.code) for each in found] == [(state, code)]
    assert mend in found[0].mend


def test_a_sound_machine_is_told_in_few_lines() -> None:
    assert [each.check for each in judge_software(PATIENT, MACHINE.software)] == ["Python", "packages", "device"]
