"""Dialer and listener together, over loopback with real TLS."""

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

import tmrld.peers.dialer
from tests.peers.servers import Proxy, Recorder, Relay, a_status, wait_for_the_end
from tests.protocol.examples import a_chunk
from tmrld.errors import Conflict, LinkLost, NotFound, ProtocolError, Refused, SettingsError, StorageError, TmrldError
from tmrld.peers.channel import REPLACED, WebSocketChannel
from tmrld.peers.dialer import Dialer, backoff
from tmrld.peers.link import Link
from tmrld.protocol.codec import encode, seal_chunk
from tmrld.protocol.messages import SPOKEN, Ack, CheckpointMessage, Hello, Status, WeightsMessage
from tmrld.security.attempts import Attempts
from tmrld.security.tls import client_context, ensure_identity, server_context
from tmrld.security.tokens import TokenStore


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    return Relay(tmp_path / "relay")


async def echo(link: Link) -> None:
    """Sends the weights back that a trainer's checkpoint stands for, and acknowledges a worker's chunks."""
    async for message in link:
        match message:
            case CheckpointMessage():
                await link.send(message)
            case Status():
                await link.send(Ack(message.detail, []))


# The way in


def test_a_peer_with_a_token_gets_a_link(relay: Relay) -> None:
    async def scene() -> None:
        async with relay.listener(echo) as listener:
            link = await relay.dialer(listener.port).connect()
            assert (link.peer.role, link.peer.name) == ("relay", "hub")
            assert link.latency_s is not None
            await link.send(a_status("hello"))
            received = await link.receive()
            assert received is not None
            assert received.message == Ack("hello", [])
            await link.close()
        (there,) = relay.links
        assert (there.peer.role, there.peer.name, there.peer.remote) == ("worker", "gamer", "127.0.0.1")

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("relays", "peers", "spoken"),
    [
        (["tmrld.v2", "tmrld.v1"], ["tmrld.v1"], "tmrld.v1"),  # the relay was upgraded first
        (["tmrld.v1"], ["tmrld.v2", "tmrld.v1"], "tmrld.v1"),  # the worker was
        (["tmrld.v2", "tmrld.v1"], ["tmrld.v2", "tmrld.v1"], "tmrld.v2"),
    ],
)
def test_relay_and_peer_speak_the_highest_version_that_both_know(
    relay: Relay, relays: list[str], peers: list[str], spoken: str
) -> None:
    async def scene() -> None:
        async with relay.listener(echo, spoken=relays) as listener:
            dialer = relay.dialer(listener.port, spoken=peers)
            async with connect(
                f"wss://127.0.0.1:{listener.port}",
                ssl=client_context(pin=relay.identity.pin),
                subprotocols=[Subprotocol(each) for each in peers],
                additional_headers={"Authorization": "Bearer worker-token"},
            ) as connection:
                assert connection.subprotocol == spoken
            link = await dialer.connect()
            await link.send(a_status("hello"))
            received = await link.receive()
            assert received is not None
            assert received.message == Ack("hello", [])
            await link.close()

    asyncio.run(scene())


def test_large_messages_travel_in_pieces_both_ways(relay: Relay) -> None:
    async def scene() -> None:
        async with relay.listener(echo) as listener:
            link = await relay.dialer(listener.port, "trainer-token", "trainer", "gpu").connect()
            checkpoint = CheckpointMessage("oval", 1, 0, 0, 0, bytes(range(256)) * 20_000)
            await asyncio.gather(link.send(checkpoint), link.send(a_status("between")))
            received = await link.receive()
            assert received is not None
            assert received.message == checkpoint
            await link.close()

    asyncio.run(scene())


def test_cancelling_in_the_middle_of_a_large_message_costs_the_link(relay: Relay) -> None:
    async def scene() -> None:
        over = asyncio.Event()

        async def do_not_read(link: Link) -> None:
            await over.wait()

        async with relay.listener(do_not_read) as listener:
            link = await relay.dialer(listener.port, "trainer-token", "trainer", "gpu").connect()
            sending = asyncio.create_task(link.send(CheckpointMessage("oval", 1, 0, 0, 0, bytes(50_000_000))))
            await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
            with pytest.raises(LinkLost, match="the connection was lost"):
                await link.receive()
            over.set()

    asyncio.run(scene())


