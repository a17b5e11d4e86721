"""`tmrld eval` and `tmrld leaderboard`: what they drive, print and publish, with a relay's API in memory behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.control.conftest import Api
from tests.control.conftest import api as api
from tests.control.test_runs_and_config import Runs
from tests.control.test_runs_and_config import runs as runs
from tests.worker.test_evaluating import learned
from tmrld.cli import main
from tmrld.client import Client, _problem
from tmrld.envs.options import LIDAR_ID, EnvironmentOptions
from tmrld.envs.trackmania.spec import flavour_spec
from tmrld.storage.layout import Layout
from tmrld.storage.shelf import BUNDLED, Shelf

OVAL = "tests.worker.test_evaluating:Oval"
FOLLOWER = "tests.worker.test_evaluating:Follower"
SPEC = flavour_spec(EnvironmentOptions())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads settings and data of whoever runs it, or asks a relay of theirs."""
    monkeypatch.chdir(tmp_path)
    for variable in ("TMRLD_CONFIG", "TMRLD_API", "TMRLD_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TMRLD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TMRLD_API", "http://127.0.0.1:1")


@pytest.fixture
def relay(runs: Runs, api: Api, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A relay with the run "demo", asked with the token of the scope that ``--token`` names."""

    def exchange(client: Client, method: str, path: tuple[str, ...], body: Any, query: Mapping[str, Any]) -> tuple[bytes, Any]:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(api.app)
            headers = {"authorization": f"Bearer {api.tokens[client._token]}"}
            known = {name: value for name, value in query.items() if value is not None}
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7400") as http:
                return await http.request(method, f"/api/v1/{'/'.join(path)}", json=body, params=known, headers=headers)

        response = asyncio.run(ask())
        if response.is_error:
            raise _problem(response.status_code, response.content, str(response.url))
        return response.content, response.headers

    monkeypatch.setattr(Client, "_exchange", exchange)
    monkeypatch.setenv("TMRLD_TOKEN", "operator")
    return runs


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What the command prints; its complaint where it has one."""
    assert main(list(arguments)) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What the command prints on its last line."""
    answer: dict[str, Any] = json.loads(said(capsys, *arguments, "--json").splitlines()[-1])
    return answer


def test_each_episode_is_told_and_then_what_they_say_together(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "eval", FOLLOWER, "--id", OVAL, "--episodes", "3", "--seed", "1").splitlines()
    assert lines[0] == f"{FOLLOWER} on {OVAL}:"
    assert [line.split(",")[0] for line in lines[1:4]] == ["seed 1: lap 41.00 s", "seed 2: lap 42.00 s", "seed 3: lap 43.00 s"]
    assert lines[4].split() == ["track", "finished", "median", "lap", "mean", "std", "best", "lap", "mean", "return"]
    assert lines[5].split() == [OVAL, *["3", "of", "3", "42.00", "s", "42.00", "s", "0.82", "s", "41.00", "s", "3.00"]]


def test_scripts_get_every_episode(capsys: pytest.CaptureFixture[str]) -> None:
    answer = answered(capsys, "eval", FOLLOWER, "--id", OVAL, "--episodes", "2")
    assert (answer["protocol"], answer["perturbed"]) == ("plain", False)
    (track,) = answer["tracks"]
    assert track["weights"] == {"name": FOLLOWER, "run": None, "version": None}
    lap = {"finished": True, "episode_return": 3.0, "steps": 3}
    assert track["episodes"] == [{"seed": 0, "lap_time_s": 40.0, **lap}, {"seed": 1, "lap_time_s": 41.0, **lap}]
    assert (track["score"]["median_lap_s"], track["league"], track["game"], track["evaluation"]) == (40.5, None, "", None)


def test_the_bundled_policy_drives_the_track_that_it_was_made_for(capsys: pytest.CaptureFixture[str]) -> None:
    answer = answered(capsys, "eval", "bundled", "--episodes", "2", "--perturbed")
    (track,) = answer["tracks"]
    assert (track["track"], track["weights"]["name"], track["game"]) == ("default", "bundled-default", "sim")
    assert track["score"]["finished"] == 2
    assert track["episodes"][0]["lap_time_s"] != track["episodes"][1]["lap_time_s"]


def test_several_tracks_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "eval", "bundled-default", "--episodes", "1", "--track", "default", "--track", "short")
    default, short = out.splitlines()[-2:]
    assert default.split()[:4] == ["default", "1", "of", "1"]
    assert short.split()[0] == "short"


def test_episodes_that_are_all_the_same_are_remarked(capsys: pytest.CaptureFixture[str]) -> None:
    assert "all episodes were the same" in said(capsys, "eval", "bundled-default", "--episodes", "2", "--track", "short")


# Which weights


def weights() -> bytes:
    return learned(SPEC, SPEC.observation_size)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Flags for an evaluation that is soon over."""
    monkeypatch.setenv("TMRLD_RUN__ENVIRONMENT__MAX_STEPS", "3")
    return ("--episodes", "1", "--track", "short")


def test_weights_are_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, brief: tuple[str, ...]) -> None:
    (tmp_path / "mine.safetensors").write_bytes(weights())
    (track,) = answered(capsys, "eval", "mine.safetensors", *brief)["tracks"]
    assert track["weights"] == {"name": "mine", "run": "demo", "version": 7}
    assert track["environment"] == LIDAR_ID


