"""The incoming side: let in who has a token for what it says it is, and hand the open link to the relay.

Who may come in is decided on the HTTP request, before there is a WebSocket.  So a stranger never gets to send a message, and who
is turned away reads a whole sentence in the answer.
"""

from __future__ import annotations

import asyncio
import errno
import http
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import WebSocketException
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.protocol import State

from tmrld.errors import BadInput, Conflict, LinkLost, ProtocolError, Refused, TmrldError
from tmrld.peers import looking
from tmrld.peers.channel import GOING_AWAY, INTERNAL, NORMAL, POLICY, WebSocketChannel, fit_reason
from tmrld.peers.joining import CREDENTIAL_HEADER, PATH, tell_joined
from tmrld.peers.link import Link, link_trouble
from tmrld.peers.websocket import NAME_HEADER, ROLE_HEADER, Heedful, options
from tmrld.protocol.conversation import ROLES, choose_subprotocol
from tmrld.protocol.messages import MAX_MESSAGE_BYTES, SPOKEN, Welcome
from tmrld.security.attempts import Attempts, source_of
from tmrld.security.door import Door, Doorway, behind
from tmrld.security.tokens import Grant

log = logging.getLogger(__name__)

MOST_REQUEST_BYTES = 16 * 1024
"""Of an opening request: more has nobody to say who is not known yet."""

_HASH = re.compile(r"[0-9a-f]{64}")

LEAVING_TIMEOUT_S = 5.0
"""How long whoever uses a link may take to notice that it is closed, before being cancelled."""

Authenticate = Callable[[str, str], Grant | None]
"""Token and remote address → whom the token is for, or None for a token that is none.  May raise `Refused` with a sentence."""


Enrol = Callable[[str, str, str], Grant]
"""An invite's secret, the name that a machine would like, and the hash of its credential → who it is from now on.

Raises `Refused` with a sentence, `BadInput` for a name that cannot be."""


Outlook = Callable[[Grant], Mapping[str, Any]]
"""Who looks in → what the relay knows of that node, as plain values, for `looking`."""


def _no_outlook(_grant: Grant) -> Mapping[str, Any]:
    return {}


def _no_invites(_secret: str, _wish: str, _credential: str) -> Grant:
    raise Refused("this relay invites nobody")


class _Connection(Doorway, Heedful, ServerConnection):
    """Remembers between request and link whom the token was for, and whether it comes to join, or only to look."""

    grant: Grant
    joins = False
    looks = False
    _request_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self.protocol.state is State.CONNECTING:
            self._request_bytes += len(data)
            if self._request_bytes > MOST_REQUEST_BYTES:
                self.transport.abort()
                return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for trouble in (self.protocol.handshake_exc, self.protocol.parser_exc):
            if trouble is not None:
                trouble.__traceback__ = None  # would keep all of this until Python looks for garbage


