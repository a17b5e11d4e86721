"""`tmrld track record` as a person uses it: a lap is driven in a program that stands in for the game, and becomes a track."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from tests.support.standin import PATIENCE_S, Hearing, Pad, StandIn, drive_along, is_at_start, standing_in
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim.tracks import named
from tmrld.envs.trackmania.game import course_of
from tmrld.envs.trackmania.telemetry import Record, pack
from tmrld.local import placed, shelf_of
from tmrld.settings import load

pytestmark = [pytest.mark.usefixtures("display"), pytest.mark.slow]

TRACK = "easy-200-3"
ROAD = named(TRACK)


class Listener(Hearing):
    """Hears the game, which tells one program only, and tells another one what it hears."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(PATIENCE_S)
        self.port: int = self._server.getsockname()[1]
        self._other: socket.socket | None = None

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._server.close()
        if self._other is not None:
            self._other.close()

    def await_other(self) -> Self:
        """Return when the other one listens."""
        self._other, _ = self._server.accept()
        return self

    def next(self) -> Record:
        record = super().next()
        if self._other is not None:
            with contextlib.suppress(OSError):  # it has heard enough
                self._other.sendall(pack(record))
        return record


class Recording:
    """`tmrld track record` as a process."""

    def __init__(self, name: str, port: int) -> None:
        command = [sys.executable, "-m", "tmrld", "track", "record", name, "--json"]
        command += ["--set", f"run.environment.trackmania.telemetry_port={port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._said: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def said(self) -> list[str]:
        """All that it has said since this was last asked."""
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self._said.get_nowait())
        return lines

    def result(self) -> tuple[int, str]:
        """Its exit status, and what it printed."""
        assert self.process.stdout is not None
        printed = self.process.stdout.read()
        status = self.process.wait(PATIENCE_S)
        self._thread.join()
        return status, printed

    def close(self) -> None:
        """End it, however it is."""
        self.process.kill()
        self.process.wait()
        self._thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._said.put(line.rstrip())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMRLD_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def pad(tmp_path: Path) -> Iterator[Pad]:
    pad = Pad(tmp_path / "pad")
    yield pad
    pad.unplug()


@pytest.fixture
def game(pad: Pad) -> Iterator[StandIn]:
    with standing_in("--track", TRACK, "--countdown", "0.5", "--gamepad", str(pad.path)) as game:
        pad.plug_in()
        yield game


def test_a_lap_becomes_a_track_whose_line_is_the_road(game: StandIn, pad: Pad) -> None:
    """With a restart after 50 m."""
    with Listener(game.ready["telemetry_port"]) as listener, contextlib.closing(Recording("lap", listener.port)) as recording:
        listener.until(is_at_start, "the car is at the start")
        listener.await_other()
        listener.next()
        drive_along(ROAD, listener, pad, 50.0)
        pad.hold()
        pad.tap("B")
        listener.until(is_at_start, "B resets")
        assert drive_along(ROAD, listener, pad).finished
        status, printed = recording.result()

    said = recording.said()
    assert status == 0, said
    found = json.loads(printed)
    assert found["length_m"] == pytest.approx(ROAD.length, rel=0.05)
    assert found["lap_time_s"] > 8.0
    assert "the race was restarted: the recording begins anew" in said
    assert [line for line in said if "no line of a track" in line] == []

    settings = load()
    environment = EnvironmentOptions(game="trackmania", clock="realtime", track="lap")
    course = course_of(placed(environment, settings).track)
    apart = [np.linalg.norm(ROAD.line - point, axis=1).min() for point in course.line[::20]]
    assert max(apart) < 6.0, "the line leaves the road"
    assert course.name == "lap"
    assert np.linalg.norm(course.line[0] - ROAD.line[0]) < 0.5
    assert shelf_of(settings).get("tracks", "lap").sha256 == found["sha256"]


def test_ctrl_c_ends_it_and_keeps_nothing(game: StandIn, pad: Pad) -> None:
    with Listener(game.ready["telemetry_port"]) as listener, contextlib.closing(Recording("lap", listener.port)) as recording:
        listener.await_other()
        drive_along(ROAD, listener, pad, 30.0)
        os.kill(recording.process.pid, signal.SIGINT)
        status, printed = recording.result()

    assert (status, printed) == (130, "")
    assert recording.said()[-1] == "nothing was kept: the finish was not reached"
    assert shelf_of(load()).items("tracks") == []