def test_tokens_come_from_the_store(relay: Relay, tmp_path: Path) -> None:
    async def scene() -> None:
        store = TokenStore(tmp_path / "tokens.sqlite")
        async with relay.listener(authenticate=lambda token, address: store.check(token)) as listener:
            dialer = relay.dialer(listener.port, store.issue("gamer", "worker"))
            await (await dialer.connect()).close()
            store.revoke("gamer")
            with pytest.raises(Refused, match="revoked or replaced"):
                await dialer.connect()
        store.close()

    asyncio.run(scene())


def refusal(relay: Relay, *peer: str, speaks: Sequence[str] = SPOKEN, **options: Any) -> str:
    """What a peer is told that is not let in."""

    async def scene() -> str:
        async with relay.listener(**options) as listener:
            with pytest.raises(Refused) as raised:
                await relay.dialer(listener.port, *peer, spoken=speaks).connect()
            assert relay.links == []
            return str(raised.value)

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        (lambda store: store.revoke("gamer"), Refused, "was revoked or replaced while it connected"),
        (lambda store: store.rename("gamer", "lab"), LinkLost, "what worker gamer is called has changed"),
        (lambda store: store.issue("old", "worker"), LinkLost, "what worker gamer is called has changed"),
    ],
)
def test_what_became_of_a_token_before_hello_counts(
    relay: Relay, tmp_path: Path, change: Callable[[TokenStore], object], kind: type[TmrldError], sentence: str
) -> None:
    async def scene() -> None:
        with contextlib.closing(TokenStore(tmp_path / "tokens")) as store:
            token = store.issue("old", "worker")
            store.rename("old", "gamer")
            async with relay.listener(authenticate=lambda token, address: store.check(token)) as listener:
                connection = await connect(
                    f"wss://127.0.0.1:{listener.port}/",
                    ssl=client_context(pin=relay.identity.pin),
                    additional_headers={"Authorization": f"Bearer {token}"},
                    subprotocols=[Subprotocol(SPOKEN[0])],
                    compression=None,
                )
                change(store)
                link = await Link.dial(await WebSocketChannel.over(connection, "relay"), Hello("worker", "gamer", "0.1.0"))
                with pytest.raises(kind, match=sentence):
                    await link.receive()
        assert relay.links == []

    asyncio.run(scene())


def test_a_wrong_token_is_refused(relay: Relay) -> None:
    sentence = refusal(relay, "guess")
    assert "refuses (HTTP 401): this relay does not know the token: it was mistyped, revoked or replaced" in sentence
    assert "guess" not in sentence


def test_a_viewer_is_no_peer(relay: Relay) -> None:
    assert "the token of guest has the scope viewer: a peer needs one with the scope worker or trainer" in refusal(
        relay, "viewer-token"
    )


def test_a_role_needs_its_own_token(relay: Relay) -> None:
    sentence = refusal(relay, "worker-token", "trainer", "gamer")
    assert "HTTP 403" in sentence
    assert "the token was made for worker gamer, but the role is 'trainer'" in sentence


def test_a_name_needs_its_own_token(relay: Relay) -> None:
    assert "but the name is 'rival': use the token of that name, or set the name to 'gamer'" in refusal(
        relay, "worker-token", "worker", "rival"
    )


def test_a_relay_may_have_reasons_of_its_own(relay: Relay) -> None:
    def authenticate(token: str, address: str) -> None:
        raise Refused(f"no peers from {address} today")

    assert "HTTP 403): no peers from 127.0.0.1 today" in refusal(relay, authenticate=authenticate)


def test_a_newer_peer_is_told_to_upgrade_the_relay(relay: Relay) -> None:
    told = refusal(relay, speaks=["tmrld.v2"])
    assert "this relay speaks tmrld.v1, worker gamer offers tmrld.v2: upgrade the relay" in told


def test_an_older_peer_is_told_to_upgrade_itself(relay: Relay) -> None:
    told = refusal(relay, spoken=["tmrld.v2"])
    assert "this relay speaks tmrld.v2, worker gamer offers tmrld.v1: upgrade the worker" in told


