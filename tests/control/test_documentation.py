from typing import Any

import pytest

from tests.control.conftest import Api
from tmrld.control.problems import Code
from tmrld.storage.shelf import KINDS


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    response = api.get("openapi.json", token="")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path.removeprefix('/api/v1/')}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_is_there(document: dict[str, Any]) -> None:
    assert list(operations(document)) == [
        "GET health",
        "GET version",
        "POST login",
        "POST logout",
        "GET session",
        "POST codes",
        "GET tokens",
        "POST tokens",
        "DELETE tokens/{name}",
        "GET invites",
        "POST invites",
        "DELETE invites/{id}",
        "GET nodes",
        "PATCH nodes/{name}",
        "DELETE nodes/{name}",
        "PUT nodes/{name}/assignment",
        "POST nodes/{name}/start",
        "POST nodes/{name}/stop",
        "POST nodes/{name}/restart",
        "POST nodes/{name}/doctor",
        "GET nodes/{name}/doctor",
        "GET runs",
        "POST runs",
        "GET presets",
        "POST runs/{run}/clone",
        "DELETE runs/{run}",
        "GET runs/{run}",
        "POST runs/{run}/start",
        "POST runs/{run}/pause",
        "POST runs/{run}/resume",
        "POST runs/{run}/stop",
        "POST runs/{run}/queue",
        "GET schema",
        "GET runs/{run}/config",
        "PATCH runs/{run}/config",
        "GET runs/{run}/config/revisions",
        "GET runs/{run}/config/revisions/{number}",
        "POST runs/{run}/config/rollback",
        "GET runs/{run}/metrics",
        "GET runs/{run}/episodes",
        "GET runs/{run}/episodes/{episode}",
        "GET runs/{run}/track",
        "GET runs/{run}/bottleneck",
        "GET runs/{run}/weights",
        "POST runs/{run}/weights/{version}/pin",
        "POST runs/{run}/weights/{version}/unpin",
        "GET runs/{run}/weights/{version}",
        "GET runs/{run}/checkpoints",
        "POST runs/{run}/checkpoints/{update}/pin",
        "POST runs/{run}/checkpoints/{update}/unpin",
        "POST runs/{run}/checkpoints/{update}/resume",
        "GET evaluations",
        "POST evaluations",
        "DELETE evaluations/{id}",
        "GET leaderboard",
        *(
            f"{method} {kind}{path}"
            for kind in KINDS
            for method, path in (
                ("GET", ""),
                ("GET", "/{name}"),
                ("DELETE", "/{name}"),
                ("PUT", "/{name}"),
                ("GET", "/{name}/file"),
            )
        ),
        "GET tracks/{name}/line",
        "POST runs/{run}/demonstrations",
        "GET runs/{run}/demonstrations",
        "GET storage",
        "POST storage/clean",
        "GET nodes/{name}/log",
        "GET runs/{run}/log",
        "GET live",
        "GET /metrics",
    ]


def test_every_operation_says_what_it_does_and_what_each_parameter_means(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        assert operation["description"], name
        assert operation["tags"], name
        assert all(parameter["description"] for parameter in operation.get("parameters", [])), name


def test_every_answer_in_json_has_a_shape(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            shape = response.get("content", {}).get("application/json", {}).get("schema", {"$ref": ""})
            assert "$ref" in shape or shape.get("type") in ("object", "array"), f"{name} {status} answers {shape}"


def test_every_field_of_every_answer_is_described(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, shape in schema.get("properties", {}).items():
            assert field == "items" or "$ref" in shape or shape.get("description"), f"{name}.{field}"


def test_every_error_is_documented_in_the_one_shape(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        problems = {status: response for status, response in operation["responses"].items() if int(status) >= 400}
        expected = {"403", "421", "500"}
        if name not in ("GET health", "POST login", "POST logout", "GET live"):
            expected |= {"401", "429", "503"}
            assert operation["security"] == [{"token": []}, {"session": []}]
        if "{run}" in name:
            expected |= {"404", "422"}
        if name.startswith("POST runs/{run}"):
            expected |= {"409", "507"}
        assert expected <= set(problems), name
        for response in problems.values():
            assert response["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_the_codes_are_listed(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["Code"]["enum"] == [code.value for code in Code]


def test_names_of_operations_are_good_names_for_functions(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document).values()]
    assert "pause_run" in names
    assert len(set(names)) == len(names)


def test_no_page_is_served_that_loads_scripts_from_elsewhere(api: Api) -> None:
    assert api.get("../../docs").status_code == 404
    assert api.get("../../redoc").status_code == 404
