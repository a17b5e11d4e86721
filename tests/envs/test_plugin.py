"""Our plugin for OpenPlanet: what its files say, and what it does when AngelScript runs it with a game that is made up.

That it does the same in the game is another matter: its README says what has been seen there.
"""

from __future__ import annotations

import re
import socket
import struct
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import astuple, fields, replace
from pathlib import Path

import pytest

import tmrld
from tests.support.openplanet import PATIENCE_S, Host, hosting
from tmrld.envs.options import TrackmaniaOptions
from tmrld.envs.trackmania import replays
from tmrld.envs.trackmania.openplanet import SOURCES, packed
from tmrld.envs.trackmania.telemetry import RECORD_BYTES, Receiver, Record, parse

FIELDS = [field.name for field in fields(Record)][:-1]
TOLD = {
    "speed": "car.Speed",
    "distance": "car.Distance",
    "x": "car.Position.x",
    "y": "car.Position.y",
    "z": "car.Position.z",
    "steer": "car.InputSteer",
    "gas": "car.InputGasPedal",
    "braking": "car.InputIsBraking ? 1 : 0",
    "finished": "finished ? 1 : 0",
    "gear": "car.EngineCurGear",
    "rpm": "car.EngineRpm",
}
"""What the plugin writes for each field of a record."""
RECORD = Record(45.5, 1234.0, 500.0, 10.0, -250.5, 0.25, 1.0, 1.0, False, 3, 7500.0, 0.0)


def script(name: str) -> str:
    return (SOURCES / name).read_text("utf-8")


# What its files say


def test_its_version_is_ours() -> None:
    meta = tomllib.loads(script("info.toml"))["meta"]
    assert (meta["name"], meta["version"]) == ("tmrld", tmrld.__version__)


def test_a_record_has_the_fields_in_the_order_in_which_they_are_read() -> None:
    assert re.findall(r"^ +Add\((.+)\);$", script("Telemetry.as"), re.MULTILINE) == [TOLD[name] for name in FIELDS]
    (size,) = re.findall(r"RECORD_BYTES = (\d+);", script("Telemetry.as"))
    assert int(size) == RECORD_BYTES == struct.calcsize("<11f")


def test_its_ports_are_the_ones_that_are_called() -> None:
    ports = dict(re.findall(r"^int (\w+) = (\d+);$", script("Settings.as"), re.MULTILINE))
    options = TrackmaniaOptions()
    assert ports == {"S_TelemetryPort": str(options.telemetry_port), "S_ReplayPort": str(options.replay_port)}


def test_it_listens_to_this_machine_alone() -> None:
    scripts = "".join(script(file.name) for file in SOURCES.glob("*.as"))
    assert re.findall(r"\.Listen\((.*?),", scripts) == ["HOST"]
    assert f'const string HOST = "{TrackmaniaOptions().telemetry_host}";' in scripts


def test_it_is_part_of_what_is_installed() -> None:
    from hatchling.builders.wheel import WheelBuilder

    files = WheelBuilder(str(Path(tmrld.__file__).parent.parent)).recurse_included_files()
    names = {Path(file.distribution_path).as_posix() for file in files}
    expected = {f"tmrld/envs/trackmania/plugin/tmrld/{file.name}" for file in SOURCES.iterdir()}
    assert expected <= names
    assert {"info.toml", "Main.as", "README.md"} <= {Path(name).name for name in expected}


