"""Machines that join with one line: real daemons, one of them behind a proxy that cuts its line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import LEDGER_RUN, Cluster, Program, await_that

pytestmark = pytest.mark.slow


class CuttingProxy:
    """Passes TCP on to another port, in a thread of its own; `cut` breaks every line at once."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.port = 0
        self.lines = 0

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:

            def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.create_task(self._serve(reader, writer))

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._end.wait()
            server.close()
            self._cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines += 1
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # nobody is there any more
            writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        try:
            await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))
        finally:
            self._writers -= {writer, there_writer}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


class Relay:
    """A relay's daemon with its API."""

    def __init__(self, cluster: Cluster) -> None:
        self.program = cluster.start_relay()
        self.url = self.program.said("control")
        self.port = int(self.program.said("peers").rpartition(":")[2])
        self.token = (cluster.data("relay") / "control.token").read_text().strip()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def invite(self, role: str, **options: Any) -> str:
        made = self.ask("POST", "invites", {"role": role, **options})
        assert made["command"] == f"tmrld join {made['invite']}"
        return str(made["invite"])

    def node(self, name: str) -> dict[str, Any]:
        return next((node for node in self.ask("GET", "nodes")["items"] if node["name"] == name), {})

    def transitions(self) -> int:
        return int(self.ask("GET", "runs/demo")["transitions"])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, LEDGER_RUN) as cluster:
        yield cluster


def join(cluster: Cluster, name: str, invite: str, *flags: str) -> Program:
    config = cluster.folder / f"{name}.toml"
    arguments = ["join", invite, "--config", str(config), "--data", str(cluster.data(name)), *flags]
    return cluster.start_tmrld(name, arguments)


def complaint(program: Program) -> str:
    """What a program says that ends by itself, because of bad input or a refusal."""
    assert program.process.wait(30) == 2, program.errors
    return program.errors


def test_two_workers_and_a_trainer_join_by_invites_and_one_line_is_cut(cluster: Cluster) -> None:
    relay = Relay(cluster)
    with CuttingProxy(relay.port) as proxy:
        join(cluster, "learner", relay.invite("trainer", name="learner"))
        join(cluster, "near", relay.invite("worker", name="near"))
        far = join(cluster, "far", relay.invite("worker", name="far", address=f"127.0.0.1:{proxy.port}"))
        await_that(lambda: relay.node("far").get("state") == "driving", "the worker behind the proxy drives")
        settings = cluster.folder / "far.toml"
        assert settings.stat().st_mode & 0o077 == 0
        assert tomllib.loads(settings.read_text())["name"] == "far"
        for _ in range(3):
            lines, before = proxy.lines, relay.transitions()
            proxy.cut()
            await_that(lambda lines=lines: proxy.lines > lines and relay.node("far").get("connected"), "it is back")  # type: ignore[misc]
            await_that(lambda before=before: relay.transitions() > before + 100, "training goes on")  # type: ignore[misc]
        assert {node["name"] for node in relay.ask("GET", "nodes")["items"] if node["connected"]} == {"learner", "near", "far"}

        relay.ask("PATCH", "nodes/near", {"name": "nearer"})
        await_that(lambda: relay.node("nearer").get("connected"), "the renamed worker is back")
        assert relay.node("near") == {}
        episodes = "runs/demo/episodes?limit=20"
        await_that(
            lambda: any(each["worker"] == "nearer" for each in relay.ask("GET", episodes)["items"]), "it drives under its name"
        )

        relay.ask("POST", "nodes/nearer/stop")
        assert relay.node("nearer")["state"] == "stopped"
        relay.ask("POST", "nodes/nearer/start")
        await_that(lambda: relay.node("nearer")["state"] == "driving", "its engine drives again")
        relay.ask("POST", "nodes/learner/restart")

        began = time.monotonic()
        relay.ask("DELETE", "nodes/far")
        assert relay.node("far") == {}
        assert time.monotonic() - began < 1
        assert "was revoked or replaced" in complaint(far)
        again = cluster.start_tmrld("far", ["serve", "--config", str(settings)])
        assert "does not know the token" in complaint(again)


def test_invites_work_once_and_not_for_long_and_every_mistake_is_told(cluster: Cluster) -> None:
    relay = Relay(cluster)
    invite = relay.invite("worker")
    first = join(cluster, "first", invite, "--no-start")
    assert first.process.wait(30) == 0, first.errors
    assert "serve --config" in first.output
    (listed,) = relay.ask("GET", "invites")["items"]
    name = listed["used_by"]
    assert (relay.node(name)["state"], relay.node(name)["connected"]) == ("away", False)

    assert f"was used already, by {name}" in complaint(join(cluster, "second", invite))
    assert "there are settings in" in complaint_of_ours(join(cluster, "first", invite))
    assert "cut short or mistyped" in complaint(join(cluster, "second", invite[:-3]))
    assert "this is no invite" in complaint(join(cluster, "second", "tmrld_worker_abc"))

    short = relay.invite("worker", expires_s=1.0)
    await_that(lambda: time.time() > relay.ask("GET", "invites")["items"][0]["expires"], "the invite has run out")
    assert "the invite ran out" in complaint(join(cluster, "second", short))
    gone = relay.invite("trainer")
    relay.ask("DELETE", f"invites/{relay.ask('GET', 'invites')['items'][0]['id']}")
    assert "does not know the invite" in complaint(join(cluster, "second", gone))
    assert not (cluster.folder / "second.toml").exists()

    both = relay.invite("worker")
    racers = [join(cluster, name, both, "--no-start") for name in ("left", "right")]
    assert sorted(racer.process.wait(30) for racer in racers) == [0, 2]


def complaint_of_ours(program: Program) -> str:
    """The same for what is in the way on this machine."""
    assert program.process.wait(30) == 1, program.errors
    return program.errors
