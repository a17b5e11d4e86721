"""A machine on which all is well, from which each test changes one thing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tmrld.doctor.diagnosis import Diagnosis
from tmrld.doctor.disk import Disk
from tmrld.doctor.machine import GIB, Load, MachineEvidence, Timing
from tmrld.doctor.network import NetworkEvidence, Way
from tmrld.doctor.packages import Package, Software, Torch
from tmrld.doctor.patient import Patient
from tmrld.doctor.ports import Port

PATIENT = Patient(
    roles=("relay", "trainer", "worker"),
    unset_roles=True,
    game=False,
    realtime=False,
    time_step_s=0.05,
    device="cpu",
    everything=False,
)
SOFTWARE = Software(
    tmrld="0.1.0",
    python="3.12.1",
    bits=64,
    system="Windows",
    release="11",
    executable=r"C:\Users\paul\python.exe",
    packages={name: Package(version="1.0") for name in ("gymnasium", "rtgym", "PIL", "torch", "numba")},
    torch=Torch(version="2.13.0+cpu", threads=4),
)
LOAD = Load(cores=8, load=0.1, memory_bytes=16 * GIB, available_bytes=8 * GIB)
DISK = Disk(folder="/data", exists=True, free_bytes=100 * GIB, wanted_bytes=22 * GIB)
TIMING = Timing(step_s=0.05, steps=60, mean=0.0002, p50=0.0001, p99=0.001, p999=0.0015, max=0.002)
MACHINE = MachineEvidence(software=SOFTWARE, load=LOAD, disk=DISK, timing=TIMING)
PORTS = (Port(what="peers", host="127.0.0.1", port=7401), Port(what="page and control API", host="127.0.0.1", port=7400))
WAY = Way(
    role="worker",
    name="gamer",
    relay="wss://relay.example:7401",
    host="relay.example",
    port=7401,
    addresses=("192.0.2.7",),
    connect_s=0.004,
    outcome="looked",
    relay_name="hub",
    relay_version="0.1.0",
    known_as="gamer",
    ahead_s=0.1,
    round_trip_s=0.004,
    linked=True,
    run="demo",
)
NETWORK = NetworkEvidence(version="0.1.0", way=WAY)


def software(**changes: Any) -> Software:
    """That machine's, with these changes."""
    return SOFTWARE.model_copy(update=changes)


def machine(**changes: Any) -> MachineEvidence:
    """The machine, with these changes."""
    return MACHINE.model_copy(update=changes)


def way(**changes: Any) -> NetworkEvidence:
    """The way to the relay, with these changes."""
    return NETWORK.model_copy(update={"way": WAY.model_copy(update=changes)})


def codes(found: Iterable[Diagnosis]) -> set[str]:
    """What is wrong or to be known."""
    return {each.code for each in found if each.state != "ok"}
