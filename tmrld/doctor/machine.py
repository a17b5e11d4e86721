"""The machine: its processor, memory and power, and whether it keeps time."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import psutil

from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.disk import Disk, gather_disk, judge_disk
from tmrld.doctor.packages import Software, gather_software, judge_software
from tmrld.doctor.patient import Evidence, Patient
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.timekeeping import Distribution, verdict
from tmrld.errors import TmrldError
from tmrld.settings import Settings

GIB = 2**30
LOOK_S = 1.0
"""How long it is watched how busy the processor is."""
TIMED_S = 3.0
"""How long is driven to see whether time is kept."""
BUSY = 0.75
"""Of the processor, by others: what is left is not always there when a step is due."""
FEW_CORES = 4
SHORT_BYTES, SCARCE_BYTES = 512 * 2**20, 2 * GIB
"""Memory that is too little for anything, and for training."""


class Load(Evidence):
    """How busy the processor is with what others do: ``load`` from 0 to 1, and who causes most of it, as in "game.exe 180 %"."""

    cores: int
    load: float
    busiest: tuple[str, ...] = ()
    memory_bytes: int
    available_bytes: int
    battery: float | None = None
    """How full it is, from 0 to 1; None where there is none, or the machine is plugged in."""


class Timing(Evidence):
    """What driving the simulator in real time came to, in seconds; ``failure`` says why it did not happen."""

    step_s: float
    steps: int = 0
    late: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0
    failure: str = ""


class MachineEvidence(Evidence):
    """All that was seen of a machine."""

    software: Software
    load: Load
    disk: Disk
    timing: Timing | None = None


# Looking


def gather_machine(settings: Settings, patient: Patient, say: Callable[[str], None] = lambda sentence: None) -> MachineEvidence:
    """Look at the machine; takes about ten seconds, and ``say`` is told what comes next."""
    say("how busy this machine is")
    load = gather_load()
    say("the data folder")
    disk = gather_disk(settings)
    say("the packages")
    software = gather_software(patient)
    timing = None
    if patient.does("worker"):
        say(f"whether this machine keeps {1 / patient.time_step_s:.4g} Hz")
        timing = gather_timing(patient)
    return MachineEvidence(software=software, load=load, disk=disk, timing=timing)


def gather_load(watched_s: float = LOOK_S) -> Load:
    """How busy the machine is; watches it for a while."""
    others = {}
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            process.cpu_percent()
            others[process] = str(process.info["name"])
    psutil.cpu_percent()
    time.sleep(watched_s)
    load = psutil.cpu_percent() / 100
    shares = []
    for process, name in others.items():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and "idle" not in name.lower():
                shares.append((process.cpu_percent(), f"{name} ({process.pid})"))
    memory = psutil.virtual_memory()
    return Load(
        cores=psutil.cpu_count() or 1,
        load=load,
        busiest=tuple(f"{name} {share:.0f} %" for share, name in sorted(shares, reverse=True)[:3] if share >= 10),
        memory_bytes=memory.total,
        available_bytes=memory.available,
        battery=_battery(),
    )


def _battery() -> float | None:
    """None where there is none, or it is not used."""
    if not hasattr(psutil, "sensors_battery"):
        return None
    with contextlib.suppress(OSError, NotImplementedError, ValueError):
        battery = psutil.sensors_battery()
        if battery is not None and battery.power_plugged is False:
            return float(battery.percent) / 100
    return None


def gather_timing(patient: Patient, seconds: float = TIMED_S) -> Timing:
    """Drive the simulator in real time, at the pace of the patient's environment."""
    step_s = patient.time_step_s
    steps = max(20, min(round(seconds / step_s), 2000))
    try:
        from tmrld.worker.measuring import measured

        options = EnvironmentOptions(clock="realtime", time_step_s=step_s, start_obs_capture_s=0.8 * step_s)
        found = measured(options, "random", steps, 0)
    except (ImportError, OSError, TmrldError) as error:
        return Timing(step_s=step_s, failure=str(error))
    spread = Distribution.of(found.step)
    if spread is None:
        return Timing(step_s=step_s, failure="no step was measured")
    return Timing(
        step_s=step_s,
        steps=found.steps,
        late=found.late,
        mean=spread.mean,
        p50=spread.p50,
        p99=spread.p99,
        p999=spread.p999,
        max=spread.max,
    )


