import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.fake_node import FakeNode
from tests.support.fake_results import DATA
from tmrld.access import Access
from tmrld.control.options import ControlOptions
from tmrld.control.server import ControlServer
from tmrld.errors import Conflict, SettingsError
from tmrld.security.tls import ensure_identity
from tmrld.security.tokens import TokenStore


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenStore]:
    store = TokenStore(tmp_path / "tokens.db")
    yield store
    store.close()


@asynccontextmanager
async def serving(tokens: TokenStore, **settings: Any) -> AsyncIterator[ControlServer]:
    server = ControlServer(ControlOptions(**{"port": 0, **settings}), FakeNode(), Access(tokens))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


def test_it_answers_and_streams_over_a_real_connection(tokens: TokenStore) -> None:
    headers = {"Authorization": f"Bearer {tokens.issue('ann', 'viewer')}"}

    async def story() -> None:
        async with serving(tokens) as server, httpx.AsyncClient(base_url=server.url, headers=headers) as http:
            assert (await http.get("/api/v1/runs")).json()["items"][0]["name"] == "demo"
            download = await http.get("/api/v1/runs/demo/weights/best", headers={"Range": "bytes=-24"})
            assert download.json()["code"] == "not_found"
            download = await http.get("/api/v1/runs/demo/weights/latest", headers={"Range": "bytes=-24"})
            assert (download.status_code, download.content) == (206, DATA[-24:])
            unchanged = await http.get("/api/v1/runs/demo/weights/2", headers={"If-None-Match": download.headers["etag"]})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            stream = server.url.replace("http", "ws") + "/api/v1/live?topics=run"
            async with connect(stream, additional_headers=headers) as socket:
                assert '"kind":"hello"' in str(await socket.recv())
            async with connect(stream) as socket:
                with pytest.raises(ConnectionClosed, match="a token is needed") as caught:
                    await socket.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 4401

    asyncio.run(story())


def test_it_closes_with_a_stream_and_a_connection_open_and_may_be_closed_twice(tokens: TokenStore) -> None:
    headers = {"Authorization": f"Bearer {tokens.issue('ann', 'viewer')}"}

    async def story() -> None:
        async with serving(tokens) as server, httpx.AsyncClient(base_url=server.url) as http:
            await http.get("/api/v1/health")
            async with connect(server.url.replace("http", "ws") + "/api/v1/live", additional_headers=headers) as socket:
                await socket.recv()
                async with asyncio.timeout(5):
                    await server.close()
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            await server.close()
            with pytest.raises(httpx.ConnectError):
                await http.get("/api/v1/health")

    asyncio.run(story())


def test_it_does_not_wait_for_a_browser_that_reads_nothing(tokens: TokenStore) -> None:
    token = tokens.issue("ann", "viewer")

    async def story() -> None:
        node = FakeNode()
        server = ControlServer(ControlOptions(port=0), node, Access(tokens))
        await server.start()
        browser = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        with browser:
            browser.sendall(
                b"GET /api/v1/live?topics=log HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
            )
            browser.setblocking(False)
            loop = asyncio.get_running_loop()
            heard = b""
            while b'"hello"' not in heard:
                heard += await loop.sock_recv(browser, 1)
            for _ in range(200):
                node.feed.publish("log", {"line": "x" * 100_000})
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await server.close()

    asyncio.run(story())


def test_a_port_in_use_is_named_with_what_to_do(tokens: TokenStore) -> None:
    async def story() -> None:
        async with serving(tokens) as first:
            port = int(first.url.rsplit(":", 1)[1])
            second = ControlServer(ControlOptions(port=port), FakeNode(), Access(tokens))
            with pytest.raises(Conflict, match=rf"cannot have 127.0.0.1, port {port}: .* --set control.port=0"):
                await second.start()
            await second.close()

    asyncio.run(story())


