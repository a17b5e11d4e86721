"""Publishing evaluations and reading the leaderboard over the API, with a store on disk."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.control.conftest import Api
from tests.control.test_runs_and_config import Runs
from tests.control.test_runs_and_config import runs as runs
from tmrld.errors import NotFound
from tmrld.payloads import EpisodeSummary
from tmrld.storage.episodes import Episode

LIDAR = "tmrld/TM20Lidar-v0"


def lap(seconds: float, **more: Any) -> dict[str, Any]:
    return {"finished": True, "lap_time_s": seconds, "episode_return": 10.0, "steps": 400, **more}


CRASH = {"finished": False, "steps": 80}


def body(*episodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "weights": {"name": "fast one", "run": "elsewhere", "version": 7},
        "track": "oval",
        "environment": LIDAR,
        "game": "sim",
        "episodes": list(episodes),
        **more,
    }


def test_an_evaluation_is_published_with_its_scores(runs: Runs) -> None:
    sent = body(lap(20.0, seed=0), lap(22.0, seed=1), CRASH, note="on ice")
    made = runs.ask("POST", "evaluations", sent, status=201)
    assert (made["id"], made["author"], made["note"], made["protocol"]) == (1, "operator", "on ice", "plain")
    assert made["weights"] == sent["weights"]
    assert made["score"] == {
        "episodes": 3,
        "finished": 2,
        "finish_share": pytest.approx(2 / 3),
        "mean_lap_s": 21.0,
        "std_lap_s": 1.0,
        "median_lap_s": 21.0,
        "best_lap_s": 20.0,
        "mean_return": 10.0,
    }
    assert made["league"] is None
    assert made["episodes"][2] == {"seed": None, "finished": False, "lap_time_s": None, "episode_return": None, "steps": 80}
    assert runs.ask("GET", "evaluations?track=oval", token="viewer")["items"] == [made]
    assert runs.ask("GET", "evaluations?track=long")["items"] == []


def test_an_entry_of_the_league_is_counted_by_its_rules(runs: Runs) -> None:
    episodes = [lap(40.0), CRASH, *[lap(40.0)] * 9]
    made = runs.ask("POST", "evaluations", body(*episodes, protocol="tmrl-league"), status=201)
    assert made["league"] == {
        "times_s": [40.0, 50.0, *[40.0] * 8],
        "crashes": 1,
        "eliminated": False,
        "mean_s": 41.0,
        "std_s": 3.0,
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"episodes": [lap(40.0)] * 9}, "here are 9 and 0"),
        ({"episodes": [lap(40.0)] * 11}, "there are more episodes"),
        ({"episodes": [CRASH] * 4}, "there are more episodes"),
        ({"episodes": [lap(40.0)] * 10, "perturbed": True}, "publish perturbed starts as plain episodes"),
        ({"episodes": [{"finished": True, "steps": 5}] * 10}, "the league counts times"),
    ],
)
def test_what_is_no_entry_of_the_league_is_refused(runs: Runs, changes: dict[str, Any], sentence: str) -> None:
    problem = runs.ask("POST", "evaluations", body(**{"protocol": "tmrl-league", **changes}), status=400)
    assert problem["code"] == "bad_input"
    assert sentence in problem["detail"]
    assert runs.ask("GET", "evaluations")["items"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"episodes": []},
        {"episodes": [CRASH] * 1001},
        {"episodes": [{"finished": False, "lap_time_s": 20.0, "steps": 1}]},
        {"episodes": [lap(0.0)]},
        {"episodes": [lap(20.0, seed=-1)]},
        {"episodes": [{**CRASH, "steps": 0}]},
        {"track": ""},
        {"game": "chess"},
        {"protocol": "by heart"},
        {"weights": {"name": ""}},
        {"surprise": 1},
    ],
)
def test_what_cannot_be_is_refused(runs: Runs, changes: dict[str, Any]) -> None:
    sent = {**body(lap(20.0)), **changes}
    assert runs.ask("POST", "evaluations", sent, status=422)["code"] == "invalid_request"


def test_only_an_operator_publishes_and_takes_back(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    assert runs.ask("POST", "evaluations", body(CRASH), status=403, token="viewer")["code"] == "forbidden"
    with caplog.at_level(logging.INFO):
        runs.ask("POST", "evaluations", body(CRASH, track="oval\n2026 ERROR of somebody else"), status=201)
    assert "operator publishes an evaluation of 'fast one' on 'oval\\n2026 ERROR of somebody else'" in caplog.text
    runs.ask("DELETE", "evaluations/1", status=403, token="viewer")
    runs.ask("DELETE", "evaluations/1", status=204)
    assert runs.ask("DELETE", "evaluations/1", status=404)["code"] == "not_found"


def test_evaluations_come_page_by_page(runs: Runs) -> None:
    for _ in range(5):
        runs.ask("POST", "evaluations", body(CRASH), status=201)
    seen, cursor = [], ""
    while cursor is not None:
        page = runs.ask("GET", f"evaluations?limit=2{cursor and f'&before={cursor}'}")
        seen.append([each["id"] for each in page["items"]])
        cursor = page["next"]
    assert seen == [[5, 4], [3, 2], [1]]
    assert runs.ask("GET", "evaluations?before=soon", status=400)["code"] == "bad_input"


# The leaderboard


def drive(runs: Runs, run: str, episode: str, version: int, lap_time_s: float | None, track: str = "oval") -> None:
    summary = EpisodeSummary(100, 5.0, lap_time_s is not None, lap_time_s, 1.0, "policy", version)
    runs.store.episodes.add(run, [Episode(episode, "w", "evaluation", track, 0, 2000.0, summary)])


def shown(board: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (each["rank"], each["source"], each["weights"]["name"], each["weights"]["version"], each["score"]["median_lap_s"])
        for each in board["entries"]
    ]


def test_the_leaderboard_ranks_what_was_published_and_the_best_version_of_each_run(runs: Runs) -> None:
    drive(runs, "demo", "a", 1, 25.0)
    drive(runs, "demo", "b", 2, 21.0)
    drive(runs, "demo", "c", 3, 19.0)
    drive(runs, "demo", "d", 3, None)  # faster, but it does not always finish
    runs.ask("POST", "evaluations", body(lap(20.0), lap(22.0)), status=201)
    runs.ask("POST", "evaluations", body(lap(15.0), CRASH), status=201)
    runs.ask("POST", "evaluations", body(lap(20.5)), status=201)
    (board,) = runs.ask("GET", "leaderboard", token="viewer")["items"]
    assert (board["track"], board["game"]) == ("oval", "sim")
    assert shown(board) == [
        (1, "published", "fast one", 7, 20.5),
        (2, "published", "fast one", 7, 21.0),
        (3, "run", "demo", 2, 21.0),
        (4, "published", "fast one", 7, 15.0),
    ]
    of_the_run = board["entries"][2]
    assert (of_the_run["environment"], of_the_run["perturbed"], of_the_run["author"]) == (LIDAR, True, None)
    assert board["entries"][0]["evaluation"] == 3


def test_every_track_and_every_game_has_a_board_of_its_own(runs: Runs) -> None:
    drive(runs, "demo", "a", 1, 25.0)
    drive(runs, "demo", "b", 1, 80.0, "long")
    runs.ask("POST", "evaluations", body(lap(20.0), game="trackmania"), status=201)
    runs.ask("POST", "evaluations", body(CRASH, track="pendulum", environment="Pendulum-v1", game=""), status=201)
    boards = runs.ask("GET", "leaderboard")["items"]
    found = [(board["track"], board["game"], len(board["entries"])) for board in boards]
    assert found == [("long", "sim", 1), ("oval", "sim", 1), ("oval", "trackmania", 1), ("pendulum", "", 1)]
    assert runs.ask("GET", "leaderboard?track=oval")["items"] == boards[1:3]


def test_a_run_that_is_deleted_meanwhile_is_on_no_board(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    drive(runs, "demo", "a", 1, 25.0)
    runs.ask("POST", "evaluations", body(lap(20.0)), status=201)

    def gone(_: str) -> None:
        raise NotFound("there is no run 'demo'")

    monkeypatch.setattr(runs.store, "revision", gone)
    (board,) = runs.ask("GET", "leaderboard")["items"]
    assert [each["source"] for each in board["entries"]] == ["published"]


def test_without_evaluations_there_is_no_board(runs: Runs, api: Api) -> None:
    assert runs.ask("GET", "leaderboard") == {"items": []}
    assert api.get("leaderboard", token="").status_code == 401
