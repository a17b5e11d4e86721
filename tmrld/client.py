"""A client of the control API: one request, one answer, and the API's problems as the exceptions that everybody here knows.

What the relay tells is made printable here, once: names, states and log lines in it come from other machines.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from tmrld import __version__
from tmrld.errors import BadInput, Conflict, LinkLost, NotFound, Refused, StorageError, TmrldError
from tmrld.printable import all_printable, printable

PREFIX = "/api/v1"
TIMEOUT_S = 60.0
UNAUTHENTICATED = 401
LOOPBACK = ("127.0.0.1", "::1", "localhost")

_ERRORS: dict[int, type[TmrldError]] = {
    400: BadInput,
    401: Refused,
    403: Refused,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: BadInput,
    422: BadInput,
    429: Refused,
    503: LinkLost,
    507: StorageError,
}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The API redirects nobody, and a token is not carried elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing: the answer counts as a failure."""


class Client:
    """Asks one relay.  ``url`` is that of its control API, http://127.0.0.1:7400; ``token`` may be empty for what needs none.

    Every method raises LinkLost where nobody answers, and otherwise what the API's problem stands for, with its sentence.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"{url!r} is not the address of a control API: give http://HOST:PORT")
        if token and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise BadInput(f"a token is never sent to {parts.hostname} in plain HTTP, where it could be read: use https")
        self.url = url.rstrip("/").removesuffix(PREFIX)
        self._token = token
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if parts.hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, *path: str, **query: Any) -> Any:
        """What there is at a path, given part by part; a query of None is left out."""
        return self.ask("GET", path, query=query)

    def post(self, *path: str, body: Any = None, **query: Any) -> Any:
        """Have something done."""
        return self.ask("POST", path, body, query)

    def put(self, *path: str, body: Any) -> Any:
        """Set something."""
        return self.ask("PUT", path, body)

    def patch(self, *path: str, body: Any, **query: Any) -> Any:
        """Change something."""
        return self.ask("PATCH", path, body, query)

    def delete(self, *path: str) -> None:
        """Remove something."""
        self.ask("DELETE", path)

    def ask(self, method: str, path: tuple[str, ...], body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        """One request; returns the answer's JSON, or None where it has none."""
        data, _ = self._exchange(method, path, body, query or {})
        return all_printable(json.loads(data)) if data else None

    def download(self, *path: str) -> tuple[bytes, str]:
        """A file, and the path of the version that it is."""
        data, headers = self._exchange("GET", path, None, {})
        return data, headers.get("Content-Location", "")

    def upload(self, *path: str, data: bytes, **query: Any) -> Any:
        """Put a file there; returns the answer's JSON."""
        answer, _ = self._exchange("PUT", path, data, query)
        return all_printable(json.loads(answer))

    def live(self, topics: str, run: str | None = None) -> Iterator[dict[str, Any]]:
        """The messages of the live stream as they come, until it ends.  Raises LinkLost when it breaks."""
        from websockets.exceptions import ConnectionClosedOK, WebSocketException
        from websockets.sync.client import connect

        query = urllib.parse.urlencode({"topics": topics, **({"run": run} if run else {})})
        url = f"ws{self.url.removeprefix('http')}{PREFIX}/live?{query}"
        headers = {"Authorization": f"Bearer {self._token}"}
        loopback = urllib.parse.urlsplit(url).hostname in LOOPBACK
        try:
            with connect(url, additional_headers=headers, proxy=None if loopback else True) as stream:
                for text in stream:
                    yield all_printable(json.loads(text))
        except ConnectionClosedOK:
            return
        except (OSError, WebSocketException) as error:
            raise LinkLost(f"the live stream of {self.url} has ended: {error}") from error

    def _exchange(
        self, method: str, path: tuple[str, ...], body: Any, query: Mapping[str, Any]
    ) -> tuple[bytes, http.client.HTTPMessage]:
        where = "/".join(urllib.parse.quote(part, safe="") for part in path)
        asked = urllib.parse.urlencode({name: _said(value) for name, value in query.items() if value is not None})
        url = f"{self.url}{PREFIX}/{where}{'?' if asked else ''}{asked}"
        headers = {"User-Agent": f"tmrld/{__version__}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if isinstance(body, bytes):
            data, headers["Content-Type"] = body, "application/octet-stream"
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - the scheme was checked
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                return response.read(), response.headers
        except urllib.error.HTTPError as error:
            if error.code == UNAUTHENTICATED and not self._token:
                raise Refused(
                    f"the relay at {self.url} wants a token, and there is none for it here: give one with --token; where the relay "
                    "is on this machine, --data FOLDER with its data folder does as well"
                ) from None
            raise _problem(error.code, error.read(), url) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, http.client.HTTPException | ssl.SSLError):
                raise LinkLost(
                    f"what answers at {self.url} is no control API ({reason}): that has a port of its own, 7400 unless control.port "
                    "says otherwise, and is http unless it has a certificate"
                ) from error
            raise LinkLost(
                f"no relay answers at {self.url} ({reason}): start one with `tmrld up`, or give its address with --api"
            ) from error


def _problem(status: int, body: bytes, url: str) -> TmrldError:
    """The exception that a problem stands for."""
    try:
        detail = printable(str(json.loads(body)["detail"]))
    except (ValueError, KeyError, TypeError):
        detail = f"{url} answered with status {status}: is that a tmrld relay?"
    return _ERRORS.get(status, TmrldError)(detail)


def _said(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
