"""The shelf over the API: put, seen, downloaded and taken away, and what runs refer to on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.control.conftest import Api
from tests.protocol.test_demonstrations import CHUNKS, SPEC
from tmrld.configuration import checked
from tmrld.events import Feed
from tmrld.node import Node
from tmrld.payloads import WeightsManifest
from tmrld.protocol import demonstrations
from tmrld.relay.options import RelayOptions
from tmrld.relay.relay import Relay
from tmrld.rl.weights import pack
from tmrld.shelving import accepted, track_file
from tmrld.storage import shelf as shelves
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore
from tmrld.storage.shelf import KINDS, Shelf

TRACK = track_file([[0.0, 1.0, 0.0], [30.0, 1.0, 40.0]])
WEIGHTS = pack(WeightsManifest("teacher", 7, 900, 0, SPEC, {}, "sac"), {"w": np.ones(3, np.float32)}).data
FILES = {"tracks": TRACK, "weights": WEIGHTS, "demonstrations": demonstrations.pack("mine", "monza", SPEC, CHUNKS)}
GAME = {"environment": {"game": "trackmania", "clock": "realtime", "track": "monza"}}


class Desk:
    """Asks a relay whose shelf is empty."""

    def __init__(self, api: Api, folder: Path) -> None:
        layout = Layout(folder)
        layout.relay.mkdir(parents=True, exist_ok=True)
        self.store = RunStore(layout)
        self.shelf = Shelf(layout.shelf, folder / "nothing")
        self.feed = Feed()
        relay = Relay(layout, self.store, RelayOptions(), self.feed, checked)
        self._api = api
        self._api.app.state.node = Node("hub", ["relay"], self.feed, self.store, self.shelf, relay, accepted)

    def ask(self, method: str, path: str, *, status: int = 200, token: str = "operator", **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._api.tokens[token]}", **options.pop("headers", {})}

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self._api.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7400") as http:
                return await http.request(method, f"/api/v1/{path}", headers=headers, **options)

        response = asyncio.run(exchange())
        assert response.status_code == status, response.text
        return response

    def put(self, kind: str, name: str = "monza", *, status: int = 200, data: bytes | None = None, **query: Any) -> Any:
        content = FILES[kind] if data is None else data
        return self.ask("PUT", f"{kind}/{name}", status=status, content=content, params=query).json()


@pytest.fixture
def desk(api: Api, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(api, tmp_path)
    yield desk
    desk.store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_put_seen_downloaded_and_taken_away(desk: Desk, kind: str) -> None:
    assert desk.ask("GET", kind, token="viewer").json() == {"items": []}
    item = desk.put(kind)
    assert (item["name"], item["size_bytes"], item["bundled"], item["runs"]) == ("monza", len(FILES[kind]), False, [])
    assert desk.ask("GET", f"{kind}/monza", token="viewer").json() == item
    assert desk.ask("GET", kind, token="viewer").json() == {"items": [item]}
    download = desk.ask("GET", f"{kind}/monza/file", token="viewer")
    assert download.content == FILES[kind]
    assert download.headers["etag"] == f'"{item["sha256"]}"'
    assert item["file"] in download.headers["content-disposition"]
    desk.ask("GET", f"{kind}/monza/file", status=304, headers={"if-none-match": f'"{item["sha256"]}"'})
    assert desk.ask("HEAD", f"{kind}/monza/file", token="viewer").headers["content-length"] == str(len(FILES[kind]))
    desk.ask("DELETE", f"{kind}/monza", status=204)
    assert desk.ask("GET", f"{kind}/monza", status=404).json()["code"] == "not_found"


def test_facts_are_told(desk: Desk) -> None:
    about = desk.put("tracks", source="recorded", lap_time_s=31.5)["about"]
    assert about == {"length_m": pytest.approx(50.0), "points": 501, "source": "recorded", "lap_time_s": 31.5}
    assert desk.put("weights")["about"] == {"environment": SPEC.id, "update": 900, "run": "teacher", "version": 7}
    about = desk.put("demonstrations")["about"]
    assert about == {"environment": SPEC.id, "track": "monza", "episodes": 2, "transitions": 12, "finished": 2}


def test_a_line_as_text_becomes_a_track(desk: Desk) -> None:
    desk.put("tracks", data=b"0, 1, 0\n30, 1, 40\n")
    assert desk.ask("GET", "tracks/monza/file").content == TRACK


def test_the_line_of_a_track_is_thinned_for_a_map(desk: Desk) -> None:
    desk.put("tracks")
    line = desk.ask("GET", "tracks/monza/line", token="viewer", params={"max_points": 3}).json()
    assert line == {"name": "monza", "x": [0, 15, 30], "z": [0, 20, 40], "width_m": None}
    assert len(desk.ask("GET", "tracks/monza/line").json()["x"]) == 501


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_is_refused_with_a_sentence(desk: Desk, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"", b"hello", FILES[kind][:-9]):
        assert desk.put(kind, data=data, status=400)["code"] == "bad_input"
    assert "cannot be the name" in desk.put(kind, "Monza", status=400)["detail"]
    monkeypatch.setitem(shelves.MAX_BYTES, kind, len(FILES[kind]) - 1)
    refusal = desk.put(kind, status=413)
    assert refusal["code"] == "too_large"
    assert f"the limit for {kind}" in refusal["detail"]
    assert desk.ask("GET", kind).json() == {"items": []}


def test_a_name_that_is_taken_needs_to_be_replaced(desk: Desk) -> None:
    desk.put("tracks")
    desk.put("tracks")  # the same again
    other = track_file([[0, 0, 0], [0, 0, 9]])
    assert desk.put("tracks", data=other, status=409)["code"] == "conflict"
    desk.put("tracks", data=other, replace=True)
    assert desk.ask("GET", "tracks/monza/file").content == other


def test_a_viewer_may_look_but_not_touch(desk: Desk) -> None:
    desk.put("tracks")
    desk.ask("PUT", "tracks/spa", status=403, token="viewer", content=TRACK)
    desk.ask("DELETE", "tracks/monza", status=403, token="viewer")
    desk.ask("GET", "tracks", status=401, token="")


def test_whoever_watches_is_told(desk: Desk) -> None:
    with desk.feed.subscribe(("shelf",)) as events:
        desk.put("tracks")
        desk.ask("DELETE", "tracks/monza", status=204)
        told = [asyncio.run(events.get()).data for _ in range(2)]
    assert told == [{"kind": "tracks", "name": "monza"}] * 2


# What a run has driven


def test_of_which_run_and_episodes_demonstrations_are_made_is_checked_at_once(desk: Desk) -> None:
    desk.ask("POST", "runs", json={"name": "a"}, status=201)
    desk.put("demonstrations")
    path = "runs/a/demonstrations"
    for run, body, status, sentence in (
        ("b", {"name": "x"}, 404, "There is no run 'b'"),
        ("a", {"name": "x"}, 409, "the run a has driven no training episode to its end yet"),
        ("a", {"name": "x", "best_laps": 3}, 409, "the run a has driven no finished training episode to its end yet"),
        ("a", {"name": "monza"}, 409, "there are demonstrations called 'monza' already"),
        ("a", {"name": "X"}, 400, "'X' cannot be the name"),
        ("a", {"name": "x", "first": 1, "last": 2}, 422, "first, last and best_laps exclude each other"),
        ("a", {"name": "x", "last": 0}, 422, "last"),
    ):
        refusal = desk.ask("POST", f"runs/{run}/demonstrations", json=body, status=status).json()
        assert sentence in refusal["detail"] + str(refusal["errors"])
    desk.ask("POST", path, json={"name": "x"}, status=403, token="viewer")
    assert "no demonstrations were made of the run a" in desk.ask("GET", path, status=404).json()["detail"]
    desk.ask("GET", "runs/b/demonstrations", status=404)


# Runs that refer to files


@pytest.mark.parametrize(
    ("config", "path", "sentence"),
    [
        (
            {"environment": {**GAME["environment"], "track": "munza"}},
            "environment.track",
            "there is no track 'munza' on the shelf: did you mean 'monza'? `tmrld track upload munza` puts it there",
        ),
        ({"collection": {"policy": "monzo"}}, "collection.policy", "did you mean 'monza'? `tmrld weights upload monzo`"),
        ({"training": {"start_from": "x"}}, "training.start_from", "there are no weights 'x' on the shelf"),
        ({"replay": {"demonstrations": ["monza", "y"]}}, "replay.demonstrations", "there is no demonstration 'y' on the shelf"),
    ],
)
def test_a_run_that_names_what_is_not_there_is_refused(desk: Desk, config: dict[str, Any], path: str, sentence: str) -> None:
    for kind in KINDS:
        desk.put(kind)
    refusal = desk.ask("POST", "runs", json={"name": "a", "config": config}, status=422).json()
    assert refusal["code"] == "invalid_config"
    (problem,) = refusal["errors"]
    assert problem["path"] == path
    assert sentence in problem["message"]
    assert problem["value"] in refusal["detail"]
    desk.ask("POST", "runs", json={"name": "a"}, status=201)
    assert desk.ask("PATCH", "runs/a/config", json=config, status=422, params={"revision": 1}).json()["errors"] == [problem]


def test_a_run_that_names_what_is_there_is_made_and_shown(desk: Desk) -> None:
    for kind in KINDS:
        desk.put(kind)
    config = {**GAME, "collection": {"policy": "monza"}, "replay": {"demonstrations": ["monza"]}}
    desk.ask("POST", "runs", json={"name": "a", "config": config}, status=201)
    for kind in KINDS:
        assert desk.ask("GET", f"{kind}/monza").json()["runs"] == ["a"]


def test_a_path_is_a_file_on_the_workers_machine(desk: Desk) -> None:
    config = {"environment": {**GAME["environment"], "track": "C:/lines/monza.npy"}}
    desk.ask("POST", "runs", json={"name": "a", "config": config}, status=201)


def test_what_a_run_at_work_needs_is_not_taken_away(desk: Desk) -> None:
    desk.put("tracks")
    desk.ask("POST", "runs", json={"name": "a", "config": GAME, "start": "queue"}, status=201)
    refusal = desk.ask("DELETE", "tracks/monza", status=409).json()
    assert "'monza' is needed by the run a: stop it" in refusal["detail"]
    desk.ask("POST", "runs/a/stop")
    desk.ask("DELETE", "tracks/monza", status=204)
    refusal = desk.ask("POST", "runs/a/start", status=409).json()
    assert "the run a cannot start: there is no track 'monza' on the shelf" in refusal["detail"]
    desk.ask("PATCH", "runs/a/config", json={"algorithm": {"gamma": 0.9}}, params={"revision": 1})  # may still be changed
    desk.put("tracks")
    desk.ask("POST", "runs/a/queue")
