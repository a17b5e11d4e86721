"""Making, changing and ending runs over the API, with a relay behind it and its store on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.control.conftest import Api
from tests.worker.worlds import SPEC
from tmrld.configuration import checked
from tmrld.events import Feed
from tmrld.node import Node
from tmrld.presets import PRESETS
from tmrld.relay.options import RelayOptions
from tmrld.relay.relay import Relay
from tmrld.shelving import accepted
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore
from tmrld.storage.shelf import Shelf


class Runs:
    """Asks as an operator; the run "demo" is there, stopped."""

    def __init__(self, api: Api, folder: Path) -> None:
        layout = Layout(folder)
        layout.relay.mkdir(parents=True, exist_ok=True)
        self.store = RunStore(layout)
        relay = Relay(layout, self.store, RelayOptions(), Feed(), checked)
        self._api = api
        self.shelf = Shelf(layout.shelf)
        self._api.app.state.node = Node("hub", ["relay"], Feed(), self.store, self.shelf, relay, accepted)
        self.ask("POST", "runs", {"name": "demo", "preset": "demo"}, status=201)

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, token: str = "operator") -> Any:
        headers = {"authorization": f"Bearer {self._api.tokens[token]}"}

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self._api.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7400") as http:
                return await http.request(method, f"/api/v1/{path}", json=body, headers=headers)

        response = asyncio.run(exchange())
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    def begin(self, run: str = "demo") -> None:
        """From now on it has spaces, as a run that has been driven."""
        self.store.set_spec(run, SPEC.to_plain())


@pytest.fixture
def runs(api: Api, tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(api, tmp_path)
    yield runs
    runs.store.close()


# Runs


def test_a_run_is_made_from_a_preset_and_a_patch_over_it(runs: Runs) -> None:
    made = runs.ask("POST", "runs", {"name": "long", "preset": "long-track", "config": {"algorithm": {"tau": 0.5}}}, status=201)
    assert (made["name"], made["state"], made["revision"], made["queued_position"]) == ("long", "stopped", 1, None)
    assert (made["config"]["environment"]["track"], made["config"]["algorithm"]["tau"]) == ("long", 0.5)
    assert (made["trainer"], made["workers"], made["spark"], made["last_return"]) == (None, [], [], None)


def test_a_run_can_be_queued_as_it_is_made_or_later(runs: Runs) -> None:
    assert runs.ask("POST", "runs", {"name": "b", "start": "queue"}, status=201)["queued_position"] == 1
    assert runs.ask("POST", "runs/demo/queue")["queued_position"] == 2
    assert runs.ask("POST", "runs/demo/queue", status=409)["code"] == "conflict"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "demo"}, 409, "conflict"),
        ({"name": "No Name"}, 400, "bad_input"),
        ({"name": "x", "preset": "nothing"}, 404, "not_found"),
        ({"name": "x", "start": "later"}, 422, "invalid_request"),
        ({"name": "x", "pressed": 1}, 422, "invalid_request"),
        ({"name": "x", "config": {"algorithm": {"gamma": 2}}}, 422, "invalid_config"),
    ],
)
def test_a_run_that_cannot_be_made_is_not_made(runs: Runs, body: Any, status: int, code: str) -> None:
    assert runs.ask("POST", "runs", body, status=status)["code"] == code
    assert [run["name"] for run in runs.ask("GET", "runs")["items"]] == ["demo"]


def test_presets_come_with_their_whole_configuration(runs: Runs) -> None:
    items = runs.ask("GET", "presets")["items"]
    assert [item["name"] for item in items] == [preset.name for preset in PRESETS]
    assert items[0]["config"] == checked({})


def test_a_clone_has_the_configuration_of_the_other_and_what_is_changed_of_it(runs: Runs) -> None:
    runs.ask("PATCH", "runs/demo/config?revision=1", {"algorithm": {"gamma": 0.5}})
    clone = runs.ask("POST", "runs/demo/clone", {"name": "copy", "config": {"network": {"hidden": [8]}}}, status=201)
    assert (clone["state"], clone["revision"]) == ("stopped", 1)
    assert (clone["config"]["algorithm"]["gamma"], clone["config"]["network"]["hidden"]) == (0.5, [8])
    assert runs.ask("POST", "runs/nothing/clone", {"name": "x"}, status=404)["code"] == "not_found"


def test_a_run_is_deleted(runs: Runs) -> None:
    runs.ask("DELETE", "runs/demo", status=204)
    assert runs.ask("GET", "runs")["items"] == []
    assert runs.ask("DELETE", "runs/demo", status=404)["code"] == "not_found"


def test_an_active_run_is_not_deleted(runs: Runs) -> None:
    runs.store.set_state("demo", "paused")
    assert "stop it before you delete it" in runs.ask("DELETE", "runs/demo", status=409)["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", "runs"), ("DELETE", "runs/demo"), ("POST", "runs/demo/clone"), ("POST", "runs/demo/queue")),
        *(("PATCH", "runs/demo/config?revision=1"), ("POST", "runs/demo/config/rollback"), ("PUT", "nodes/w/assignment")),
    ],
)
def test_a_viewer_only_looks(runs: Runs, method: str, path: str) -> None:
    assert runs.ask(method, path, {}, status=403, token="viewer")["code"] == "forbidden"
    assert runs.ask("GET", "runs/demo/config", token="viewer")["revision"] == 1


# Nodes


def test_a_node_that_is_away_is_assigned_and_left_to_the_relay_again(runs: Runs) -> None:
    runs.store.nodes.seen("gamer", "worker", 1.0)
    node = runs.ask("PUT", "nodes/gamer/assignment", {"run": "demo"})
    assert (node["assigned"], node["connected"]) == ("demo", False)
    assert runs.ask("PUT", "nodes/gamer/assignment", {"run": None})["assigned"] is None
    assert runs.ask("PUT", "nodes/gamer/assignment", {"run": "nothing"}, status=404)["code"] == "not_found"
    assert runs.ask("PUT", "nodes/nobody/assignment", {"run": "demo"}, status=404)["code"] == "not_found"
    assert runs.ask("PUT", "nodes/gamer/assignment", {"run": "demo", "take_over": True})["assigned"] == "demo"


# Configuration


def test_the_schema_says_how_each_field_applies(runs: Runs) -> None:
    schema = runs.ask("GET", "schema")
    assert schema["properties"]["algorithm"]["properties"]["batch_size"]["x-applies"] == "live"


def test_an_edit_is_a_new_revision_that_says_what_it_changes(runs: Runs) -> None:
    edit = runs.ask("PATCH", "runs/demo/config?revision=1", {"algorithm": {"gamma": 0.5}, "training": {"max_updates": 9}})
    assert edit["revision"] == 2
    assert edit["config"]["algorithm"]["gamma"] == 0.5
    assert edit["changes"] == [
        {"path": "algorithm.gamma", "before": 0.98, "after": 0.5, "applies": "live"},
        {"path": "training.max_updates", "before": 0, "after": 9, "applies": "live"},
    ]
    newest = runs.ask("GET", "runs/demo/config")
    assert (newest["revision"], newest["config"], newest["author"]) == (2, edit["config"], "operator")


def test_a_dry_run_says_the_same_and_changes_nothing(runs: Runs) -> None:
    edit = runs.ask("PATCH", "runs/demo/config?revision=1&dry_run=true", {"environment": {"track": "long"}})
    assert (edit["revision"], edit["changes"][0]["applies"]) == (1, "restart")
    assert runs.ask("GET", "runs/demo/config")["revision"] == 1


def test_an_edit_without_a_difference_makes_no_revision(runs: Runs) -> None:
    edit = runs.ask("PATCH", "runs/demo/config?revision=1", {"algorithm": {"gamma": 0.98, "tau": None}})
    assert (edit["revision"], edit["changes"]) == (1, [])


def test_an_edit_of_a_stale_revision_is_a_conflict_that_names_the_newest(runs: Runs) -> None:
    runs.ask("PATCH", "runs/demo/config?revision=1", {"algorithm": {"gamma": 0.5}})
    problem = runs.ask("PATCH", "runs/demo/config?revision=1", {"algorithm": {"gamma": 0.6}}, status=409)
    assert problem["code"] == "conflict"
    assert "is at revision 2, which operator made" in problem["detail"]
    assert runs.ask("GET", "runs/demo/config")["config"]["algorithm"]["gamma"] == 0.5


def test_an_invalid_edit_changes_nothing_and_names_each_field(runs: Runs) -> None:
    patch = {"algorithm": {"gamma": 2, "gama": 1, "tau": 0.5}, "training": {"seed": "x"}}
    problem = runs.ask("PATCH", "runs/demo/config?revision=1", patch, status=422)
    assert problem["code"] == "invalid_config"
    errors = {error["path"]: error for error in problem["errors"]}
    assert set(errors) == {"algorithm.gamma", "algorithm.gama", "training.seed"}
    assert errors["algorithm.gamma"]["value"] == 2
    assert "did you mean algorithm.gamma" in errors["algorithm.gama"]["message"]
    assert runs.ask("GET", "runs/demo/config")["revision"] == 1


def test_what_only_a_new_run_can_have_is_refused_once_the_run_has_begun(runs: Runs) -> None:
    assert runs.ask("PATCH", "runs/demo/config?revision=1", {"network": {"hidden": [8]}})["revision"] == 2
    runs.begin()
    problem = runs.ask("PATCH", "runs/demo/config?revision=2", {"network": {"hidden": [9]}}, status=422)
    assert (problem["code"], problem["errors"][0]["path"]) == ("invalid_config", "network.hidden")
    assert "clone" in problem["detail"]
    assert runs.ask("PATCH", "runs/demo/config?revision=2", {"algorithm": {"gamma": 0.5}})["revision"] == 3


def test_history_tells_who_changed_what(runs: Runs) -> None:
    runs.ask("PATCH", "runs/demo/config?revision=1", {"algorithm": {"gamma": 0.5}})
    runs.ask("PATCH", "runs/demo/config?revision=2", {"algorithm": {"gamma": 0.6}}, token="admin")
    third, second, first = runs.ask("GET", "runs/demo/config/revisions")["items"]
    assert [item["revision"] for item in (third, second, first)] == [3, 2, 1]
    assert [item["author"] for item in (third, second, first)] == ["admin", "operator", "operator"]
    assert (third["changes"][0]["before"], third["changes"][0]["after"]) == (0.5, 0.6)
    assert first["changes"] == []
    assert runs.ask("GET", "runs/demo/config/revisions/2")["config"]["algorithm"]["gamma"] == 0.5
    assert runs.ask("GET", "runs/demo/config/revisions/9", status=404)["code"] == "not_found"


def test_rolling_back_is_a_new_revision(runs: Runs) -> None:
    runs.ask("PATCH", "runs/demo/config?revision=1", {"algorithm": {"gamma": 0.5}})
    edit = runs.ask("POST", "runs/demo/config/rollback", {"to": 1, "revision": 2})
    assert (edit["revision"], edit["config"]) == (3, checked({}))
    assert edit["changes"][0]["path"] == "algorithm.gamma"
    assert runs.ask("POST", "runs/demo/config/rollback", {"to": 1, "revision": 2}, status=409)["code"] == "conflict"
    assert runs.ask("POST", "runs/demo/config/rollback", {"to": 7, "revision": 3}, status=404)["code"] == "not_found"