def test_a_token_store_that_fails_turns_nobody_away_for_good(relay: Relay) -> None:
    def authenticate(token: str, address: str) -> None:
        raise StorageError("disk on fire")

    async def scene() -> None:
        async with relay.listener(authenticate=authenticate) as listener:
            with pytest.raises(LinkLost, match=r"HTTP 503\): the relay cannot check tokens now") as raised:
                await relay.dialer(listener.port).connect()
            assert "fire" not in str(raised.value)

    asyncio.run(scene())


def test_who_guesses_has_to_wait(relay: Relay) -> None:
    async def scene() -> None:
        async with relay.listener(attempts=Attempts(limit=2, window_s=3600)) as listener:
            for _ in range(2):
                with pytest.raises(Refused):
                    await relay.dialer(listener.port, "guess").connect()
            with pytest.raises(LinkLost, match=r"HTTP 429\): too many wrong tokens came from here: try again in \d+ s"):
                await relay.dialer(listener.port).connect()

    asyncio.run(scene())


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic Z3Vlc3Q6eA=="}, {"Authorization": "Bearer "}])
def test_without_a_token_there_is_no_websocket(relay: Relay, headers: dict[str, str]) -> None:
    async def scene() -> None:
        async with relay.listener() as listener:
            context = client_context(pin=relay.identity.pin)
            with pytest.raises(InvalidStatus) as raised:
                await connect(f"wss://127.0.0.1:{listener.port}", ssl=context, proxy=None, additional_headers=headers)
            assert raised.value.response.status_code == 401
            assert raised.value.response.headers["WWW-Authenticate"] == "Bearer"
            assert b"a bearer token is needed" in (raised.value.response.body or b"")

    asyncio.run(scene())


# Keys


def test_a_server_with_another_key_never_sees_the_token(relay: Relay, tmp_path: Path) -> None:
    async def scene() -> None:
        rival, recorder = ensure_identity(tmp_path / "rival"), Recorder()
        async with recorder.listening(server_context(rival.key, rival.certificate)) as port:
            with pytest.raises(Refused, match=f"expected {relay.identity.pin}, seen {rival.pin}"):
                await relay.dialer(port).connect()
        assert recorder.heard == b""

    asyncio.run(scene())