# Judging


def judge_machine(patient: Patient, seen: MachineEvidence) -> list[Diagnosis]:
    """Python and packages, the machine itself, its disk, and how it keeps time."""
    return [
        *_judge_settings(patient),
        *judge_software(patient, seen.software),
        *_judge_load(patient, seen.load),
        *judge_disk(patient, seen.disk),
        *(_judge_timing(patient, seen) if seen.timing is not None else ()),
    ]


def _judge_settings(patient: Patient) -> Iterator[Diagnosis]:
    if patient.settings_error:
        yield wrong(
            "settings",
            "settings",
            patient.settings_error,
            "mend that; `tmrld settings` prints every setting with its default.  What follows is judged by the defaults",
            code="settings-invalid",
        )
        return
    where = patient.settings_file or "no settings file"
    roles = ", ".join(patient.roles)
    said = f"{where}: no role is set, so what `tmrld up` needs is looked at" if patient.unset_roles else f"{where}: {roles}"
    yield ok("settings", "settings", said)


def _judge_load(patient: Patient, seen: Load) -> Iterator[Diagnosis]:
    area = "machine"
    busiest = f" (most of it {', '.join(seen.busiest)})" if seen.busiest else ""
    text = f"{seen.cores} cores, {seen.load:.0%} busy"
    if seen.load > BUSY:
        yield note(
            area,
            "processor",
            f"{text}{busiest}: what is left is not always there when a step is due",
            "close other programs, and limit the frame rate of the game to 60 or 30",
            code="cpu-busy",
        )
    elif seen.cores < FEW_CORES and patient.realtime and {"trainer", "worker"} <= set(patient.roles):
        yield note(
            area,
            "processor",
            f"{text}: a trainer beside a worker in real time takes {FEW_CORES}",
            "let another machine train: `tmrld invite --role trainer`, or let the simulator wait: environment.clock = lockstep",
            code="few-cores",
        )
    else:
        yield ok(area, "processor", text)
    memory = f"{seen.available_bytes / GIB:.1f} of {seen.memory_bytes / GIB:.1f} GiB of memory are free"
    if seen.available_bytes < SHORT_BYTES:
        yield wrong(area, "memory", f"{memory}, too little for anything", "close other programs", code="memory-short")
    elif seen.available_bytes < SCARCE_BYTES and patient.does("trainer", "worker"):
        yield note(
            area,
            "memory",
            f"{memory}: with images a trainer takes more",
            "close other programs, or make replay.capacity smaller",
            code="memory-scarce",
        )
    else:
        yield ok(area, "memory", memory)
    if seen.battery is not None:
        yield note(
            area,
            "power",
            f"this machine runs on its battery ({seen.battery:.0%}), which makes the processor slow",
            "plug it in",
            code="on-battery",
        )


def _judge_timing(patient: Patient, seen: MachineEvidence) -> Iterator[Diagnosis]:
    timing = seen.timing
    assert timing is not None
    area, check = "timing", "time steps"
    if timing.failure:
        if not any(package.error for package in seen.software.packages.values()):  # otherwise that is the reason
            yield wrong(
                area,
                check,
                f"whether this machine keeps time could not be measured: {timing.failure}",
                "`tmrld env bench tmrld/TM20Lidar-v0` says more",
                code="timing-unmeasured",
            )
        return
    spread = Distribution(timing.mean, timing.p50, timing.p99, timing.p999, timing.max)
    keeps, words = verdict(timing.step_s, timing.steps, timing.late, spread)
    if keeps:
        yield ok(area, check, words)
        return
    text, _, advice = words.partition(". ")
    code = "late-steps" if timing.late else "uneven-steps"
    if timing.late and patient.realtime and "worker" in patient.roles:
        yield wrong(area, check, text, advice, code=code)
    else:
        beside = "" if patient.realtime else "; in lockstep, as these settings have it, nothing is late"
        yield note(area, check, text + beside, advice, code=code)
