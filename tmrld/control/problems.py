"""Errors as the control API tells them: one body for all, problem+json (RFC 9457), with a code that programs can rely on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from tmrld import errors
from tmrld.configuration import InvalidConfig

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_REASON_BYTES = 123
"""Of a WebSocket's close frame, RFC 6455, section 5.5."""


class Code(StrEnum):
    """What went wrong, in a word that stays the same between versions."""

    BAD_INPUT = "bad_input"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    INSECURE = "insecure"
    WRONG_ORIGIN = "wrong_origin"
    NOT_FOUND = "not_found"
    NO_SUCH_PATH = "no_such_path"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    PRECONDITION_FAILED = "precondition_failed"
    TOO_LARGE = "too_large"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    WRONG_HOST = "wrong_host"
    INVALID_REQUEST = "invalid_request"
    INVALID_CONFIG = "invalid_config"
    UPGRADE_REQUIRED = "upgrade_required"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    INTERNAL_ERROR = "internal_error"
    UNAVAILABLE = "unavailable"
    STORAGE_ERROR = "storage_error"
    DISK_FULL = "disk_full"


STATUS: dict[Code, int] = {
    Code.BAD_INPUT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.INSECURE: 403,
    Code.WRONG_ORIGIN: 403,
    Code.NOT_FOUND: 404,
    Code.NO_SUCH_PATH: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.CONFLICT: 409,
    Code.PRECONDITION_FAILED: 412,
    Code.TOO_LARGE: 413,
    Code.RANGE_NOT_SATISFIABLE: 416,
    Code.WRONG_HOST: 421,
    Code.INVALID_REQUEST: 422,
    Code.INVALID_CONFIG: 422,
    Code.UPGRADE_REQUIRED: 426,
    Code.TOO_MANY_ATTEMPTS: 429,
    Code.INTERNAL_ERROR: 500,
    Code.UNAVAILABLE: 503,
    Code.STORAGE_ERROR: 503,
    Code.DISK_FULL: 507,
}
"""The HTTP status that goes with each code."""

_OF_ERROR: dict[type[errors.TmrldError], Code] = {
    InvalidConfig: Code.INVALID_CONFIG,
    errors.BadInput: Code.BAD_INPUT,
    errors.NotFound: Code.NOT_FOUND,
    errors.Conflict: Code.CONFLICT,
    errors.LinkError: Code.UNAVAILABLE,
    errors.EngineError: Code.UNAVAILABLE,
    errors.StorageError: Code.STORAGE_ERROR,
    errors.DiskFull: Code.DISK_FULL,
    errors.TmrldError: Code.INTERNAL_ERROR,
}


class FieldProblem(BaseModel):
    """What is wrong with one value of a request."""

    field: str = Field(description="Where the value was, for example `query.max_points`.")
    message: str = Field(description="What was expected.")


class ConfigProblem(BaseModel):
    """What is wrong with one field of a run's configuration."""

    path: str = Field(description="The field, for example `algorithm.gamma`.")
    message: str = Field(description="What was expected.")
    value: Any = Field(None, description="What was given.")


class Problem(BaseModel):
    """The body of every error."""

    type: str = Field("about:blank", description="Always `about:blank`: `code` says what kind of problem it is.")
    title: str = Field(description="The name of the HTTP status.")
    status: int = Field(description="The HTTP status.")
    code: Code = Field(description="What went wrong, in a word that stays the same between versions.")
    detail: str = Field(description="What happened, what was expected and what to do next, for people.")
    errors: list[FieldProblem | ConfigProblem] = Field(
        [], description="With the codes `invalid_request` and `invalid_config`: each value that cannot be used."
    )


class ProblemError(Exception):
    """Raised by what is asked for over HTTP alone; roles and stores raise the exceptions of `tmrld.errors`."""

    def __init__(self, code: Code, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.headers = headers


class BodyProblem(HTTPException):
    """A problem that is found while a body is read: FastAPI hands on exceptions of this family alone."""

    def __init__(self, problem: ProblemError) -> None:
        super().__init__(STATUS[problem.code], str(problem), dict(problem.headers or {}))
        self.problem = problem


class JsonResponse(JSONResponse):
    """JSON, with null in place of NaN and infinities.  FastAPI documents models for this family of responses alone."""

    def render(self, content: Any) -> bytes:
        return to_json(content, inf_nan_mode="null")


def problem_response(
    code: Code, detail: str, headers: Mapping[str, str] | None = None, fields: Sequence[FieldProblem | ConfigProblem] = ()
) -> Response:
    """The one shape of an error."""
    status = STATUS[code]
    problem = Problem(title=_title(status), status=status, code=code, detail=detail, errors=list(fields))
    return JsonResponse(problem, status, headers, MEDIA_TYPE)


async def close_stream(socket: WebSocket, code: Code, detail: str) -> None:
    """The same on a WebSocket that is open: 4000 plus the HTTP status, and the sentence as far as it fits."""
    await socket.close(4000 + STATUS[code], detail.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))


def documented(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """These problems as the ``responses`` of a route."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status = STATUS[code]
        known = responses.setdefault(status, {"model": Problem, "description": f"{_title(status)}:"})
        known["description"] += f" `{code}`"
    return responses


def install(app: FastAPI) -> None:
    """Make this application answer all errors in the one shape, except crashes, which are the gate's."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(errors.TmrldError, _on_tmrld_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(error.code, str(error), error.headers)


async def _on_tmrld_error(request: Request, error: Exception) -> Response:
    code = next(_OF_ERROR[kind] for kind in type(error).__mro__ if kind in _OF_ERROR)
    if STATUS[code] >= 500:
        log.error("%s %s: %s", request.method, request.url.path, error)
    fields = [ConfigProblem(path=p.path, message=p.message, value=p.value) for p in getattr(error, "problems", ())]
    return problem_response(code, str(error), fields=fields)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = [
        FieldProblem(field=".".join(str(part) for part in problem["loc"]), message=problem["msg"]) for problem in error.errors()
    ]
    detail = "; ".join(f"{field.field}: {field.message}" for field in fields)
    return problem_response(Code.INVALID_REQUEST, f"the request cannot be used: {detail}", fields=fields)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the router raises of itself."""
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyProblem):
        return problem_response(error.problem.code, str(error.problem), error.problem.headers)
    path = request.url.path[:200]
    match error.status_code:
        case 404:
            return problem_response(
                Code.NO_SUCH_PATH, f"there is nothing at {path}: /api/v1/openapi.json describes everything that there is"
            )
        case 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            detail = f"{request.method} cannot be used with {path}: use {allowed}"
            return problem_response(Code.METHOD_NOT_ALLOWED, detail, error.headers)
        case 413:
            return problem_response(Code.TOO_LARGE, str(error.detail))
        case 400:  # what FastAPI says of a body that is no text
            return problem_response(Code.INVALID_REQUEST, "the request cannot be used: its body cannot be read as JSON")
        case status if status < 500:
            return problem_response(Code.BAD_INPUT, str(error.detail), error.headers)
        case _:
            return problem_response(Code.INTERNAL_ERROR, str(error.detail), error.headers)


def _title(status: int) -> str:
    return HTTPStatus(status).phrase