def test_the_recorder_would_have_heard_a_token(relay: Relay) -> None:
    """The test above would fail if the pin were not checked."""

    async def scene() -> None:
        recorder = Recorder(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        async with recorder.listening(server_context(relay.identity.key, relay.identity.certificate)) as port:
            with pytest.raises(Refused, match="answers with HTTP 404, expected a tmrld relay: check the address and port"):
                await relay.dialer(port).connect()
        assert b"Bearer worker-token" in recorder.heard

    asyncio.run(scene())


def test_the_token_does_not_follow_a_redirect(relay: Relay, tmp_path: Path) -> None:
    async def scene() -> None:
        elsewhere = Recorder(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        tls = server_context(relay.identity.key, relay.identity.certificate)
        async with elsewhere.listening(tls) as there:
            redirect = f"HTTP/1.1 302 Found\r\nLocation: wss://127.0.0.1:{there}/\r\nContent-Length: 0\r\n\r\n"
            async with Recorder(redirect.encode()).listening(tls) as port:
                with pytest.raises(Refused, match="answers with HTTP 302"):
                    await relay.dialer(port).connect()
        assert elsewhere.visits == 0

    asyncio.run(scene())


def test_an_authority_may_vouch_for_the_relay(relay: Relay, tmp_path: Path) -> None:
    async def scene() -> None:
        other = ensure_identity(tmp_path / "other")
        async with relay.listener() as listener:
            known = relay.dialer(listener.port, context=client_context(ca_file=relay.identity.certificate))
            await (await known.connect()).close()
            unknown = relay.dialer(listener.port, context=client_context(ca_file=other.certificate))
            with pytest.raises(Refused, match=r"the certificate of 127\.0\.0\.1:\d+ is not accepted: self-signed"):
                await unknown.connect()

    asyncio.run(scene())


def test_nothing_secret_is_logged(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with relay.listener(echo) as listener:
            await (await relay.dialer(listener.port).connect()).close()
            with pytest.raises(Refused):
                await relay.dialer(listener.port, "guess").connect()

    caplog.set_level(logging.DEBUG)
    asyncio.run(scene())
    assert "turned away 127.0.0.1 (HTTP 401)" in caplog.text
    assert "worker-token" not in caplog.text
    assert "guess" not in caplog.text


# What may not be said


async def told_to(relay: Relay, port: int, *words: bytes | str) -> tuple[int, str]:
    """What the relay closes with after a peer with a token of its own mind says these words."""
    async with connect(
        f"wss://127.0.0.1:{port}",
        ssl=client_context(pin=relay.identity.pin),
        subprotocols=["tmrld.v1"],  # type: ignore[list-item]
        additional_headers={"Authorization": "Bearer worker-token"},
        compression=None,
        proxy=None,
    ) as connection:
        for word in words:
            await connection.send(word)
        await connection.wait_closed()
        assert connection.close_code is not None
        return connection.close_code, connection.close_reason or ""


HELLO = encode(Hello("worker", "gamer", "0.1.0"))


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ([b"garbage"], 1007, "a message is not sound msgpack"),
        (["text"], 1003, "a text message came; peers speak in binary messages only"),
        ([encode(a_status())], 1002, "status before hello: a session opens with hello"),
        ([encode(Hello("worker", "rival", "0.1.0"))], 1008, "hello.name is 'rival', but the token was made for 'gamer'"),
        ([HELLO, encode(Ack("1f", []))], 1002, "a worker does not say ack to the relay"),
        ([HELLO, msgpack.packb(["status", {"run": 7}, b""])], 1007, "status."),
        ([HELLO, msgpack.packb(["status", {"x" * 300_000: 1}, b""])], 1009, "a header of more than 262144 bytes came"),
        ([HELLO, bytes(2_000_000)], 1009, "exceeds limit of 1000000 bytes"),
    ],
    ids=["garbage", "text", "too early", "another name", "not allowed", "malformed", "large header", "oversized"],
)
def test_who_breaks_the_protocol_is_told_how(relay: Relay, words: list[bytes | str], code: int, reason: str) -> None:
    async def scene() -> None:
        async with relay.listener(max_message_bytes=1_000_000) as listener:
            seen_code, seen_reason = await told_to(relay, listener.port, *words)
            assert seen_code == code
            assert reason in seen_reason

    asyncio.run(scene())


def test_a_peer_sees_the_relays_sentence(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with relay.listener(max_message_bytes=100_000) as listener:
            link = await relay.dialer(listener.port, "trainer-token", "trainer", "gpu").connect()
            with contextlib.suppress(ProtocolError):  # if the refusal is quicker than the sending
                await link.send(WeightsMessage("oval", 1, 1, 0, 0, bytes(1_000_000)))
            with pytest.raises(ProtocolError, match=r"this end broke the protocol: .*limit of 100000 bytes") as raised:
                await link.receive()
            assert raised.value.code == 1009

    asyncio.run(scene())
    assert "trainer gpu at 127.0.0.1 broke the protocol" in caplog.text


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (Refused("there is a trainer already"), Refused, "refuses: there is a trainer already"),
        (Conflict("the run is gone"), Refused, "the run is gone"),
        (NotFound("no such run"), LinkLost, "no such run"),
        (ZeroDivisionError("internals"), LinkLost, "the relay failed; its log says why"),
    ],
)
def test_trouble_in_the_relay_reaches_the_peer(relay: Relay, error: Exception, kind: type[TmrldError], sentence: str) -> None:
    async def fail(link: Link) -> None:
        raise error

    async def scene() -> None:
        async with relay.listener(fail) as listener:
            link = await relay.dialer(listener.port).connect()
            with pytest.raises(kind, match=sentence):
                await link.receive()

    asyncio.run(scene())


# Coming back


