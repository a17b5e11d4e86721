import logging
from collections.abc import Iterator

import httpx
import pytest

from tests.control.conftest import Api
from tmrld import errors
from tmrld.configuration import InvalidConfig
from tmrld.control.problems import STATUS, Code
from tmrld.storage.shelf import MAX_BYTES
from tmrld.validation import FieldProblem

SHAPE = {"type", "title", "status", "detail", "code", "errors"}


def every_kind_of_error(api: Api) -> Iterator[httpx.Response]:
    yield api.get("runs", token="")
    yield api.get("runs", token="wrong")
    yield api.get("runs", token="worker")
    yield api.post("runs/demo/stop", token="viewer")
    yield api.get("runs", client="10.0.0.9")
    yield api.get("runs/other")
    yield api.get("nothing/here")
    yield api.ask("PUT", "runs")
    yield api.post("runs/demo/start")
    yield api.get("runs/demo/weights/2", if_match='"other"')
    yield api.get("runs/demo/weights/2", range="bytes=5000-")
    yield api.get("runs", base="http://evil.example")
    yield api.get("runs/demo/episodes?limit=0")
    yield api.get("live")
    yield api.ask("PUT", "tracks/monza", "operator")
    yield api.post("logout", token="", cookie="tmrld_session=x", origin="http://evil.example")
    raised: tuple[Exception, ...] = (
        ZeroDivisionError("secret"),
        errors.BadInput("no"),
        errors.StorageError("no"),
        errors.DiskFull("no"),
        errors.EngineError("no"),
        InvalidConfig([FieldProblem("algorithm.gamma", "less than 1", 2, "no")]),
    )
    for error in raised:
        api.node.broken = error
        yield api.get("runs")
    for _ in range(3):
        last = api.get("runs", token="wrong")
    yield last


def test_every_error_has_the_one_shape(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAX_BYTES, "tracks", -1)  # nothing is small enough
    seen = set()
    for response in every_kind_of_error(api):
        assert response.headers["content-type"] == "application/problem+json"
        body = response.json()
        assert set(body) == SHAPE
        assert body["status"] == response.status_code == STATUS[Code(body["code"])]
        assert body["type"] == "about:blank"
        assert body["title"]
        assert body["detail"]
        seen.add(Code(body["code"]))
    assert seen == set(Code)


def test_every_exception_of_the_project_has_a_code(api: Api) -> None:
    def below(kind: type[errors.TmrldError]) -> Iterator[type[errors.TmrldError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    for kind in below(errors.TmrldError):
        if kind.__module__ != errors.__name__:
            continue  # a room's own kind, with a constructor of its own; it is answered like the one it derives from
        api.node.broken = kind("what happened")
        assert api.get("runs").json()["detail"] == "what happened"


def test_a_crash_is_logged_and_its_insides_are_not_told(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.node.broken = ZeroDivisionError("secret")
    with caplog.at_level(logging.ERROR):
        response = api.get("runs")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "ZeroDivisionError: secret" in caplog.text
    assert "GET /api/v1/runs failed" in caplog.text


def test_what_the_relay_cannot_help_is_logged_too(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.node.broken = errors.Damaged("policy 3 does not match its checksum")
    assert api.get("runs/demo").status_code == 503
    assert "GET /api/v1/runs/demo: policy 3 does not match its checksum" in caplog.text


def test_a_bad_value_is_named(api: Api) -> None:
    body = api.get("runs/demo/metrics?max_points=two&start=-1").json()
    assert [problem["field"] for problem in body["errors"]] == ["query.start", "query.max_points"]
    assert "query.max_points" in body["detail"]


def test_a_version_of_weights_is_a_number_or_a_word(api: Api) -> None:
    assert api.get("runs/demo/weights/oldest").json()["errors"][0]["field"] == "path.version"


def test_a_wrong_method_tells_the_right_one(api: Api) -> None:
    response = api.ask("PUT", "runs/demo/pause")
    assert response.headers["allow"] == "POST"
    assert "use POST" in response.json()["detail"]