# What it does


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Game:
    """A running plugin."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.telemetry_port, self.replay_port = free_port(), free_port()
        self._listeners: list[Listener] = []
        host.set("S_TelemetryPort", self.telemetry_port)
        host.set("S_ReplayPort", self.replay_port)
        host.begin()
        host.said("frame")

    def drive(self, record: Record = RECORD, **state: float) -> None:
        """A race, and the car as this record has it."""
        values = dict(zip(FIELDS, map(float, astuple(record)), strict=False))
        self.host.tell(**{**values, "race": 1, "club": 1, "saves": 1, "carless": 0, "watched": 0, "breaks": 0, **state})

    def listen(self) -> Listener:
        """A program that calls."""
        self._listeners.append(Listener(self.telemetry_port))
        return self._listeners[-1]

    def close(self) -> None:
        """End those programs."""
        for listener in self._listeners:
            listener.line.close()


class Listener:
    """A program that has called the plugin."""

    def __init__(self, port: int) -> None:
        self.line = socket.create_connection(("127.0.0.1", port), PATIENCE_S)

    def next(self) -> Record:
        """The next record.  Raises EOFError when the plugin has hung up."""
        data = b""
        while len(data) < RECORD_BYTES:
            more = self.line.recv(RECORD_BYTES - len(data))
            if not more:
                raise EOFError
            data += more
        return replace(parse(data, 0.0), received=0.0)

    def until(self, wanted: Callable[[Record], bool]) -> Record:
        """The first one of that kind."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            record = self.next()
            if wanted(record):
                return record
        raise AssertionError("no such record came")

    def is_hung_up(self) -> bool:
        """Whether the plugin hangs up sooner or later."""
        try:
            self.until(lambda _: False)
        except (EOFError, ConnectionResetError):
            return True
        return False

    def silent(self) -> bool:
        """Whether nothing comes for a while, that is for many frames."""
        self.line.settimeout(0.1)
        try:
            self.line.recv(1)
        except TimeoutError:
            return True
        finally:
            self.line.settimeout(PATIENCE_S)
        return False

    def die(self) -> None:
        """End as a program that crashes."""
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.line.close()


@pytest.fixture
def game(openplanet_program: Path) -> Iterator[Game]:
    with hosting(openplanet_program, SOURCES) as host:
        game = Game(host)
        yield game
        game.close()
        assert not [line for line in host.lines() if line.startswith(("compiler", "error"))]


def test_it_says_that_it_runs_and_where(game: Game) -> None:
    assert game.host.said("json ") == (
        f"json storage/running.json version=1.2.3 telemetry_port={game.telemetry_port} replay_port={game.replay_port} "
    )
    game.host.said(f"print tmrld: telemetry on 127.0.0.1:{game.telemetry_port}")
    game.host.said(f"print tmrld: replays on 127.0.0.1:{game.replay_port}")


def test_who_calls_is_told_where_the_car_is(game: Game) -> None:
    game.drive()
    assert game.listen().next() == RECORD


def test_the_receiver_of_the_environment_understands_it(game: Game) -> None:
    game.drive(replace(RECORD, braking=0.0, gear=0))
    receiver = Receiver("127.0.0.1", game.telemetry_port, PATIENCE_S)
    try:
        assert replace(receiver.newest(), received=0.0) == replace(RECORD, braking=0.0, gear=0)
        game.drive(replace(RECORD, finished=True))
        deadline = time.monotonic() + PATIENCE_S
        while not receiver.fresh().finished:
            assert time.monotonic() < deadline
    finally:
        receiver.close()


def test_a_finish_is_told_until_the_next_race(game: Game) -> None:
    game.drive(replace(RECORD, finished=True))
    listener = game.listen()
    assert listener.next().finished
    game.drive()
    assert not listener.until(lambda record: not record.finished).finished


def test_in_menus_and_without_a_car_nothing_is_told_and_the_next_map_goes_on(game: Game) -> None:
    game.host.tell(race=0)
    listener = game.listen()
    assert listener.silent()
    game.drive(carless=1)
    assert listener.silent()
    game.drive(replace(RECORD, x=1.0))
    assert listener.next().x == 1.0
    game.host.tell(race=0)
    game.drive(replace(RECORD, x=2.0))
    assert listener.until(lambda record: record.x == 2.0)


def test_a_watched_car_counts_where_none_is_driven(game: Game) -> None:
    game.drive(watched=1)
    assert game.listen().next() == RECORD


def test_a_dead_program_is_forgotten_and_a_new_one_served_at_once(game: Game) -> None:
    game.drive()
    for _ in range(10):  # more than it keeps
        listener = game.listen()
        assert listener.next() == RECORD
        listener.die()
    assert game.listen().next() == RECORD


def test_a_program_that_ends_in_a_menu_makes_room_as_well(game: Game) -> None:
    game.host.tell(race=0)
    for _ in range(10):
        game.listen().line.close()
    kept = [game.listen() for _ in range(4)]
    game.drive()
    for listener in kept:
        assert listener.next() == RECORD