def test_a_peer_comes_back_after_the_relay_restarts(relay: Relay) -> None:
    async def scene() -> None:
        links: asyncio.Queue[Link] = asyncio.Queue()
        reports: list[str] = []

        async def on_link(link: Link) -> None:
            await links.put(link)
            await link.receive()

        async with relay.listener() as listener:
            port = listener.port
            running = asyncio.create_task(relay.dialer(port, report=reports.append).run(on_link))
            first = await links.get()
        async with relay.listener(port=port):
            second = await links.get()
            assert second is not first
            running.cancel()
            await asyncio.wait([running])
        assert "the link to relay hub" in reports[0]
        assert "is lost: the relay stops; trying again" in reports[0]

    asyncio.run(scene())


def test_a_cut_line_is_noticed_at_both_ends(relay: Relay) -> None:
    async def scene() -> None:
        noticed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        async def watch(link: Link) -> None:
            try:
                await link.receive()
            except LinkLost as error:
                noticed.set_result(error)

        proxy = Proxy()
        async with relay.listener(watch) as listener, proxy.listening() as port:
            link = await relay.dialer(listener.port, proxy=f"http://127.0.0.1:{port}").connect()
            proxy.cut()
            for use in (link.receive, lambda: link.send(CHUNK)):
                with pytest.raises(LinkLost, match=r"the link to relay hub at .* is lost: the connection was lost"):
                    await use()
            assert "the link to worker gamer" in str(await noticed)

    asyncio.run(scene())


CHUNK = seal_chunk(a_chunk())


def test_a_refusal_ends_the_dialing(relay: Relay) -> None:
    async def scene() -> None:
        async with relay.listener() as listener:
            with pytest.raises(Refused, match="does not know the token"):
                await relay.dialer(listener.port, "guess").run(nobody)

    asyncio.run(scene())


async def nobody(link: Link) -> None:
    raise AssertionError("a link, although there should be none")


def test_a_persistent_peer_gets_in_once_its_token_exists(relay: Relay) -> None:
    async def scene() -> None:
        reports: list[str] = []
        linked = asyncio.Event()

        def report(sentence: str) -> None:
            reports.append(sentence)
            relay.tokens["early"] = relay.tokens["worker-token"]

        async def on_link(link: Link) -> None:
            linked.set()
            await link.receive()

        async with relay.listener() as listener:
            running = asyncio.create_task(relay.dialer(listener.port, "early", persist=True, report=report).run(on_link))
            await linked.wait()
            running.cancel()
            await asyncio.wait([running])
        assert len(reports) == 1
        assert "does not know the token" in reports[0]

    asyncio.run(scene())


def test_tasks_that_fail_together_with_their_link_do_not_end_the_dialing(relay: Relay) -> None:
    async def scene() -> None:
        rounds = itertools.count()
        again = asyncio.Event()

        async def on_link(link: Link) -> None:
            if next(rounds) > 0:
                again.set()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(2):
                    tasks.create_task(lose())

        async def lose() -> None:
            raise LinkLost("gone")

        async with relay.listener() as listener:
            running = asyncio.create_task(relay.dialer(listener.port).run(on_link))
            await again.wait()
            running.cancel()
            await asyncio.wait([running])

    asyncio.run(scene())


def test_trouble_that_is_not_the_links_ends_the_dialing(relay: Relay) -> None:
    async def fail(link: Link) -> None:
        raise StorageError("the spool is full")

    async def scene() -> None:
        async with relay.listener() as listener:
            with pytest.raises(StorageError):
                await relay.dialer(listener.port).run(fail)

    asyncio.run(scene())


def test_the_same_trouble_is_reported_once(relay: Relay) -> None:
    async def scene() -> None:
        reports: list[str] = []
        tries = itertools.count()
        enough = asyncio.Event()

        def delays() -> Iterator[float]:
            while True:
                if next(tries) == 5:
                    enough.set()
                yield 0.0

        async with Recorder().listening() as port:
            pass
        dialer = relay.dialer(port, report=reports.append, delays=delays)
        running = asyncio.create_task(dialer.run(nobody))
        await enough.wait()
        running.cancel()
        await asyncio.wait([running])
        assert len(reports) == 1
        assert "cannot be reached" in reports[0]

    asyncio.run(scene())


