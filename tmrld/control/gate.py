"""What every request passes first and every response last, whatever it is about.

- Plain HTTP is answered on loopback alone, or behind a trusted proxy that ended HTTPS: nobody's token crosses a network in clear.
- In plain HTTP the name in the address must be one of ours (DNS rebinding).  Threat: a page from evil.example lets that name
  resolve to 127.0.0.1, and then the browser takes this API for a part of that page.  A name cannot be checked by looking it up,
  so only `localhost`, literal addresses and the configured host count.  Over HTTPS the certificate has settled it.
- A body is read no further than `MOST_OF_STRANGER_BYTES` before it is found out who asks, and no further than `MOST_BODY_BYTES` then.
  `UPLOADS` know whoever asks first, and have limits of their own.
- A crash is logged here, once, and told without a word of what is inside.
"""

from __future__ import annotations

import ipaddress
import logging
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from tmrld.control.auth import Guard, bearer_token
from tmrld.control.problems import BodyProblem, Code, ProblemError, close_stream, problem_response

log = logging.getLogger(__name__)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every response that does not set them itself."""
MOST_BODY_BYTES = 4 * 2**20
"""A thousand episodes to publish have some hundred kilobytes."""
MOST_OF_STRANGER_BYTES = 64 * 2**10
"""Enough to sign in."""
UPLOADS = re.compile(r"PUT /api/v1/(tracks|weights|demonstrations)/[^/]+")
"""Method and path of what takes files."""


class Gate:
    """ASGI middleware; ``host`` is the name or address that people use besides those of loopback."""

    def __init__(self, app: ASGIApp, host: str, guard: Guard) -> None:
        self._app = app
        self._host = host.lower()
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._answer(scope, receive, send)
            case "websocket":
                await self._open(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await problem_response(refusal.code, str(refusal))(scope, receive, with_headers)
            return
        if not UPLOADS.fullmatch(f"{scope['method']} {scope['path']}"):
            receive = self._limited(scope, receive)
        try:
            await self._app(scope, receive, with_headers)
        except ClientDisconnect:
            log.info("%s %s: whoever sent it was gone before its end", scope["method"], scope["path"])
        except Exception:
            if started:
                raise
            log.exception("%s %s failed", scope["method"], scope["path"])
            detail = "something went wrong inside; the relay's log says what. Please report it with those lines"
            await problem_response(Code.INTERNAL_ERROR, detail)(scope, receive, with_headers)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await close_stream(socket, refusal.code, str(refusal))

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """The same body, if it is no longer than allowed; FastAPI hands on what this raises."""
        read = 0
        known = False

        async def counted() -> Message:
            nonlocal read, known
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BODY_BYTES:
                raise HTTPException(413, f"the request has more than {MOST_BODY_BYTES // 2**20} MiB: send less at once")
            if read > MOST_OF_STRANGER_BYTES and not known:
                try:
                    self._guard.admit_asker(HTTPConnection(scope), bearer_token(Headers(scope=scope)), "viewer")
                except ProblemError as problem:
                    raise BodyProblem(problem) from problem
                known = True
            return message

        return counted

    def _refusal(self, scope: Scope) -> ProblemError | None:
        """Why this request is not even looked at; None if it is."""
        if scope["scheme"] in ("https", "wss"):
            return None
        if not is_loopback(scope["client"][0] if scope["client"] else ""):
            return ProblemError(
                Code.INSECURE,
                "plain HTTP is for this machine alone, because tokens could be read on the way: use https; a reverse proxy "
                "must be one of control.trusted_proxies and send X-Forwarded-Proto",
            )
        host = Headers(scope=scope).get("host", "")
        if not self._is_ours(host):
            return ProblemError(
                Code.WRONG_HOST,
                f"{host[:80]!r} is not a name of this server: use localhost or its address, or https under that name",
            )
        return None

    def _is_ours(self, host: str) -> bool:
        name = host_name(host)
        return name in ("localhost", self._host) or name.endswith(".localhost") or _address(name) is not None


def host_name(host: str) -> str:
    """The name or address of a Host header: without port, brackets and final dot, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].removesuffix(".").lower()


def is_loopback(address: str) -> bool:
    """Whether this is an address of this machine for itself, such as 127.0.0.1, ::1 and ::ffff:127.0.0.1."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed is not None and parsed.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