def test_weights_are_a_name_on_the_shelf(capsys: pytest.CaptureFixture[str], tmp_path: Path, brief: tuple[str, ...]) -> None:
    Shelf(Layout(tmp_path / "data").shelf).put("weights", "good", weights(), {})
    (track,) = answered(capsys, "eval", "good", *brief)["tracks"]
    assert (track["weights"]["name"], track["episodes"][0]["steps"]) == ("good", 3)


def test_weights_are_a_version_of_a_run_or_its_best_one(
    capsys: pytest.CaptureFixture[str], relay: Runs, brief: tuple[str, ...]
) -> None:
    relay.store.weights.add("demo", 1, 10, 0, weights(), 1000.0)
    for name in ("demo", "demo@1", "demo@latest"):
        (track,) = answered(capsys, "eval", name, *brief)["tracks"]
        assert track["weights"] == {"name": name, "run": "demo", "version": 7}
    assert "no weights of version 9" in said(capsys, "eval", "demo@9", status=1)
    assert "There is no run 'dmo'. Did you mean 'demo'?" in said(capsys, "eval", "dmo@1", status=1)


def test_weights_drive_what_they_were_made_to_see(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, brief: tuple[str, ...]
) -> None:
    spec = flavour_spec(EnvironmentOptions(history=2, action_buffer=1))
    (tmp_path / "short.safetensors").write_bytes(learned(spec, spec.observation_size))
    (track,) = answered(capsys, "eval", "short.safetensors", *brief)["tracks"]
    assert track["episodes"][0]["steps"] == 3


@pytest.mark.parametrize(
    ("arguments", "sentence", "status"),
    [
        (["bundled-defalt"], "no weights 'bundled-defalt' on the shelf: did you mean 'bundled-default'?", 1),
        (["there/mine.safetensors"], "there is no file there/mine.safetensors", 2),
        (["tests.nowhere:Policy"], "the module 'tests.nowhere' cannot be imported", 2),
        (["bundled-default", "--id", "tmrld/TM20Full-v0"], "made for tmrld/TM20Lidar-v0) do not fit tmrld/TM20Full-v0", 2),
        (["bundled", "--protocol", "league"], "'league' is none that there is: expected plain or tmrl-league", 2),
        (["bundled", "--protocol", "tmrl-league", "--episodes", "5"], "leave --episodes out", 2),
        (["bundled", "--protocol", "tmrl-league", "--perturbed"], "leave --perturbed out", 2),
        (["bundled-default", "--track", "shrt"], "'shrt'", 2),
        ([FOLLOWER, "--id", OVAL, "--track", "home"], "cannot be made with kwargs {'track': 'home'}", 2),
        (
            [
                "bundled-default",
                "--set",
                "run.environment.game=trackmania",
                "--set",
                "run.environment.clock=realtime",
                "--perturbed",
            ],
            "a start in the game cannot be perturbed",
            2,
        ),
        (["bundled-default", "--publish"], "no relay answers at http://127.0.0.1:1", 1),
    ],
)
def test_mistakes_are_explained(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str, status: int) -> None:
    assert sentence in said(capsys, "eval", *arguments, status=status)


