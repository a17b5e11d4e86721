import logging

import pytest

from tests.control.conftest import Api
from tests.support.fake_node import DATA, SHA256


def test_health_needs_no_token(api: Api) -> None:
    assert api.get("health", token="").json() == {"status": "ok", "uptime_s": 1.5, "roles": ["relay"]}


def test_version_names_the_node(api: Api) -> None:
    assert api.get("version").json()["node"] == "hub"


def test_numbers_that_json_does_not_know_are_null(api: Api) -> None:
    assert api.get("nodes").json()["items"][0]["values"] == {"speed": None}
    assert api.get("runs/demo/episodes").json()["items"][0]["episode_return"] is None
    assert api.get("runs/demo/weights").json()["items"][0]["evaluation"]["mean_return"] is None
    assert api.get("runs/demo/metrics?names=a").json()["series"][0]["values"] == [0.5, None, None]


def test_runs_are_listed_and_shown(api: Api) -> None:
    (listed,) = api.get("runs").json()["items"]
    assert listed == api.get("runs/demo").json()
    assert (listed["state"], listed["config"]) == ("running", {"algorithm": {"gamma": 0.995}})


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_an_operator_moves_a_run(api: Api, verb: str) -> None:
    response = api.post(f"runs/demo/{verb}", token="operator")
    assert (response.status_code, response.json()["name"]) == (200, "demo")
    assert api.node.moves == [("demo", verb)]


def test_the_log_says_who_moved_a_run(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        api.post("runs/demo/stop", token="admin")
    assert "admin asks the run demo to stop" in caplog.text


def test_metrics_lists_names_and_returns_only_the_series_asked_for(api: Api) -> None:
    assert api.get("runs/demo/metrics").json() == {"run": "demo", "names": ["critic/loss", "pace/updates"], "series": []}
    body = api.get("runs/demo/metrics?names=critic/loss,%20b,&start=5&stop=9&max_points=100").json()
    assert [series["name"] for series in body["series"]] == ["critic/loss", "b"]
    assert api.node.asked == [("demo", ["critic/loss", "b"], 5, 9, 100)]


def test_episodes_are_limited_and_chosen_by_purpose(api: Api) -> None:
    api.get("runs/demo/episodes")
    api.get("runs/demo/episodes?limit=3&purpose=evaluation")
    assert api.node.asked == [("demo", 50, None), ("demo", 3, "evaluation")]


def test_weights_are_downloaded_as_a_file(api: Api) -> None:
    response = api.get("runs/demo/weights/latest")
    assert response.content == DATA
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == 'attachment; filename="demo-v2.safetensors"'
    assert response.headers["content-location"] == "/api/v1/runs/demo/weights/2"
    assert response.headers["etag"] == f'"{SHA256}"'


def test_weights_that_one_has_are_not_sent_again(api: Api) -> None:
    etag = api.get("runs/demo/weights/2").headers["etag"]
    response = api.get("runs/demo/weights/latest", if_none_match=etag)
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)


def test_a_download_goes_on_where_it_broke_off(api: Api) -> None:
    response = api.get("runs/demo/weights/2", range="bytes=1000-")
    assert (response.status_code, response.content) == (206, DATA[1000:])
    assert response.headers["content-range"] == "bytes 1000-1023/1024"


def test_head_tells_of_a_download_without_sending_it(api: Api) -> None:
    assert api.ask("HEAD", "runs/demo/weights/latest").headers["content-length"] == "1024"
