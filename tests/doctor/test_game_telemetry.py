"""What the plugin tells, or does not: over real connections, to plugins that do each thing that a plugin can do wrong."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.doctor.looks import Plugin, by_code, free_port, record, telling, told, until
from tmrld.doctor import telemetry
from tmrld.doctor.diagnosis import Diagnosis
from tmrld.doctor.telemetry import Listening, Telemetry, judge_telemetry, speed_ratio, who_has
from tmrld.envs.trackmania.telemetry import RECORD_BYTES, pack

STEP_S = 0.05


def listen(port: int, until_there: Callable[[Listening], bool] = lambda _: True, host: str = "127.0.0.1") -> Telemetry:
    """Call, and hang up when that is so."""
    listening = Listening(host, port, time.perf_counter())
    until(lambda: until_there(listening), "it is told")
    return listening.heard()


def for_s(seconds: float) -> Callable[[Listening], bool]:
    return lambda listening: listening.listened_s > seconds


def judged(seen: Telemetry, *, unit: str = "m/s", moves: bool = False) -> dict[str, Diagnosis]:
    return by_code(judge_telemetry(seen, time_step_s=STEP_S, speed_unit=unit, picture_moves=moves))


def heard(**values: object) -> Telemetry:
    """What would have been heard of these records."""
    records = values.pop("told", told())
    assert isinstance(records, np.ndarray)
    plain = {
        "host": "127.0.0.1",
        "port": 9000,
        "answer": "connected",
        "told": records,
        "came_bytes": RECORD_BYTES * len(records),
        "pieces": [RECORD_BYTES] * min(64, len(records)),
        "called_s": 0.4,
        "listened_s": float(records[-1, -1]) - 0.4 if len(records) else 3.0,
    }
    return Telemetry.model_validate(plain | values)


# No connection


def test_a_host_that_there_is_not() -> None:
    found = judged(listen(9000, host="no host has blanks"))
    assert found["plugin-no-host"].mend.startswith("set trackmania.telemetry_host")


def test_a_port_on_which_nobody_listens() -> None:
    found = judged(listen(free_port()))
    assert "nothing listens at 127.0.0.1:" in found["plugin-port-closed"].text
    assert "Load plugin" in found["plugin-port-closed"].mend


def test_a_machine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "ANSWER_S", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for each in fill:  # until no more may wait, so that the next call is not answered
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        try:
            found = judged(listen(listener.getsockname()[1]))
        finally:
            for each in fill:
                each.close()
    assert set(found) == {"plugin-unreachable"}


# No records


def test_a_plugin_that_hangs_up_at_once() -> None:
    with Plugin(lambda: b"") as plugin:
        assert set(judged(listen(plugin.port, lambda each: each.hung_up))) == {"plugin-hangs-up"}


def test_a_plugin_that_has_just_lost_another_listener_is_called_again() -> None:
    numbers = itertools.count()
    with Plugin(lambda: pack(record()) if next(numbers) else b"") as plugin:
        seen = listen(plugin.port, for_s(0.6))
    assert len(seen.told) > 0
    assert "plugin-hangs-up" not in judged(seen)


def test_a_plugin_in_a_menu_is_silent() -> None:
    with Plugin(lambda: None) as plugin:
        found = judged(listen(plugin.port, for_s(0.3)))
    assert set(found) == {"plugin-silent"}
    assert "load a map" in found["plugin-silent"].mend


def test_another_program_that_has_the_only_connection_is_named() -> None:
    with Plugin(lambda: pack(record())) as plugin:
        code = f"import socket, sys; s = socket.create_connection(('127.0.0.1', {plugin.port})); s.recv(1); "
        code += "print('has it', flush=True); sys.stdin.read()"
        other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "has it\n"
            found = judged(listen(plugin.port, for_s(0.3)))
        finally:
            other.communicate()
    assert set(found) == {"plugin-held"}
    assert f"({other.pid})" in found["plugin-held"].text


def test_records_that_stop_midway() -> None:
    numbers = itertools.count()
    with Plugin(lambda: pack(record()) if next(numbers) < 50 else None) as plugin:
        found = judged(listen(plugin.port, for_s(1.8)))
    assert set(found) == {"plugin-stops"}
    assert "50 records" in found["plugin-stops"].text


def test_a_plugin_that_hangs_up_midway() -> None:
    numbers = itertools.count()
    with Plugin(lambda: pack(record()) if next(numbers) < 20 else b"") as plugin:
        found = judged(listen(plugin.port, lambda each: each.hung_up))
    assert set(found) == {"plugin-hangs-up"}


# No sense


def test_a_program_that_speaks_another_language() -> None:
    with Plugin(lambda: b"HTTP/1.1 400 Bad Request\r\n") as plugin:
        found = judged(listen(plugin.port, for_s(0.2)))
    assert "HTTP/1.1 400 Bad Request" in found["plugin-another-program"].text


def test_another_plugin_with_longer_records() -> None:
    data = struct.pack("<19f", *[1e30] * 19)
    with Plugin(lambda: data, rate=50) as plugin:
        found = judged(listen(plugin.port, for_s(0.5)))
    assert "76 bytes" in found["plugin-another-program"].text


def test_another_version_of_the_plugin_with_other_numbers() -> None:
    data = struct.pack("<11f", *[float("nan")] * 11)
    with Plugin(lambda: data, rate=50) as plugin:
        seen = listen(plugin.port, for_s(0.5))
    found = judged(seen)
    assert set(found) == {"plugin-nonsense"}
    assert not telemetry.talks(seen)


def test_one_bad_record_among_many_is_forgiven() -> None:
    records = told(seconds=3)
    records[17, 2] = np.inf
    assert set(judged(heard(told=records))) == set()


# Rates


def test_as_many_records_as_a_game_has_frames_are_well() -> None:
    assert judged(heard(told=told(rate=60.0))) == {}


def test_a_game_that_draws_too_seldom() -> None:
    with Plugin(lambda: pack(record()), rate=8) as plugin:
        found = judged(listen(plugin.port, for_s(1.0)))
    assert found["telemetry-too-slow"].state == "wrong"


@pytest.mark.parametrize(
    ("rate", "code"), [(15, "telemetry-too-slow"), (20, "telemetry-slow"), (30, "telemetry-slow"), (40, ""), (144, "")]
)
def test_how_often_is_often_enough(rate: float, code: str) -> None:
    assert set(judged(heard(told=told(rate=rate)))) == ({code} if code else set())


def test_how_often_depends_on_the_time_step() -> None:
    seen = heard(told=told(rate=30))
    assert by_code(judge_telemetry(seen, time_step_s=0.1, speed_unit="m/s", picture_moves=False)) == {}


# Values


def test_a_plugin_that_tells_nothing_but_zeros() -> None:
    with Plugin(lambda: bytes(RECORD_BYTES)) as plugin:
        assert "telemetry-zero" in judged(listen(plugin.port, for_s(0.3)))


def test_records_that_stay_the_same_while_the_picture_moves() -> None:
    with telling(record) as plugin:
        seen = listen(plugin.port, for_s(0.3))
    assert "telemetry-frozen" in judged(seen, moves=True)
    assert "telemetry-frozen" not in judged(seen)


def test_a_race_that_is_finished_is_noted() -> None:
    with telling(lambda: record(finished=True)) as plugin:
        found = judged(listen(plugin.port, for_s(0.3)))
    assert found["race-finished"].state == "note"


@pytest.mark.parametrize(("unit", "factor"), [("m/s", 1.0), ("km/h", 3.6)])
def test_the_unit_of_the_speed_shows_in_the_car_s_movement(unit: str, factor: float) -> None:
    began = time.perf_counter()
    with telling(lambda: record(speed=40 * factor, x=40.0 * (time.perf_counter() - began))) as plugin:
        seen = listen(plugin.port, for_s(1.5))
    other = {"m/s": "km/h", "km/h": "m/s"}[unit]
    assert "speed-unit" not in judged(seen, unit=unit)
    assert judged(seen, unit=other)["speed-unit"].mend == f'set trackmania.speed_unit = "{unit}"'


def test_a_speed_that_no_unit_explains_is_nonsense() -> None:
    records = told(speed=500.0)
    records[:, 2] = 10.0 * records[:, -1]
    assert set(judged(heard(told=records))) == {"plugin-nonsense"}


def test_a_reset_does_not_count_as_movement() -> None:
    records = told(seconds=4, speed=20.0)
    records[:, 4] = 20.0 * records[:, -1]
    records[120:, 4] -= 1000.0
    assert speed_ratio(records) == pytest.approx(1.0, rel=0.05)


def test_a_car_that_stands_tells_no_unit() -> None:
    assert speed_ratio(told()) is None


# What is kept


def test_each_record_is_kept_with_when_it_came() -> None:
    numbers = itertools.count()
    with telling(lambda: record(x=float(next(numbers)))) as plugin:
        seen = listen(plugin.port, for_s(0.3))
    assert seen.told[:, 2].tolist() == list(range(len(seen.told)))
    assert len(seen.told) > 3
    assert (np.diff(seen.told[:, -1]) >= 0).all()
    assert seen.called_s <= seen.told[0, -1] <= seen.called_s + seen.listened_s
    assert Telemetry.model_validate(seen.model_dump()).told is seen.told


def test_who_listens_is_told_with_its_number() -> None:
    code = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        listener, holders = who_has(json.loads(other.stdout.readline()))
    finally:
        other.communicate()
    assert listener.endswith(f"({other.pid})")
    assert holders == []