@pytest.mark.parametrize(("steady_s", "begun"), [(0.0, 4), (3600.0, 1)])
def test_after_a_link_that_lived_for_a_while_delays_begin_anew(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, steady_s: float, begun: int
) -> None:
    async def scene() -> None:
        monkeypatch.setattr(tmrld.peers.dialer, "STEADY_S", steady_s)
        series = 0
        third = asyncio.Event()

        def delays() -> Iterator[float]:
            nonlocal series
            series += 1
            return itertools.repeat(0.0)

        async def leave(link: Link) -> None:
            if len(relay.links) == 4:
                third.set()
                await asyncio.Event().wait()

        async with relay.listener() as listener:
            running = asyncio.create_task(relay.dialer(listener.port, delays=delays).run(leave))
            await third.wait()
            running.cancel()
            await asyncio.wait({running})
        assert series == begun

    asyncio.run(scene())


def test_two_nodes_of_one_name_do_not_chase_each_other_away(relay: Relay) -> None:
    async def scene() -> None:
        async def replace(link: Link) -> None:
            await link.close(REPLACED, "another link has taken over")

        reports: list[str] = []
        async with relay.listener(replace) as listener:
            dialer = relay.dialer(listener.port, refused_delay_s=3600.0, report=reports.append)
            running = asyncio.create_task(dialer.run(wait_for_the_end))
            await asyncio.sleep(0.5)
            running.cancel()
            await asyncio.wait({running})
        assert len(relay.links) == 2  # once back at once, for it might have been an own link that was given up
        (report,) = reports
        assert "has let go of this link: another link has taken over; trying again" in report

    asyncio.run(scene())


def test_the_address_is_looked_up_at_each_try(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        address = "127.0.0.1"
        linked = asyncio.Event()
        look_up = socket.getaddrinfo

        def answer(host: Any, *others: Any, **more: Any) -> Any:
            return look_up(address if host == "relay.test" else host, *others, **more)

        async def notice(link: Link) -> None:
            linked.set()
            await wait_for_the_end(link)

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        async with relay.listener(notice) as listener:
            port = listener.port
            context = client_context(pin=relay.identity.pin)
            dialer = Dialer(f"wss://relay.test:{port}", "worker-token", Hello("worker", "gamer", "0.1.0"), context)
            running = asyncio.create_task(dialer.run(wait_for_the_end))
            await linked.wait()
        linked.clear()
        address = "127.0.0.2"
        async with relay.listener(notice, host=address, port=port):
            await linked.wait()
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_delays_grow_to_a_ceiling_and_are_jittered() -> None:
    assert list(itertools.islice(backoff(0.1, 5.0, lambda: 1.0), 8)) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert list(itertools.islice(backoff(chance=lambda: 0.0), 3)) == [0.0, 0.0, 0.0]
    assert all(0 <= delay_s <= 5 for delay_s in itertools.islice(backoff(), 100))


# The way there


def test_nobody_at_the_address(relay: Relay) -> None:
    async def scene() -> None:
        async with Recorder().listening() as port:
            pass
        with pytest.raises(LinkLost, match=rf"127\.0\.0\.1:{port} cannot be reached \(.*\): is the relay running"):
            await relay.dialer(port).connect()

    asyncio.run(scene())


def test_a_server_without_tls(relay: Relay) -> None:
    async def scene() -> None:
        async with Recorder(b"HTTP/1.1 400 Bad Request\r\n\r\n").listening() as port:
            with pytest.raises(LinkLost, match=r"does not speak TLS as expected \(.*\): is it the relay's port for peers"):
                await relay.dialer(port).connect()

    asyncio.run(scene())


def test_a_server_that_speaks_another_protocol(relay: Relay) -> None:
    async def scene() -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        tls = server_context(relay.identity.key, relay.identity.certificate)
        async with Recorder(answer).listening(tls) as port:
            with pytest.raises(Refused, match="answers with HTTP 200, expected a tmrld relay"):
                await relay.dialer(port).connect()
        async with Recorder(b"220 mail.example ESMTP\r\n").listening(tls) as port:
            with pytest.raises(LinkLost, match="does not answer like a relay"):
                await relay.dialer(port).connect()

    asyncio.run(scene())


def test_a_proxy_leads_to_the_relay_and_learns_nothing(relay: Relay) -> None:
    async def scene() -> None:
        proxy = Proxy()
        async with relay.listener(echo) as listener, proxy.listening() as port:
            link = await relay.dialer(listener.port, proxy=f"http://127.0.0.1:{port}").connect()
            await link.send(a_status("through"))
            received = await link.receive()
            assert received is not None
            assert received.message == Ack("through", [])
            await link.close()
            assert proxy.asked == [f"CONNECT 127.0.0.1:{listener.port} HTTP/1.1".encode()]
        assert b"worker-token" not in proxy.forwarded
        assert len(proxy.forwarded) > 1000

    asyncio.run(scene())


def test_the_pin_is_checked_through_a_proxy_too(relay: Relay, tmp_path: Path) -> None:
    async def scene() -> None:
        rival, recorder = ensure_identity(tmp_path / "rival"), Recorder()
        async with (
            recorder.listening(server_context(rival.key, rival.certificate)) as port,
            Proxy().listening() as proxy_port,
        ):
            with pytest.raises(Refused, match="is not the pinned one"):
                await relay.dialer(port, proxy=f"http://127.0.0.1:{proxy_port}").connect()
        assert recorder.heard == b""

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (b"407 Proxy Authentication Required", Refused, "the proxy asks for a name and password"),
        (b"403 Forbidden", LinkLost, "the proxy does not lead to 127.0.0.1"),
    ],
)
def test_a_proxy_that_refuses(relay: Relay, status: bytes, kind: type[TmrldError], sentence: str) -> None:
    async def scene() -> None:
        async with Proxy(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n").listening() as port:
            with pytest.raises(kind, match=sentence):
                await relay.dialer(9, proxy=f"http://127.0.0.1:{port}").connect()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": "ws://relay.example"}, "not encrypted, and a token must not travel so"),
        ({"url": "relay.example:443"}, "expected wss://HOST:PORT"),
        ({"url": "wss://me:secret@relay.example"}, "has a name or password in it"),
        ({"token": ""}, "the token is empty"),
        ({"token": "two\r\nlines"}, "characters that no token has"),
        ({"proxy": "ftp://proxy"}, "the address of the proxy cannot be used"),
    ],
)
def test_settings_that_cannot_be_are_named(relay: Relay, changes: dict[str, Any], sentence: str) -> None:
    values = {"url": "wss://relay.example", "token": "t", "proxy": None, **changes}
    with pytest.raises(SettingsError, match=sentence) as raised:
        Dialer(
            values["url"],
            values["token"],
            Hello("worker", "gamer", "0.1.0"),
            client_context(pin=relay.identity.pin),
            proxy=values["proxy"],
        )
    assert "secret" not in str(raised.value)


