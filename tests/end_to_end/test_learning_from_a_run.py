"""A second run learns from what a first one has driven: its log, by way of the shelf, makes half of each batch (arXiv 2302.02948)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_steering import RUN, Desk
from tests.support.cluster import Cluster, await_that
from tmrld.protocol.demonstrations import unpack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FIRST: dict[str, Any] = {
    **RUN,
    "environment": {"max_steps": 60},
    "training": {**RUN["training"], "evaluation_interval_updates": 10, "evaluation_episodes": 1},
}


def test_a_run_learns_from_what_an_earlier_one_has_driven(tmp_path: Path) -> None:
    with Cluster(tmp_path, FIRST) as cluster:
        cluster.start_relay()
        cluster.start("worker", "w")
        cluster.start("trainer", "t")
        desk = Desk(cluster)
        await_that(lambda: desk.client.get("runs", "demo", "episodes", purpose="evaluation")["items"], "it was evaluated")
        await_that(lambda: desk.client.get("runs", "demo")["episodes"] >= 6, "it has driven")
        desk.client.post("runs", "demo", "stop")
        assert "no run 'dema'" in desk.do("demonstration", "from-run", "dema", "earlier", status=1)
        assert "no finished training episode" in desk.do(
            "demonstration", "from-run", "demo", "earlier", "--finished-only", status=1
        )

        item = desk.do("demonstration", "from-run", "demo", "earlier", "--last", "5")
        assert (item["name"], item["missing"]) == ("earlier", 0)
        assert (item["about"]["episodes"], item["about"]["run"], item["about"]["track"]) == (5, "demo", "default")
        data, _ = desk.client.download("demonstrations", "earlier", "file")
        driven = desk.client.get("runs", "demo", "episodes", purpose="train", limit=5)["items"]
        assert [chunk.episode for chunk in unpack(data).chunks if chunk.ended] == [each["episode"] for each in reversed(driven)]
        assert "already" in desk.do("demonstration", "from-run", "demo", "earlier", status=1)

        learning = {"replay": {"demonstrations": ["earlier"], "demonstration_share": 0.5}}
        desk.client.post("runs", body={"name": "second", "config": {**FIRST, **learning}, "start": "now"})
        await_that(lambda: desk.updates("second") >= 20, "the second run learns")
        metrics = desk.client.get("runs", "second", "metrics", names="demonstration_transitions")
        assert metrics["series"][0]["values"][-1] == item["about"]["transitions"] == sum(each["steps"] for each in driven)
