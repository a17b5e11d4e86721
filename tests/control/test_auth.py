import logging
from pathlib import Path

import pytest

from tests.control.conftest import Api
from tmrld.access import Access
from tmrld.control.auth import Guard
from tmrld.control.problems import Code, ProblemError
from tmrld.errors import StorageError
from tmrld.security.attempts import Attempts
from tmrld.security.tokens import Grant, TokenStore


@pytest.mark.parametrize("path", ["version", "nodes", "runs", "runs/demo", "runs/demo/metrics", "runs/demo/weights/latest"])
def test_looking_needs_a_token(api: Api, path: str) -> None:
    response = api.get(path, token="")
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"
    for token in ("viewer", "operator", "admin"):
        assert api.get(path, token=token).status_code == 200


@pytest.mark.parametrize("token", ["worker", "trainer"])
def test_tokens_of_nodes_are_not_for_people(api: Api, token: str) -> None:
    response = api.get("runs", token=token)
    assert response.status_code == 403
    assert f"has the scope {token}, and this needs viewer" in response.json()["detail"]


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "stop"])
def test_a_viewer_moves_nothing(api: Api, verb: str) -> None:
    assert api.post(f"runs/demo/{verb}", token="viewer").status_code == 403
    assert api.node.moves == []


def test_who_may_not_ask_does_not_learn_what_exists(api: Api) -> None:
    assert api.get("runs/other", token="").status_code == 401
    assert api.get("runs/demo/episodes?limit=0", token="").status_code == 401


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "nonsense"])
def test_only_bearer_tokens_count(api: Api, header: str) -> None:
    assert api.get("runs", token="", authorization=header).json()["code"] == "unauthenticated"


def test_a_token_in_the_address_does_not_count(api: Api) -> None:
    assert api.get(f"runs?token={api.tokens['admin']}&access_token={api.tokens['admin']}", token="").status_code == 401


def test_a_revoked_token_counts_no_more(api: Api) -> None:
    api.store.revoke("viewer")
    assert api.get("runs").status_code == 401


def test_wrong_tokens_make_their_source_wait_and_nobody_else(api: Api) -> None:
    for _ in range(3):
        assert api.get("runs", token="wrong").status_code == 401
    response = api.get("runs", token="admin")
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert api.get("runs", client="127.0.0.2").status_code == 200


def test_a_missing_token_is_no_attempt(api: Api) -> None:
    for _ in range(5):
        api.get("runs", token="")
    assert api.get("runs").status_code == 200


def test_tokens_are_never_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        api.get("runs", token="wrong")
        api.post("runs/demo/stop", token="operator")
    assert "a wrong token came from 127.0.0.1" in caplog.text
    assert not any(token in caplog.text for token in api.tokens.values() if token)


def test_the_wait_is_over_with_its_time(tmp_path: Path) -> None:
    now = 0.0
    store = TokenStore(tmp_path / "tokens.db")
    token = store.issue("ann", "viewer")
    guard = Guard(Access(store), Attempts(limit=1, window_s=60.0), clock=lambda: now)
    with pytest.raises(ProblemError, match="not known"):
        guard.admit("wrong", "10.0.0.1", "viewer")
    now = 59.5
    with pytest.raises(ProblemError, match="try again in 1 s"):
        guard.admit(token, "10.0.0.1", "viewer")
    now = 60.0
    assert guard.admit(token, "10.0.0.1", "viewer") == Grant("ann", "viewer")
    store.close()


def test_a_broken_token_store_lets_nobody_in_and_tells_no_path(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "tokens.db")
    store.close()
    with pytest.raises(ProblemError, match="log says why") as caught:
        Guard(Access(store)).admit("any", "10.0.0.1", "viewer")
    assert caught.value.code == Code.STORAGE_ERROR
    assert isinstance(caught.value.__cause__, StorageError)