# Listening


def test_a_listener_starts_and_closes_as_often_as_it_is_told(relay: Relay) -> None:
    async def scene() -> None:
        listener = relay.listener()
        assert listener.port == 0
        await listener.close()
        for _ in range(2):
            await listener.start()
            await listener.start()
            assert listener.port > 0
            await (await relay.dialer(listener.port).connect()).close()
            await listener.close()
            await listener.close()

    asyncio.run(scene())


def test_a_port_that_is_taken_is_named(relay: Relay) -> None:
    async def scene() -> None:
        async with relay.listener() as listener:
            with pytest.raises(Conflict, match=rf"127\.0\.0\.1, port {listener.port} is in use: stop the other program"):
                await relay.listener(port=listener.port).start()
        with pytest.raises(Conflict, match=r"cannot listen on 192\.0\.2\.1, port 0"):
            await relay.listener(host="192.0.2.1").start()

    asyncio.run(scene())


def test_closing_ends_links_that_are_in_use(relay: Relay) -> None:
    async def scene() -> None:
        async with relay.listener() as listener:
            link = await relay.dialer(listener.port).connect()
        with pytest.raises(LinkLost, match="is lost: the relay stops"):
            await link.receive()

    asyncio.run(scene())


def test_a_user_of_a_link_that_does_not_let_go_is_cancelled(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.peers.listener.LEAVING_TIMEOUT_S", 0.01)

    async def stay(link: Link) -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        async with relay.listener(stay) as listener:
            await relay.dialer(listener.port).connect()
            await asyncio.sleep(0)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(scene())
