"""Load, memory, power and timekeeping: seen for real where that can be arranged, and judged from numbers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest

from tests.doctor.patients import LOAD, MACHINE, PATIENT, TIMING, codes, machine, software
from tmrld.doctor.machine import GIB, Load, Timing, gather_load, gather_machine, gather_timing, judge_machine
from tmrld.doctor.packages import Package
from tmrld.settings import Settings


def judged(load: Load = LOAD, timing: Timing | None = TIMING, **patient: object) -> set[str]:
    return codes(judge_machine(PATIENT.model_copy(update=patient), machine(load=load, timing=timing)))


# Looking


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that compute without end."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def test_a_busy_processor_is_seen_and_who_makes_it_busy() -> None:
    with busy_loops(psutil.cpu_count() or 1):
        seen = gather_load()
    assert seen.load > 0.75
    assert any("python" in each for each in seen.busiest)
    assert "cpu-busy" in judged(seen.model_copy(update={"available_bytes": 8 * GIB, "battery": None}))


def test_a_laptop_on_its_battery_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for plugged, expected in ((False, 0.41), (True, None), (None, None)):
        battery = SimpleNamespace(percent=41.0, power_plugged=plugged)
        monkeypatch.setattr(psutil, "sensors_battery", lambda battery=battery: battery, raising=False)
        assert gather_load(0.01).battery == expected
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    assert gather_load(0.01).battery is None


def test_timekeeping_is_measured_by_driving() -> None:
    seen = gather_timing(PATIENT.model_copy(update={"time_step_s": 0.02}), seconds=0.5)
    assert (seen.step_s, seen.steps, seen.failure) == (0.02, 25, "")
    assert 0 < seen.p50 <= seen.p99 <= seen.max


def test_without_the_worker_s_packages_nothing_is_measured_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tmrld.worker.measuring", None)
    seen = gather_timing(PATIENT)
    assert "tmrld.worker.measuring" in seen.failure
    assert judged(timing=seen) == {"timing-unmeasured"}


def test_the_reason_for_not_measuring_is_said_once() -> None:
    broken = software(packages={"rtgym": Package(version="", missing=True, error="ModuleNotFoundError: …")})
    seen = machine(software=broken, timing=Timing(step_s=0.05, failure="No module named 'rtgym'"))
    assert codes(judge_machine(PATIENT, seen)) == {"package-missing"}


def test_a_whole_machine_is_looked_at_and_each_look_is_told(tmp_path: object) -> None:
    told: list[str] = []
    settings = Settings.model_validate({"data": str(tmp_path), "roles": ["relay"]})
    seen = gather_machine(settings, PATIENT.model_copy(update={"roles": ("relay",)}), told.append)
    assert len(told) == 3
    assert seen.timing is None  # a relay keeps no time
    assert seen.software.packages == {}


# Judging


def test_a_sound_machine_has_nothing_wrong() -> None:
    assert {each.state for each in judge_machine(PATIENT, MACHINE)} == {"ok"}


def test_memory_and_cores() -> None:
    assert judged(LOAD.model_copy(update={"available_bytes": GIB})) == {"memory-scarce"}
    assert judged(LOAD.model_copy(update={"available_bytes": GIB}), roles=("relay",)) == set()
    assert judged(LOAD.model_copy(update={"available_bytes": GIB // 4})) == {"memory-short"}
    few = LOAD.model_copy(update={"cores": 2})
    assert judged(few) == set()
    assert judged(few, realtime=True) == {"few-cores"}
    assert judged(few, realtime=True, roles=("worker",)) == set()
    assert judged(LOAD.model_copy(update={"battery": 0.5})) == {"on-battery"}


def test_late_steps_are_wrong_where_time_matters_and_told_where_it_does_not() -> None:
    late = TIMING.model_copy(update={"late": 7, "max": 0.09})
    for realtime, state in ((True, "wrong"), (False, "note")):
        found = judge_machine(PATIENT.model_copy(update={"realtime": realtime}), machine(timing=late))
        (each,) = (each for each in found if each.code)
        assert (each.code, each.state) == ("late-steps", state)
        assert "7 of 60 steps came late" in each.text
        assert "close other programs" in each.mend
    assert judged(timing=TIMING.model_copy(update={"p99": 0.02}), realtime=True) == {"uneven-steps"}


def test_settings_that_cannot_be_read_are_told_first() -> None:
    patient = PATIENT.model_copy(
        update={"settings_error": "run.algorithm.gama is not a setting: did you mean run.algorithm.gamma?"}
    )
    first = judge_machine(patient, MACHINE)[0]
    assert (first.code, first.state) == ("settings-invalid", "wrong")
    assert "did you mean" in first.text
