"""Looking at a relay without a link: who may, what they read, and that it disturbs nobody."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from tests.peers.servers import Recorder, Relay, a_status
from tmrld.errors import LinkError, ProtocolError, Refused
from tmrld.peers.looking import look
from tmrld.security.tls import WrongKey, client_context, ensure_identity


def test_who_looks_learns_what_the_relay_is_and_how_clocks_and_line_are(tmp_path: Path) -> None:
    async def scene() -> None:
        relay = Relay(tmp_path)
        async with relay.listener(outlook=lambda grant: {"run": f"run of {grant.name}"}) as listener:
            context = client_context(relay.identity.pin)
            seen = await look(f"127.0.0.1:{listener.port}", "worker-token", "worker", "gamer", context)
        assert (seen.relay, seen.version, seen.name, seen.about) == ("hub", "0.1.0", "gamer", {"run": "run of gamer"})
        assert seen.ahead_s == pytest.approx(time.time(), abs=60)  # the clock of this relay stands at 0
        assert 0 < seen.round_trip_s < 5
        assert relay.links == []

    asyncio.run(scene())


def test_a_daemon_that_is_linked_stays_linked_while_somebody_looks(tmp_path: Path) -> None:
    async def scene() -> None:
        relay = Relay(tmp_path)
        async with relay.listener() as listener:
            link = await relay.dialer(listener.port).connect()
            await look(f"127.0.0.1:{listener.port}", "worker-token", "worker", "gamer", client_context(relay.identity.pin))
            assert [each.peer.name for each in relay.links] == ["gamer"]
            await link.send(a_status())
            await link.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("token", "role", "name", "sentence"),
    [
        ("wrong-token", "worker", "gamer", "does not know the token"),
        ("worker-token", "trainer", "gamer", "made for worker gamer, but the role is 'trainer'"),
        ("worker-token", "worker", "other", "made for worker gamer, but the name is 'other'"),
        ("viewer-token", "worker", "gamer", "has the scope viewer"),
    ],
)
def test_who_would_be_turned_away_reads_why(tmp_path: Path, token: str, role: str, name: str, sentence: str) -> None:
    async def scene() -> None:
        relay = Relay(tmp_path)
        async with relay.listener() as listener:
            with pytest.raises(Refused, match=sentence):
                await look(f"127.0.0.1:{listener.port}", token, role, name, client_context(relay.identity.pin))

    asyncio.run(scene())


def test_another_key_is_seen_before_the_token_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        relay = Relay(tmp_path / "one")
        async with relay.listener() as listener:
            other = client_context(ensure_identity(tmp_path / "two").pin)
            with pytest.raises(Refused) as refused:
                await look(f"127.0.0.1:{listener.port}", "worker-token", "worker", "gamer", other)
        assert isinstance(refused.value.__cause__, WrongKey)

    asyncio.run(scene())


def test_what_is_no_relay_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        context = client_context(ensure_identity(tmp_path).pin)
        async with Recorder(b"220 mail.example\r\n").listening() as port:
            with pytest.raises(LinkError, match="does not speak TLS"):
                await look(f"127.0.0.1:{port}", "worker-token", "worker", "gamer", context)

    asyncio.run(scene())


def test_a_relay_that_does_not_know_who_looks_is_to_be_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one waits for a hello."""

    async def wait(connection: ServerConnection, *_: object) -> None:
        await connection.wait_closed()

    async def scene() -> None:
        relay = Relay(tmp_path)
        monkeypatch.setattr("tmrld.peers.looking.show", wait)
        async with relay.listener() as listener:
            with pytest.raises(ProtocolError, match="upgrade the relay"):
                await look(
                    f"127.0.0.1:{listener.port}",
                    "worker-token",
                    "worker",
                    "gamer",
                    client_context(relay.identity.pin),
                    timeout_s=1.0,
                )

    asyncio.run(scene())