def test_an_address_that_is_not_ours_is_named(tokens: TokenStore) -> None:
    proxies = ("10.0.0.2",)  # so that the address is tried at all
    server = ControlServer(ControlOptions(host="192.0.2.1", port=0, trusted_proxies=proxies), FakeNode(), Access(tokens))
    with pytest.raises(Conflict, match=r"192\.0\.2\.1"):
        asyncio.run(server.start())


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1"])
def test_beyond_loopback_it_needs_https(tokens: TokenStore, host: str) -> None:
    server = ControlServer(ControlOptions(host=host, port=0), FakeNode(), Access(tokens))
    with pytest.raises(SettingsError, match=r"set control\.certificate and control\.key"):
        asyncio.run(server.start())


def test_a_certificate_alone_is_not_enough(tokens: TokenStore) -> None:
    with pytest.raises(SettingsError, match=r"control\.key is not"):
        ControlServer(ControlOptions(certificate="relay.pem"), FakeNode(), Access(tokens))


@pytest.mark.parametrize("proxy", ["*", "proxy.example", ""])
def test_a_proxy_is_an_address(tokens: TokenStore, proxy: str) -> None:
    with pytest.raises(SettingsError, match="expected an address"):
        ControlServer(ControlOptions(trusted_proxies=(proxy,)), FakeNode(), Access(tokens))


def test_with_a_certificate_it_speaks_https_on_all_addresses(tokens: TokenStore, tmp_path: Path) -> None:
    identity = ensure_identity(tmp_path / "identity", ("localhost",))
    trusting = ssl.create_default_context(cafile=str(identity.certificate))
    headers = {"Host": "relay.example", "Authorization": f"Bearer {tokens.issue('ann', 'viewer')}"}

    async def story() -> None:
        files = {"certificate": str(identity.certificate), "key": str(identity.key)}
        async with serving(tokens, host="0.0.0.0", **files) as server, httpx.AsyncClient(verify=trusting) as http:
            assert server.url.startswith("https://127.0.0.1:")
            assert (await http.get(f"{server.url}/api/v1/runs", headers=headers)).status_code == 200

    asyncio.run(story())


def test_a_trusted_proxy_says_who_asks_and_nobody_else_does(tokens: TokenStore) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "Host": "relay.example"}

    async def story() -> None:
        async with serving(tokens, trusted_proxies=("127.0.0.1",)) as server, httpx.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/api/v1/health", headers=forwarded)).status_code == 200
            plain = forwarded | {"X-Forwarded-Proto": "http"}
            assert (await http.get("/api/v1/health", headers=plain)).json()["code"] == "insecure"
        async with serving(tokens) as server, httpx.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/api/v1/health", headers=forwarded)).json()["code"] == "wrong_host"

    asyncio.run(story())


def test_signals_and_the_root_logger_stay_as_they_are(tokens: TokenStore) -> None:
    async def story() -> None:
        before = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), list(logging.getLogger().handlers)]
        async with serving(tokens):
            during = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), list(logging.getLogger().handlers)]
            assert during == before

    asyncio.run(story())


def test_not_even_the_finest_log_shows_a_token(tokens: TokenStore, caplog: pytest.LogCaptureFixture) -> None:
    token = tokens.issue("ann", "viewer")

    async def story() -> None:
        async with serving(tokens) as server, httpx.AsyncClient(base_url=server.url) as http:
            await http.get("/api/v1/runs", headers={"Authorization": f"Bearer {token}"})
            stream = server.url.replace("http", "ws") + "/api/v1/live"
            protocols: Any = ["tmrld.live.v1", f"tmrld.bearer.{token}"]
            quiet = logging.getLogger("tests.client")
            quiet.setLevel(logging.CRITICAL)
            async with connect(stream, subprotocols=protocols, logger=quiet) as socket:
                await socket.recv()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(story())
    assert token not in caplog.text


def test_answers_do_not_wait_for_acknowledgements(tokens: TokenStore) -> None:
    """asyncio sets TCP_NODELAY on sockets that name TCP as their protocol, and on no others."""
    server = ControlServer(ControlOptions(port=0), FakeNode(), Access(tokens))

    async def story() -> None:
        listener = await server._bind()
        with listener:
            assert listener.proto == socket.IPPROTO_TCP

    asyncio.run(story())