class Listener:
    """Accepts peers on ``host`` and ``port`` (0 for any free one) until closed.

    ``on_link`` is awaited with each open link in a task of its own; the link is closed when it returns.  What it raises is
    logged; `TmrldError` is told to the peer too.  ``welcome`` makes the relay's greeting; ``enrol`` decides on invites;
    ``outlook`` tells a node that only looks what is known of it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        authenticate: Authenticate,
        welcome: Callable[[], Welcome],
        on_link: Callable[[Link], Awaitable[None]],
        *,
        enrol: Enrol = _no_invites,
        outlook: Outlook = _no_outlook,
        attempts: Attempts | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        spoken: Sequence[str] = SPOKEN,
    ) -> None:
        self._host = host
        self._asked_port = port
        self._door = Door(context)
        self._authenticate = authenticate
        self._welcome = welcome
        self._on_link = on_link
        self._enrol = enrol
        self._outlook = outlook
        self._attempts = attempts or Attempts()
        self._max_message_bytes = max_message_bytes
        self._spoken = spoken
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen; does nothing if it listens already.  Raises `Conflict` if the address cannot be had."""
        if self._server is not None:
            return
        try:
            self._server = await serve(
                self._serve,
                self._host,
                self._asked_port,
                process_request=self._judge,
                create_connection=behind(self._door, _Connection),
                server_header=None,
                **options(self._max_message_bytes, self._spoken),
            )
        except OSError as error:
            where = f"{self._host or 'all addresses'}, port {self._asked_port}"
            if error.errno == errno.EADDRINUSE:
                raise Conflict(f"{where} is in use: stop the other program (another relay?), or choose another port") from error
            raise Conflict(f"cannot listen on {where} ({error.strerror or error}): choose another address or port") from error
        log.info("listening for peers on %s, port %d", self._host or "all addresses", self.port)

    async def close(self, reason: str = "the relay stops") -> None:
        """Stop accepting, tell every peer, wait until all links are done with.  May be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        self._door.close()
        server.close(code=GOING_AWAY, reason=fit_reason(reason))
        try:
            async with asyncio.timeout(LEAVING_TIMEOUT_S):
                await server.wait_closed()
        except TimeoutError:
            for task in self._tasks:
                task.cancel()
            await server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def port(self) -> int:
        """The port that it listens on; the one asked for while it does not."""
        if self._server is None:
            return self._asked_port
        return int(self._server.sockets[0].getsockname()[1])

    # The request

    def _judge(self, connection: ServerConnection, request: Request) -> Response | None:
        """Called by websockets with the opening request: None lets it become a link, a response turns it away."""
        assert isinstance(connection, _Connection)
        address = _address(connection)
        now = asyncio.get_running_loop().time()
        wait_s = self._attempts.wait_s(source_of(address), now)
        if wait_s > 0:
            response = connection.respond(
                http.HTTPStatus.TOO_MANY_REQUESTS, f"too many wrong tokens came from here: try again in {wait_s:.0f} s"
            )
            response.headers["Retry-After"] = f"{wait_s:.0f}"
            return response
        try:
            connection.joins, connection.looks = request.path == PATH, request.path == looking.PATH
            admit = self._admit_joiner if connection.joins else self._admit
            connection.grant = admit(request, address, now)
        except _TurnedAway as no:
            log.warning("turned away %s (HTTP %d): %s", address, no.status, no)
            response = connection.respond(no.status, str(no))
            if no.status == http.HTTPStatus.UNAUTHORIZED:
                response.headers["WWW-Authenticate"] = "Bearer"
            return response
        connection.admitted()
        return None

    def _admit(self, request: Request, address: str, now: float) -> Grant:
        """Whom to let in; raises `_TurnedAway`."""
        token = _bearer_token(request)
        try:
            grant = self._authenticate(token, address)
        except Refused as error:
            raise _TurnedAway(http.HTTPStatus.FORBIDDEN, str(error)) from error
        except TmrldError as error:
            log.exception("cannot tell who comes from %s", address)
            raise _TurnedAway(
                http.HTTPStatus.SERVICE_UNAVAILABLE, "the relay cannot check tokens now; its log says why"
            ) from error
        if grant is None:
            self._attempts.failed(source_of(address), now)
            raise _TurnedAway(
                http.HTTPStatus.UNAUTHORIZED,
                "this relay does not know the token: it was mistyped, revoked or replaced; get a new one on the relay",
            )
        if grant.scope not in ROLES:
            raise _TurnedAway(
                http.HTTPStatus.FORBIDDEN,
                f"the token of {grant.name} has the scope {grant.scope}: a peer needs one with the scope worker or trainer",
            )
        for what, header, expected in (("role", ROLE_HEADER, grant.scope), ("name", NAME_HEADER, grant.name)):
            said = request.headers.get_all(header)
            if said and said != [expected] and not (len(said) == 1 and what == "name" and said[0] in grant.former):
                raise _TurnedAway(
                    http.HTTPStatus.FORBIDDEN,
                    f"the token was made for {grant.scope} {grant.name}, but the {what} is {said[0][:80]!r}: "
                    f"use the token of that {what}, or set the {what} to {expected!r}",
                )
        self._check_version(request, grant.scope, grant.name)
        return grant

    def _check_version(self, request: Request, role: str, name: str) -> None:
        try:
            choose_subprotocol(_offered(request), role, name, self._spoken)
        except Refused as error:
            raise _TurnedAway(http.HTTPStatus.BAD_REQUEST, str(error)) from error

    def _admit_joiner(self, request: Request, address: str, now: float) -> Grant:
        """The same for a machine that brings an invite: it is one of ours when this returns."""
        secret, (wish, credential) = (
            _bearer_token(request),
            (_single(request, name) for name in (NAME_HEADER, CREDENTIAL_HEADER)),
        )
        self._check_version(request, "machine", wish)
        if not _HASH.fullmatch(credential):
            raise _TurnedAway(
                http.HTTPStatus.BAD_REQUEST, f"the header {CREDENTIAL_HEADER} holds no SHA-256: upgrade this machine"
            )
        try:
            grant = self._enrol(secret, wish, credential)
        except BadInput as error:
            raise _TurnedAway(http.HTTPStatus.BAD_REQUEST, str(error)) from error
        except Refused as error:
            self._attempts.failed(source_of(address), now)
            raise _TurnedAway(http.HTTPStatus.FORBIDDEN, str(error)) from error
        except TmrldError as error:
            log.exception("the machine at %s cannot join", address)
            raise _TurnedAway(
                http.HTTPStatus.SERVICE_UNAVAILABLE, "the relay cannot take in anybody now; its log says why"
            ) from error
        log.info("%s %s has joined from %s", grant.scope, grant.name, address)
        return grant

    # The link

    async def _serve(self, connection: ServerConnection) -> None:
        """The life of one connection after its request."""
        assert isinstance(connection, _Connection)
        grant = connection.grant
        if connection.joins:
            await tell_joined(connection, grant, self._welcome().relay)
            return
        if connection.looks:
            await looking.show(connection, self._welcome(), grant.name, self._outlook(grant))
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        who = f"{grant.scope} {grant.name}"
        channel = await WebSocketChannel.over(connection, _address(connection))
        code, reason = NORMAL, ""
        try:
            link = await Link.accept(channel, grant.scope, grant.name, self._welcome(), former=grant.former)
            link.credential = grant.token_hash
            self._check_again(connection)  # nothing may be waited for between this and `on_link`, which makes the link known
            log.info("%s is linked from %s", who, channel.remote)
            await self._on_link(link)
        except asyncio.CancelledError:
            code, reason = GOING_AWAY, "the relay stops"
            raise
        except Exception as error:
            code, reason = self._note(who, error)
        finally:
            self._tasks.discard(task)
            await channel.close(code, reason)

    def _check_again(self, connection: _Connection) -> None:
        """Raises Refused for a token that was revoked while hello was waited for, and LinkLost for one of another name now."""
        assert connection.request is not None
        before, now = connection.grant, self._authenticate(_bearer_token(connection.request), _address(connection))
        if now is None:
            raise Refused("this node's token was revoked or replaced while it connected: to come back it needs a new one")
        if now != before:
            raise LinkLost(f"what {before.scope} {before.name} is called has changed while it connected: it comes back at once")

    def _note(self, who: str, error: Exception) -> tuple[int, str]:
        """Log what ended a link, and return what to tell the peer."""
        trouble: TmrldError | None = link_trouble(error) or (error if isinstance(error, TmrldError) else None)
        match trouble:
            case None:
                log.error("the link of %s failed in the relay", who, exc_info=error)
                return INTERNAL, "the relay failed; its log says why"
            case LinkLost():
                log.info("%s", trouble)
                return GOING_AWAY, str(trouble)
            case ProtocolError():
                log.warning("%s", trouble)
                return trouble.code, str(trouble)
            case Refused() | Conflict():
                log.warning("%s is turned away: %s", who, trouble)
                return POLICY, str(trouble)
            case _:
                log.error("the link of %s ends: %s", who, trouble)
                return INTERNAL, str(trouble)


class _TurnedAway(Exception):
    def __init__(self, status: http.HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def _bearer_token(request: Request) -> str:
    said = request.headers.get_all("Authorization")
    scheme, _, token = said[0].partition(" ") if len(said) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise _TurnedAway(http.HTTPStatus.UNAUTHORIZED, "this is a tmrld relay's port for peers: a bearer token is needed")
    return token.strip()


def _single(request: Request, header: str) -> str:
    said = request.headers.get_all(header)
    if len(said) != 1:
        raise _TurnedAway(http.HTTPStatus.BAD_REQUEST, f"the header {header} is needed, once")
    return said[0]


def _offered(request: Request) -> list[str]:
    try:
        return [version for line in request.headers.get_all("Sec-WebSocket-Protocol") for version in parse_subprotocol(line)]
    except WebSocketException:
        return []


def _address(connection: ServerConnection) -> str:
    remote = connection.remote_address
    return str(remote[0]) if remote else "unknown"