def test_the_games_track_of_the_league_is_looked_for_on_the_shelf(capsys: pytest.CaptureFixture[str]) -> None:
    game = ("--set", "run.environment.game=trackmania", "--set", "run.environment.clock=realtime")
    complaint = said(capsys, "eval", "bundled-default", "--protocol", "tmrl-league", *game, status=2)
    assert "track is 'tmrl-test'" in complaint


# The league, and what is published


def test_the_leagues_number_stands_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "eval", FOLLOWER, "--id", OVAL, "--protocol", "tmrl-league")
    assert "not TrackMania: the league's rules, driven in a stand-in" in out
    assert "by the rules of the league: 44.50 s (standard deviation 2.87 s), 0 crashes" in out
    assert out.splitlines()[-1].split()[1:4] == ["10", "of", "10"]


def test_what_is_published_is_on_the_leaderboard(capsys: pytest.CaptureFixture[str], relay: Runs) -> None:
    common = ("--id", OVAL, "--publish", "--name", "Team Half", "--note", "half is enough")
    (track,) = answered(capsys, "eval", FOLLOWER, *common, "--episodes", "2")["tracks"]
    assert track["evaluation"] == 1
    said(capsys, "eval", FOLLOWER, *common, "--protocol", "tmrl-league")
    newest, first = relay.ask("GET", "evaluations")["items"]
    assert (first["author"], first["note"], first["episodes"]) == ("operator", "half is enough", track["episodes"])
    assert first["score"] == track["score"]
    assert newest["league"]["mean_s"] == 44.5
    out = said(capsys, "leaderboard")
    assert out.splitlines()[0] == OVAL
    assert "Team Half by operator" in out
    assert "league: 44.50 s" in out
    assert answered(capsys, "leaderboard") == relay.ask("GET", "leaderboard")
    assert answered(capsys, "leaderboard", "--track", "elsewhere") == {"items": []}


def test_without_evaluations_the_leaderboard_says_how_to_make_some(capsys: pytest.CaptureFixture[str], relay: Runs) -> None:
    assert "nothing was evaluated yet: `tmrld eval WEIGHTS --publish`" in said(capsys, "leaderboard")
    assert "nothing was evaluated on oval yet: `tmrld eval WEIGHTS --track oval --publish`" in said(
        capsys, "leaderboard", "--track", "oval"
    )


@pytest.mark.parametrize("command", [["weights", "pull", "demo", "bst"], ["eval", "demo@bst"]])
def test_a_version_that_can_be_none_is_not_asked_for(
    capsys: pytest.CaptureFixture[str], relay: Runs, command: list[str]
) -> None:
    assert main(command) == 2
    assert "'bst' is no version of weights: give latest, best, or a number" in capsys.readouterr().err


def test_who_may_not_publish_is_told_before_anything_is_driven(capsys: pytest.CaptureFixture[str], relay: Runs) -> None:
    assert main(["eval", "bundled-default", "--publish", "--token", "viewer"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the token of viewer may look at http://127.0.0.1:1, and not publish there" in captured.err


def test_the_bundled_policies_lie_in_the_package() -> None:
    assert (BUNDLED / "bundled-default.safetensors").is_file()