def test_several_programs_are_told_and_the_oldest_goes_when_there_are_too_many(game: Game) -> None:
    game.drive()
    listeners = [game.listen() for _ in range(4)]
    for listener in listeners:
        assert listener.next() == RECORD
    newest = game.listen()
    assert newest.next() == RECORD
    assert listeners[0].is_hung_up()
    for listener in listeners[1:]:
        assert listener.next() == RECORD


def test_a_program_that_does_not_read_holds_nobody_up(game: Game) -> None:
    game.drive()
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    stuck.connect(("127.0.0.1", game.telemetry_port))
    listener = game.listen()
    for _ in range(500):  # more than fits in between
        assert listener.next() == RECORD
    stuck.close()


def test_a_frame_that_fails_is_not_the_end(game: Game) -> None:
    game.drive()
    listener = game.listen()
    listener.next()
    game.host.tell(breaks=1)
    game.host.said("warn tmrld: the game has taken it away")
    game.drive(replace(RECORD, x=3.0))
    assert listener.until(lambda record: record.x == 3.0)
    assert len([line for line in game.host.lines() if line.startswith("warn")]) == 1


def test_another_port_is_listened_to_as_soon_as_it_is_set(game: Game) -> None:
    game.drive()
    listener = game.listen()
    listener.next()
    game.telemetry_port = free_port()
    game.host.set("S_TelemetryPort", game.telemetry_port)
    game.host.said(f"telemetry on 127.0.0.1:{game.telemetry_port}")
    assert game.listen().next() == RECORD
    assert listener.next() == RECORD  # who is connected stays so
    assert f"telemetry_port={game.telemetry_port}" in game.host.said("json ", times=2)


def test_port_0_is_none(game: Game) -> None:
    game.host.set("S_TelemetryPort", 0)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", game.telemetry_port), PATIENCE_S).close()
        except ConnectionRefusedError:
            break
    else:
        raise AssertionError("it still listens")


def test_a_taken_port_is_complained_of_once_and_taken_when_it_is_free(game: Game) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        game.telemetry_port = other.getsockname()[1]
        game.host.set("S_TelemetryPort", game.telemetry_port)
        assert f"port {game.telemetry_port} for telemetry is taken: switch the other plugin off" in game.host.said("warn ")
    game.host.said(f"telemetry on 127.0.0.1:{game.telemetry_port}")
    game.drive()
    assert game.listen().next() == RECORD
    assert len([line for line in game.host.lines() if line.startswith("warn")]) == 1


def test_a_reload_frees_the_ports_and_takes_them_again(game: Game) -> None:
    game.drive()
    listener = game.listen()
    listener.next()
    game.host.reload()
    assert listener.is_hung_up()
    game.host.said("frame", times=2)
    assert game.listen().next() == RECORD


# Replays


def test_who_calls_the_other_port_gets_a_replay(game: Game) -> None:
    game.drive()
    game.host.said("frame")
    replays.save("127.0.0.1", game.replay_port)
    file = game.host.said("print tmrld: saved ").removeprefix("print tmrld: saved ")
    assert file == "game/Replays/tmrld/2026-01-31_12-00-00_1_MapUid.Replay.Gbx"
    assert game.host.said("replay ") == f"replay {file}"
    assert game.host.said("folder ") == "folder game/Replays/tmrld"
    game.host.said("task-released 8")
    game.host.said("ghost-released 7")
    replays.save("127.0.0.1", game.replay_port)
    assert "_2_MapUid" in game.host.said("print tmrld: saved ", times=2)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"club": 0}, "the game does not let this account save one"),
        ({"carless": 1}, "there is no race"),
        ({"saves": 0}, "the game could not save game/Replays/tmrld/"),
    ],
)
def test_why_there_is_no_replay_is_told(game: Game, state: dict[str, float], reason: str) -> None:
    game.drive(RECORD, **state)
    replays.save("127.0.0.1", game.replay_port)
    assert f"no replay: {reason}" in game.host.said("warn ")


def test_in_a_menu_there_is_no_replay(game: Game) -> None:
    game.host.tell(race=0, club=1)
    replays.save("127.0.0.1", game.replay_port)
    assert "no replay: there is no race" in game.host.said("warn ")


def test_its_package_is_the_same_whenever_it_is_made() -> None:
    assert packed() == packed()
