import logging

import pytest

from tests.control.conftest import Api
from tests.support.fake_results import DATA, SHA256


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
    body = api.get("runs/demo/metrics").json()
    assert (body["run"], body["names"], body["series"]) == ("demo", ["critic/loss", "updates_per_s"], [])
    body = api.get("runs/demo/metrics?names=critic/loss,%20b,&start=5&stop=9&max_points=100").json()
    assert [series["name"] for series in body["series"]] == ["critic/loss", "b"]
    assert body["series"][0]["times"] == [1000.0, 1001.0, 1002.0]
    assert api.node.asked == [("demo", ["critic/loss", "b"], 5, 9, 100)]


def test_metrics_come_with_what_they_mean_group_by_group(api: Api) -> None:
    pace, own = api.get("runs/demo/metrics").json()["info"]
    assert (pace["name"], pace["group"], pace["unit"], pace["better"]) == ("updates_per_s", "Pace", "1/s", "higher")
    assert pace["description"].startswith("Gradient updates per second")
    assert (own["name"], own["title"], own["group"], own["better"]) == ("critic/loss", "critic/loss", "Other", None)


def test_metrics_are_had_as_comma_separated_values(api: Api) -> None:
    response = api.get("runs/demo/metrics?names=loss,=cmd&format=csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    lines = response.text.splitlines()
    assert lines[:2] == ["name,update,transitions,time,value", "loss,1,10,1000.0,0.5"]
    assert lines[3] == "loss,3,30,1002.0,-inf"
    assert lines[4] == "'=cmd,1,10,1000.0,0.5"


def test_episodes_are_limited_chosen_by_purpose_and_paged(api: Api) -> None:
    assert api.get("runs/demo/episodes").json()["next"] == "7"
    api.get("runs/demo/episodes?limit=3&purpose=evaluation&before=7")
    assert api.node.asked == [("demo", 50, None, None), ("demo", 3, "evaluation", "7")]


def test_an_episode_is_shown_with_its_line(api: Api) -> None:
    body = api.get("runs/demo/episodes/latest").json()
    assert (body["episode"], body["worker"]) == ("e1", "gamer")
    assert body["trajectory"] == {"x": [0.0, 1.0], "z": [0.0, 2.0], "speed": [0.0, None], "time": [0.0, 0.05]}
    assert api.get("runs/demo/episodes/best").json()["code"] == "not_found"


def test_the_track_is_shown(api: Api) -> None:
    assert api.get("runs/demo/track").json() == {"name": "oval", "x": [0.0, 1.0], "z": [0.0, 2.0], "width_m": 16.0}


def test_logs_are_shown_of_nodes_and_of_runs(api: Api) -> None:
    line = {"time": 1003.0, "level": "INFO", "source": "worker", "text": "hello"}
    assert api.get("nodes/relay/log").json() == {"items": [line]}
    assert api.get("runs/demo/log?limit=5").json() == {"items": [line]}
    assert api.node.asked == [("relay", 200), ("demo", 5)]
    assert api.get("nodes/nobody/log").status_code == 404


def test_the_bottleneck_is_named_with_a_sentence(api: Api) -> None:
    assert api.get("runs/demo/bottleneck").json() == {
        "part": "updating",
        "sentence": "No trainer works for this run: connect one, or free one that works for another run.",
    }


@pytest.mark.parametrize(("verb", "pinned"), [("pin", True), ("unpin", False)])
def test_an_operator_pins_and_unpins_weights(api: Api, verb: str, pinned: bool) -> None:
    assert api.post(f"runs/demo/weights/2/{verb}").json()["version"] == 2
    assert api.node.asked == [("demo", 2, pinned)]
    assert api.post(f"runs/demo/weights/3/{verb}").status_code == 404
    assert api.post(f"runs/demo/weights/2/{verb}", token="viewer").status_code == 403


def test_prometheus_is_told_what_slow_readers_of_live_events_do_not_get(api: Api) -> None:
    feed = api.node.feed
    with feed.subscribe(("episode",), capacity=2):
        for n in range(5):
            feed.publish("episode", {"episode": n})
        lines = api.get("../../metrics").text.splitlines()
    assert "tmrld_live_readers 1" in lines
    assert "tmrld_live_events_skipped_total 3" in lines


def test_prometheus_is_told_what_the_relay_measures(api: Api) -> None:
    response = api.get("../../metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.text.splitlines()
    assert 'tmrld_node_latency_seconds{node="gamer",role="worker"} 0.012' in lines
    assert 'tmrld_node_value{node="gamer",role="worker",name="speed"} NaN' in lines
    assert 'tmrld_run_state{run="demo",state="running"} 1' in lines
    assert 'tmrld_run_metric{run="demo",name="loss"} 0.5' in lines
    assert "# TYPE tmrld_run_updates gauge" in lines
    assert 'tmrld_run_unstored_chunks{run="demo"} 3' in lines
    assert 'tmrld_run_unstored_bytes{run="demo"} 4096' in lines
    assert 'tmrld_run_storage_bytes{run="demo",kind="checkpoints"} 200' in lines
    assert 'tmrld_storage_bytes{kind="leftovers"} 7' in lines
    assert "tmrld_storage_used_bytes 382" in lines
    assert "tmrld_storage_quota_bytes 10000" in lines
    assert "tmrld_storage_free_bytes 9000" in lines
    assert api.get("../../metrics", token="").status_code == 401


def test_what_takes_room_is_told_by_run_and_kind(api: Api) -> None:
    answer = api.get("storage", token="viewer").json()
    assert answer["runs"] == [
        {"run": "demo", "log_bytes": 100, "weights_bytes": 30, "checkpoints_bytes": 200, "total_bytes": 330}
    ]
    assert (answer["used_bytes"], answer["quota_bytes"], answer["log_quota_bytes"]) == (382, 10_000, 1_000)
    assert (answer["spool_bytes"], answer["cache_bytes"], answer["files_bytes"], answer["free_bytes"]) == (2, 3, 4, 9_000)


def test_an_operator_cleans_and_is_told_what_has_gone(api: Api) -> None:
    answer = api.post("storage/clean", body={"run": "demo", "dry_run": True}).json()
    assert answer["items"] == [
        {"run": "", "kind": "leftovers", "what": "relay/x.damaged", "size_bytes": 7},
        {"run": "demo", "kind": "weights", "what": "version 1", "size_bytes": 30},
    ]
    assert (answer["freed_bytes"], answer["dry_run"]) == (37, True)
    api.post("storage/clean", body={})
    assert api.node.asked == [("demo", True), (None, False)]
    assert api.post("storage/clean", body={"run": "other"}).status_code == 404
    assert api.post("storage/clean", body={}, token="viewer").status_code == 403


@pytest.mark.parametrize(("verb", "pinned"), [("pin", True), ("unpin", False)])
def test_an_operator_pins_and_unpins_checkpoints(api: Api, verb: str, pinned: bool) -> None:
    (listed,) = api.get("runs/demo/checkpoints").json()["items"]
    assert (listed["update"], listed["best"], listed["pinned"], listed["damaged"]) == (20, True, False, False)
    assert api.post(f"runs/demo/checkpoints/20/{verb}").json() == listed
    assert api.node.asked == [("demo", 20, pinned)]
    assert api.post(f"runs/demo/checkpoints/21/{verb}").status_code == 404
    assert api.post(f"runs/demo/checkpoints/20/{verb}", token="viewer").status_code == 403


def test_an_operator_leads_a_run_back_to_a_checkpoint(api: Api) -> None:
    assert api.post("runs/demo/checkpoints/20/resume?fewer_samples=true").json()["lineage"] == 1
    assert api.post("runs/demo/checkpoints/20/resume").status_code == 409
    assert api.node.asked == [("demo", 20, True), ("demo", 20, False)]
    assert api.post("runs/demo/checkpoints/20/resume", token="viewer").status_code == 403


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


def test_curves_as_csv_of_a_run_that_does_not_exist_are_not_found_whatever_it_is_called(api: Api) -> None:
    assert api.get("runs/®󆯆/metrics?format=csv").status_code == 404


def test_an_operator_has_a_node_examined_and_a_viewer_reads_what_was_found(api: Api) -> None:
    assert api.get("nodes/gamer/doctor").json()["code"] == "not_found"
    assert api.post("nodes/gamer/doctor", token="viewer").json()["code"] == "forbidden"
    found = api.post("nodes/gamer/doctor", token="operator").json()
    assert (found["time"], found["state"], found["picture"]) == (1004.0, "wrong", "anBlZw==")
    assert found["diagnoses"] == [
        {
            "area": "network",
            "check": "relay",
            "state": "wrong",
            "text": "nothing listens",
            "mend": "start it",
            "code": "relay-refused",
        }
    ]
    assert api.node.moves == [("gamer", "doctor")]
    assert api.get("nodes/gamer/doctor").json() == found
    assert api.post("nodes/other/doctor").json()["code"] == "not_found"
