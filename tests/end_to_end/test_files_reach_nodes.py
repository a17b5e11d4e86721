"""A run names files on the relay's shelf: they get to a worker and a trainer that have none of them, and are used there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_steering import RUN
from tests.support.cluster import Cluster, await_that
from tmrld.cli import main
from tmrld.client import Client
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.trackmania.spec import flavour_spec
from tmrld.errors import NotFound
from tmrld.payloads import WeightsManifest
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.weights import pack
from tmrld.shelving import track_file

pytestmark = pytest.mark.timeout(300)

LIDAR = "tmrld/TM20Lidar-v0"
GAME: dict[str, Any] = {"environment": {"id": LIDAR, "game": "trackmania", "clock": "realtime", "track": "monza"}}
TRACK = track_file([[0.0, 1.0, 0.0], [30.0, 1.0, 40.0]])
LONGER = track_file([[0.0, 1.0, 0.0], [60.0, 1.0, 80.0]])


def teacher() -> bytes:
    """A policy of the simulator's LIDAR, as random as they are made."""
    network, spec = NetworkOptions(hidden=(16,)), flavour_spec(EnvironmentOptions())
    tensors = make_algorithm(AlgorithmOptions(), network, spec, 0).policy_tensors()
    return pack(WeightsManifest("school", 3, 500, 0, spec, network.model_dump(mode="json"), "sac"), tensors).data


class Desk:
    """A person at a machine of their own, whose shelf is in the folder ``mine``, and the relay's API."""

    def __init__(self, cluster: Cluster, mine: Path) -> None:
        self._url = cluster.programs["relay"].said("control")
        self._token = (cluster.data("relay") / "control.token").read_text().strip()
        self._mine = str(mine)
        self.client = Client(self._url, self._token)

    def do(self, *words: str, status: int = 0) -> Any:
        """What a command prints as JSON; for one that fails, its sentence."""
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            assert main([*words, "--data", self._mine, "--json"]) == status, err.getvalue()
        return err.getvalue() if status else json.loads(out.getvalue().splitlines()[-1])

    def ask(self, *words: str) -> Any:
        return self.do(*words, "--api", self._url, "--token", self._token)

    def run(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("runs", name)
        return found


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, GAME) as cluster:
        cluster.start_relay()
        yield cluster


def fetched(cluster: Cluster, node: str, role: str) -> dict[str, bytes]:
    """The files of the shelf that lie at a node, by their names."""
    return {path.name: path.read_bytes() for path in (cluster.data(node) / role / "files").glob("*/*/*")}


@pytest.mark.slow
def test_weights_and_demonstrations_are_driven_by_and_learned_from(relay: Cluster, tmp_path: Path) -> None:
    desk = Desk(relay, tmp_path / "mine")
    weights = tmp_path / "teacher.safetensors"
    weights.write_bytes(teacher())
    desk.do("weights", "import", str(weights))
    steps = ["--set", "run.environment.max_steps=60"]
    (saved,) = desk.do("env", "run", LIDAR, "--policy", "scripted", "--episodes", "3", "--save", "laps", *steps)["saved"]
    desk.ask("weights", "upload", "teacher")
    desk.ask("demonstration", "upload", "laps")

    desk.client.post("runs", "demo", "stop")
    config = {
        **RUN,
        "training": {**RUN["training"], "start_from": "teacher"},
        "collection": {**RUN["collection"], "policy": "teacher"},
        "replay": {"demonstrations": ["laps"], "demonstration_share": 0.5},
    }
    desk.client.post("runs", body={"name": "school", "config": config, "start": "now"})
    relay.start("worker", "w")
    relay.start("trainer", "t")
    await_that(lambda: desk.run("school")["update"] >= 20, "the run has learned")

    assert fetched(relay, "w", "worker") == {"teacher.safetensors": weights.read_bytes()}
    assert set(fetched(relay, "t", "trainer")) == {"teacher.safetensors", "laps.demonstrations"}
    metrics = desk.client.get("runs", "school", "metrics", names="demonstration_transitions")
    assert metrics["series"][0]["values"][-1] == saved["transitions"] == 180
    episodes = await_that(lambda: desk.client.get("runs", "school", "episodes")["items"], "an episode was driven")
    assert {episode["actor"] for episode in episodes} == {"scripted"}
    assert desk.client.get("weights", "teacher")["runs"] == ["school"]


def test_a_track_gets_to_the_worker_that_waits_for_it_and_so_does_a_better_one(relay: Cluster, tmp_path: Path) -> None:
    desk = Desk(relay, tmp_path / "mine")
    relay.start("worker", "w")
    await_that(lambda: desk.client.get("nodes")["items"], "the worker is there")
    assert fetched(relay, "w", "worker") == {}
    assert "the run waits: there is no track 'monza' on the shelf" in relay.programs["relay"].errors

    for data, end in ((TRACK, 30.0), (LONGER, 60.0)):
        desk.client.upload("tracks", "monza", data=data, replace=True)
        await_that(partial(ends_at, desk, end), f"the worker tells the line that ends at {end:g} m")
        assert fetched(relay, "w", "worker") == {"monza.npy": data}


def ends_at(desk: Desk, x: float) -> bool:
    """Whether the track that the worker has told ends there."""
    try:
        track = desk.client.get("runs", "demo", "track")
    except NotFound:  # nothing was told yet
        return False
    return bool(track["name"] == "monza" and track["x"][-1] == x)
