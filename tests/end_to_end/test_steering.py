"""A relay, a trainer and a worker in processes of their own, steered by the command line as people use it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.cluster import Cluster, await_that
from tmrld.cli import main
from tmrld.client import Client
from tmrld.rl import weights as weight_files

pytestmark = pytest.mark.timeout(300)

LIVE_S = 1.0
"""How soon a live change has to be in use."""
RUN: dict[str, Any] = {
    "algorithm": {"batch_size": 16, "warm_up": 100, "learning_rate_actor": 0.001, "update_to_data": 0.5},
    "network": {"hidden": [16]},
    "training": {
        "slack_transitions": 200,
        "weights_interval_updates": 25,
        "metrics_interval_updates": 10,
        "checkpoint_interval_updates": 100_000,
        "evaluation_episodes": 0,
    },
    "collection": {"chunk_steps": 20},
}
"""The embedded simulator and Soft Actor-Critic, small; no checkpoint but the last, so that an engine that restarts is noticed."""


class Desk:
    """A person at the relay's machine: runs commands, and looks at the API."""

    def __init__(self, cluster: Cluster) -> None:
        self._folder = str(cluster.data("relay"))
        self._url = cluster.programs["relay"].said("control")
        token = (cluster.data("relay") / "control.token").read_text().strip()
        self.client = Client(self._url, token)

    def do(self, *arguments: str, status: int = 0) -> Any:
        """What a command prints as JSON; for one that fails, its sentence."""
        words = [*arguments, "--api", self._url, "--data", self._folder, "--json"]
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            assert main(words) == status, err.getvalue()
        return err.getvalue() if status else json.loads(out.getvalue().splitlines()[-1])

    def trainer(self) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = self.client.get("nodes")["items"]
        return next(node for node in nodes if node["name"] == "t")

    def updates(self, run: str = "demo") -> int:
        return int(self.client.get("runs", run)["update"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("steering"), RUN) as cluster:
        cluster.start_relay()
        cluster.start("worker", "w")
        cluster.start("trainer", "t")
        desk = Desk(cluster)
        await_that(lambda: desk.updates() >= 20, "it learns")
        yield cluster


def test_a_learning_rate_changes_within_a_second_and_nothing_restarts(cluster: Cluster) -> None:
    desk = Desk(cluster)
    engine, before = cluster.programs["t"].engine(), desk.updates()
    newest = desk.client.get("runs", "demo", "config")["revision"]
    began = time.monotonic()
    edit = desk.client.patch("runs", "demo", "config", body={"algorithm": {"learning_rate_actor": 0.0005}}, revision=newest)
    await_that(lambda: desk.trainer()["values"].get("revision") == edit["revision"], "it is in use", LIVE_S)
    assert time.monotonic() - began < LIVE_S
    await_that(lambda: desk.updates() > before, "it goes on")
    assert cluster.programs["t"].engine() == engine
    assert psutil.pid_exists(engine)


def test_a_change_that_needs_it_restarts_only_the_engine_it_concerns(cluster: Cluster) -> None:
    desk = Desk(cluster)
    trainer, worker, before = cluster.programs["t"].engine(), cluster.programs["w"].engine(), desk.updates()
    edit = desk.do("run", "config", "set", "demo", "environment.reward.end_of_track=50")
    assert edit["changes"] == [{"path": "environment.reward.end_of_track", "before": 10.0, "after": 50.0, "applies": "restart"}]
    await_that(lambda: cluster.programs["w"].engines() not in ([], [worker]), "the worker has another engine")
    await_that(lambda: desk.updates() > before, "it goes on")
    assert cluster.programs["t"].engine() == trainer


def test_what_does_not_fit_is_refused_with_a_sentence(cluster: Cluster) -> None:
    desk = Desk(cluster)
    assert "clone the run" in desk.do("run", "config", "set", "demo", "network.hidden=[32]", status=2)
    assert "did you mean algorithm.gamma" in desk.do("run", "config", "set", "demo", "algorithm.gama=0.9", status=2)
    assert "stop it before you delete it" in desk.do("run", "delete", "demo", status=1)


def test_weights_are_pulled(cluster: Cluster, tmp_path: Path) -> None:
    desk = Desk(cluster)
    assert desk.do("weights", "list", "demo")["items"][0]["version"] >= 1
    pulled = desk.do("weights", "pull", "demo", "latest", "--output", str(tmp_path / "w.safetensors"))
    manifest, _ = weight_files.unpack((tmp_path / "w.safetensors").read_bytes())
    assert str(manifest.version) == pulled["version"]


def test_the_next_run_begins_when_one_is_stopped_and_a_new_one_of_its_name_begins_anew(cluster: Cluster) -> None:
    """Last, since it ends the run of the others."""
    desk = Desk(cluster)
    clone = desk.do("run", "clone", "demo", "second", "--set", "algorithm.tau=0.01", "--queue")
    assert clone["queued_position"] == 1
    desk.do("run", "stop", "demo")
    await_that(lambda: desk.updates("second") >= 10, "the queued run learns")
    desk.do("run", "delete", "demo")
    desk.do("run", "stop", "second")
    made = desk.do("run", "new", "demo", "--start", *(f"--set={key}={json.dumps(value)}" for key, value in flat(RUN)))
    assert made["update"] == 0
    await_that(lambda: desk.updates() >= 10, "a run of the former one's name learns from the beginning")
    assert {run["name"]: run["state"] for run in desk.do("run", "list")["items"]} == {"second": "stopped", "demo": "running"}


def flat(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for group, values in config.items():
        for key, value in values.items():
            yield f"{group}.{key}", value
