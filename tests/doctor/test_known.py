"""Every trouble that is known leads to a diagnosis that the judges really make, or says why it cannot happen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import tmrld.doctor
from tests.doctor.patients import DISK, LOAD, MACHINE, PATIENT, TIMING, machine, software, way
from tmrld.doctor.apart import examined
from tmrld.doctor.diagnosis import Diagnosis
from tmrld.doctor.known import KNOWN
from tmrld.doctor.known import MACHINE as KNOWN_OF_MACHINES
from tmrld.doctor.machine import Timing, judge_machine
from tmrld.doctor.network import NetworkEvidence, judge_network
from tmrld.doctor.packages import Package, Torch
from tmrld.doctor.ports import Port
from tmrld.settings import Settings

CUDA = Torch(version="2.13.0+cu126", cuda_build="12.6", cuda=True, devices=("NVIDIA GeForce RTX 3070",))
RTX = ("NVIDIA GeForce RTX 3070",)


def of_machine(patient: dict[str, Any] | None = None, **changes: Any) -> list[Diagnosis]:
    return judge_machine(PATIENT.model_copy(update=patient or {}), machine(**changes))


def of_package(name: str, error: str, **changes: Any) -> list[Diagnosis]:
    package = Package(version=changes.pop("version", "1.0"), error=error, **changes)
    return of_machine({"game": True}, software=software(packages={name: package}))


def of_disk(**changes: Any) -> list[Diagnosis]:
    return of_machine(disk=DISK.model_copy(update=changes))


def of_load(patient: dict[str, Any] | None = None, **changes: Any) -> list[Diagnosis]:
    return of_machine(patient, load=LOAD.model_copy(update=changes))


def of_timing(**changes: Any) -> list[Diagnosis]:
    return of_machine({"realtime": True}, timing=TIMING.model_copy(update=changes))


def of_torch(device: str, torch: Torch, cards: tuple[str, ...] = ()) -> list[Diagnosis]:
    return of_machine({"device": device}, software=software(torch=torch, cards=cards))


def of_way(outcome: str, **changes: Any) -> list[Diagnosis]:
    return judge_network(way(outcome=outcome, text="a sentence", **changes))


def of_port(**changes: Any) -> list[Diagnosis]:
    return judge_network(NetworkEvidence(version="0.1.0", ports=(Port(what="peers", host="", port=7401, **changes),)))


def of_a_doctor_who_hangs() -> list[Diagnosis]:
    report = asyncio.run(examined(Settings(), {}, longest_s=0.0))
    return [Diagnosis(**each) for each in report["diagnoses"]]


CPU = Torch(version="2.13.0")
PROVOKED: dict[str, Callable[[], Iterable[Diagnosis]]] = {
    "settings-invalid": lambda: of_machine({"settings_error": "a sentence"}),
    "python-32-bit": lambda: of_machine(software=software(bits=32)),
    "in-wsl": lambda: of_machine({"game": True}, software=software(system="Linux", release="5.15-microsoft-standard-WSL2")),
    "package-missing": lambda: of_package("rtgym", "ModuleNotFoundError: …", version="", missing=True),
    "package-broken": lambda: of_package("rtgym", "SyntaxError: invalid syntax"),
    "package-crashes": lambda: of_package("rtgym", "the process ended with -11", crashed=True),
    "numpy-mismatch": lambda: of_package("torch", "RuntimeError: Numpy is not available"),
    "system-library-missing": lambda: of_package("cv2", "ImportError: libGL.so.1: cannot open shared object file"),
    "windows-runtime-missing": lambda: of_package("cv2", "ImportError: DLL load failed while importing cv2"),
    "gamepad-driver-missing": lambda: of_package("vgamepad", "Exception: VIGEM_ERROR_BUS_NOT_FOUND"),
    "cpu-busy": lambda: of_load(load=0.95),
    "few-cores": lambda: of_load({"realtime": True}, cores=2),
    "memory-scarce": lambda: of_load(available_bytes=2**30),
    "memory-short": lambda: of_load(available_bytes=2**28),
    "on-battery": lambda: of_load(battery=0.5),
    "late-steps": lambda: of_timing(late=5),
    "uneven-steps": lambda: of_timing(p99=0.03),
    "timing-unmeasured": lambda: of_machine(timing=Timing(step_s=0.05, failure="a reason")),
    "torch-without-cuda": lambda: of_torch("cuda", CPU, RTX),
    "cuda-driver": lambda: of_torch("cuda", CUDA.model_copy(update={"cuda": False}), RTX),
    "gpu-unused": lambda: of_torch("cpu", CUDA, RTX),
    "no-such-gpu": lambda: of_torch("cuda:3", CUDA, RTX),
    "no-gpu": lambda: of_torch("cuda", CPU),
    "amd-gpu": lambda: of_torch("cuda", CPU, ("AMD Radeon RX 6700 XT",)),
    "mps-missing": lambda: of_torch("mps", CPU),
    "data-folder-unwritable": lambda: of_disk(error="Cannot write in /data: permission denied."),
    "data-folder-network": lambda: of_disk(network="cifs"),
    "data-folder-newer": lambda: of_disk(version_error="folder.json was written by a newer tmrld"),
    "data-folder-damaged": lambda: of_disk(version_error="folder.json does not match its checksum."),
    "data-folder-in-use": lambda: of_disk(holder=4711),
    "disk-full": lambda: of_disk(free_bytes=2**20),
    "disk-short": lambda: of_disk(free_bytes=2**31),
    "not-joined": lambda: of_way("not-joined"),
    "no-trust": lambda: of_way("no-trust"),
    "peers-invalid": lambda: of_way("settings"),
    "name-unknown": lambda: of_way("unreachable", name_error="Name or service not known"),
    "relay-refused": lambda: of_way("unreachable", connect_error="refused"),
    "relay-timeout": lambda: of_way("timeout"),
    "relay-unreachable": lambda: of_way("unreachable", connect_error="No route to host"),
    "wrong-key": lambda: of_way("wrong-key"),
    "certificate-untrusted": lambda: of_way("certificate", verify_code=20),
    "certificate-name": lambda: of_way("certificate", verify_code=62),
    "certificate-dates": lambda: of_way("certificate", verify_code=10),
    "not-tls": lambda: of_way("not-tls"),
    "not-a-relay": lambda: of_way("http", status=404),
    "relay-in-trouble": lambda: of_way("http", status=503),
    "token-unknown": lambda: of_way("http", status=401),
    "token-for-another": lambda: of_way("http", status=403),
    "too-many-tries": lambda: of_way("http", status=429),
    "protocol-mismatch": lambda: judge_network(way(outcome="http", status=400, text="upgrade the worker")),
    "relay-older": lambda: of_way("protocol"),
    "proxy-password": lambda: of_way("proxy-asks"),
    "proxy-fails": lambda: of_way("proxy"),
    "slow-link": lambda: judge_network(way(round_trip_s=1.0)),
    "daemon-away": lambda: judge_network(way(linked=False)),
    "versions-differ": lambda: judge_network(way(relay_version="9.9.9")),
    "clock-off": lambda: judge_network(way(ahead_s=3600.0)),
    "port-in-use": lambda: of_port(in_use=True, error="in use"),
    "port-denied": lambda: of_port(error="Permission denied"),
    "examination-failed": of_a_doctor_who_hangs,
}
"""What is to be seen for each code of machine and network to be said; those of the game are in tests of its own."""

MODULES = ("machine", "disk", "packages", "network", "ports", "apart")
SOURCES = [Path(tmrld.doctor.__file__).with_name(f"{name}.py") for name in MODULES]
NO_CODES = {
    *("not-asked", "proxy-asks", "utf-8", "libgthread-2"),
    *("opencv-python", "opencv-python-headless", "opencv-contrib-python", "pygame-ce", "python-xlib", "nvidia-smi"),
}
"""What looks like a code in these modules, and is none."""


@pytest.mark.parametrize("code", PROVOKED)
def test_each_code_is_said_alone_and_with_what_mends_it(code: str) -> None:
    found = [each for each in PROVOKED[code]() if each.state != "ok"]
    assert [each.code for each in found] == [code]
    assert found[0].text
    assert found[0].mend
    assert not found[0].text.endswith(".")


def test_every_code_that_these_modules_can_say_is_among_them() -> None:
    said = {code for source in SOURCES for code in re.findall(r'"([a-z0-9]+(?:-[a-z0-9]+)+)"', source.read_text("utf-8"))}
    assert said - NO_CODES == set(PROVOKED)


def test_every_known_trouble_of_machine_and_network_has_its_diagnosis_or_a_reason() -> None:
    for known in KNOWN_OF_MACHINES:
        assert bool(known.codes) != bool(known.never), known.symptom
        assert set(known.codes) <= set(PROVOKED), known.symptom
    assert {code for known in KNOWN_OF_MACHINES for code in known.codes} == set(PROVOKED)


def test_no_trouble_is_named_twice() -> None:
    symptoms = [known.symptom for known in KNOWN]
    assert len(symptoms) == len(set(symptoms))


def test_on_a_sound_machine_nothing_is_said() -> None:
    assert {each.state for each in judge_machine(PATIENT, MACHINE)} == {"ok"}
