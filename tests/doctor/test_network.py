"""The way to a relay, with each thing that can be in it put there for real; and the ports of a relay of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.doctor.patients import NETWORK, PORTS, codes, way
from tests.peers.servers import Proxy, Recorder, Relay
from tmrld.doctor.diagnosis import Diagnosis
from tmrld.doctor.network import NetworkEvidence, gather_network, judge_network, without_login
from tmrld.doctor.ports import Port, gather_port
from tmrld.peers.listener import Listener
from tmrld.protocol.messages import Welcome
from tmrld.security.tls import server_context
from tmrld.settings import Settings

TOKEN = "worker-token"
DEADLINE_S = 30.0


@contextmanager
def apart(server: AbstractAsyncContextManager[Any]) -> Iterator[Any]:
    """A server that runs in a thread of its own as long as this is open; yields what entering it gave."""
    ready = threading.Event()
    entered: list[tuple[Any, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with server as gave:
            ended = asyncio.Event()
            entered.append((gave, asyncio.get_running_loop(), ended))
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(DEADLINE_S)
        yield entered[0][0]
    finally:
        for _, loop, ended in entered:
            loop.call_soon_threadsafe(ended.set)
        thread.join()


def settings(port: int, pin: str, **peers: Any) -> Settings:
    plain = {"relay": f"wss://127.0.0.1:{port}", "pin": pin, "token": TOKEN, **peers}
    return Settings.model_validate({"roles": ["worker"], "name": "gamer", "peers": plain})


def found(chosen: Settings) -> tuple[NetworkEvidence, list[Diagnosis]]:
    seen, _ = gather_network(chosen)
    return seen, judge_network(seen)


def only(chosen: Settings) -> Diagnosis:
    """The one thing that is wrong."""
    (bad,) = (each for each in found(chosen)[1] if each.state == "wrong")
    return bad


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    return Relay(tmp_path)


def listening(relay: Relay, **options: Any) -> Listener:
    return relay.listener(**options)


# All is well


def test_a_relay_that_lets_this_node_in_tells_its_run(relay: Relay) -> None:
    relay_now = Listener(
        "127.0.0.1",
        0,
        server_context(relay.identity.key, relay.identity.certificate),
        lambda token, _: relay.tokens.get(token),
        lambda: Welcome("hub", "0.1.0", time.time()),
        _nobody,
        outlook=lambda grant: {"linked": True, "run": "demo", "environment": {"game": "trackmania", "clock": "realtime"}},
    )
    with apart(relay_now) as listener:
        seen, environment = gather_network(settings(listener.port, relay.identity.pin))
    assert environment == {"game": "trackmania", "clock": "realtime"}
    assert {each.state for each in judge_network(seen)} == {"ok"}
    assert seen.way is not None
    assert (seen.way.relay_name, seen.way.run, seen.way.linked) == ("hub", "demo", True)
    assert seen.way.connect_s is not None


async def _nobody(_link: Any) -> None:
    raise AssertionError("nobody is to be linked")


def test_a_relay_whose_clock_stands_still_and_that_has_no_daemon_of_this_node(relay: Relay) -> None:
    with apart(listening(relay)) as listener:
        seen, diagnoses = found(settings(listener.port, relay.identity.pin))
    assert seen.way is not None
    assert seen.way.ahead_s == pytest.approx(time.time(), abs=120)  # it says that it is 1970
    assert codes(diagnoses) == {"clock-off", "daemon-away"}


# What can be in the way


def test_nothing_listens(relay: Relay) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        bad = only(settings(taken.getsockname()[1], relay.identity.pin))
    assert bad.code == "relay-refused"
    assert "tmrld serve --role relay" in bad.mend


def test_a_name_that_is_none(relay: Relay) -> None:
    bad = only(settings(7401, relay.identity.pin, relay="wss://nowhere.invalid:7401"))
    assert bad.code == "name-unknown"
    assert "nowhere.invalid" in bad.text


def test_nobody_answers(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that never comes about, as behind a firewall that drops it: the queue of a listener that is full."""
    monkeypatch.setattr("tmrld.doctor.network.CONNECT_S", 0.5)
    with socket.socket() as full, contextlib.ExitStack() as callers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        bad = only(settings(full.getsockname()[1], relay.identity.pin))
    assert bad.code == "relay-timeout"
    assert "firewall" in bad.mend


def test_another_key(relay: Relay, tmp_path: Path) -> None:
    with apart(listening(relay)) as listener:
        bad = only(settings(listener.port, Relay(tmp_path / "other").identity.pin))
    assert bad.code == "wrong-key"
    assert relay.identity.pin in bad.text
    assert "tmrld invite --role worker" in bad.mend


@pytest.mark.parametrize(
    ("token", "changes", "code"),
    [
        ("guessed-token", {}, "token-unknown"),
        ("viewer-token", {}, "token-for-another"),
        (TOKEN, {"roles": ["trainer"]}, "token-for-another"),
        (TOKEN, {"name": "other"}, "token-for-another"),
    ],
)
def test_tokens_that_do_not_fit(relay: Relay, token: str, changes: dict[str, Any], code: str) -> None:
    with apart(listening(relay)) as listener:
        chosen = settings(listener.port, relay.identity.pin, token=token).model_copy(update=changes)
        seen, diagnoses = found(chosen)
    assert codes(diagnoses) == {code}
    assert token not in seen.model_dump_json()


def test_too_many_wrong_tokens(relay: Relay) -> None:
    with apart(listening(relay)) as listener:
        chosen = settings(listener.port, relay.identity.pin, token="guessed-token")
        for _ in range(10):
            only(chosen)
        assert only(chosen).code == "too-many-tries"


def test_another_version_of_the_protocol(relay: Relay) -> None:
    with apart(listening(relay, spoken=("tmrld.v2",))) as listener:
        bad = only(settings(listener.port, relay.identity.pin))
    assert bad.code == "protocol-mismatch"
    assert bad.mend == "pip install --upgrade tmrld, here"


def test_an_older_relay_that_does_not_answer_who_looks(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    async def leave(connection: Any, *_: Any) -> None:
        await connection.send("hello?")
        await connection.close()

    monkeypatch.setattr("tmrld.peers.looking.show", leave)
    with apart(listening(relay)) as listener:
        assert only(settings(listener.port, relay.identity.pin)).code == "relay-older"


def test_a_server_that_speaks_no_tls(relay: Relay) -> None:
    with apart(Recorder(b"HTTP/1.1 400 Bad Request\r\n\r\n").listening()) as port:
        bad = only(settings(port, relay.identity.pin))
    assert bad.code == "not-tls"
    assert "7400" in bad.mend


def test_a_server_that_speaks_tls_and_is_no_relay(relay: Relay) -> None:
    context = server_context(relay.identity.key, relay.identity.certificate)
    for answer, code in (
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "not-a-relay"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "relay-in-trouble"),
        (b"220 mail.example\r\n", "not-a-relay"),
    ):
        with apart(Recorder(answer).listening(context)) as port:
            assert only(settings(port, relay.identity.pin)).code == code


# Certificates that an authority is to vouch for


class Authority:
    """Signs certificates for a server, and has a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        self.file = folder / "authority.pem"
        own = self._build(self._name, self._key.public_key(), 10, is_authority=True)
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def server(self, name: str = "localhost", days: int = 10) -> ssl.SSLContext:
        """TLS with a certificate for this name that ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        built = self._build(subject, key.public_key(), days, is_authority=False)
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        key_file, file = self._folder / f"{name}{days}.key", self._folder / f"{name}{days}.pem"
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_file.write_bytes(key.private_bytes(*pem))
        file.write_bytes(built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return server_context(key_file, file)

    def _build(self, subject: x509.Name, key: Any, days: int, *, is_authority: bool) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=min(days - 5, -1) if days < 20 else days))
            .not_valid_after(now + datetime.timedelta(days=days + 10 if days >= 20 else days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )


@pytest.mark.parametrize(
    ("name", "days", "own_authority", "code"),
    [
        ("localhost", -1, True, "certificate-dates"),
        ("localhost", 30, True, "certificate-dates"),
        ("relay.example", 10, True, "certificate-name"),
        ("localhost", 10, False, "certificate-untrusted"),
    ],
)
def test_certificates_that_are_not_accepted(tmp_path: Path, name: str, days: int, own_authority: bool, code: str) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "two").mkdir()
    file = authority.file if own_authority else Authority(tmp_path / "two").file
    with apart(Recorder(b"x").listening(authority.server(name, days))) as port:
        bad = only(settings(port, "", relay=f"wss://localhost:{port}", ca_file=str(file)))
    assert bad.code == code, bad


# Proxies


def test_a_proxy_is_gone_through_and_its_password_is_not_told(relay: Relay) -> None:
    proxy = Proxy()
    with apart(listening(relay)) as listener, apart(proxy.listening()) as port:
        chosen = settings(listener.port, relay.identity.pin, proxy=f"http://paul:secret@127.0.0.1:{port}")
        seen, diagnoses = found(chosen)
    assert codes(diagnoses) == {"clock-off", "daemon-away"}
    assert proxy.asked
    assert "secret" not in seen.model_dump_json()


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "proxy-password"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "proxy-fails"),
    ],
)
def test_a_proxy_that_refuses(relay: Relay, refusal: bytes, code: str) -> None:
    with apart(Proxy(refusal).listening()) as port:
        assert only(settings(7401, relay.identity.pin, proxy=f"http://127.0.0.1:{port}")).code == code


def test_a_proxy_that_is_not_there(relay: Relay) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        bad = only(settings(7401, relay.identity.pin, proxy=f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert bad.code == "relay-refused"
    assert bad.mend == "start the proxy, or mend peers.proxy"


def test_the_system_s_proxy_is_proposed_where_nothing_else_leads_there() -> None:
    seen = way(outcome="unreachable", connect_error="timeout", system_proxy="http://proxy.example:3128")
    (bad,) = judge_network(seen)
    assert "browsers here go through http://proxy.example:3128: set peers.proxy to that" in bad.mend


def test_names_and_passwords_are_left_out() -> None:
    assert without_login("http://paul:secret@proxy.example:3128") == "http://proxy.example:3128"
    assert without_login("http://paul:p@ss/w@proxy.example:3128/") == "http://proxy.example:3128/"
    assert without_login("paul:secret@proxy.example:3128") == "proxy.example:3128"  # as people write https_proxy
    assert without_login("wss://relay.example:7401") == "wss://relay.example:7401"
    assert without_login("") == ""


# Settings that lead nowhere


@pytest.mark.parametrize(
    ("peers", "code"),
    [
        ({"token": ""}, "not-joined"),
        ({"pin": ""}, "no-trust"),
        ({"relay": "relay.example"}, "peers-invalid"),
        ({"relay": "ws://relay.example:7401"}, "peers-invalid"),
        ({"pin": "sha256:12"}, "peers-invalid"),
        ({"pin": "", "ca_file": "/nowhere/authority.pem"}, "peers-invalid"),
    ],
)
def test_settings_with_which_no_relay_is_found(relay: Relay, peers: dict[str, str], code: str) -> None:
    assert only(settings(7401, **{"pin": relay.identity.pin, **peers})).code == code


def test_a_daemon_with_its_own_relay_needs_no_way_to_it() -> None:
    seen, environment = gather_network(Settings.model_validate({"relay": {"port": 0}, "control": {"port": 0}}))
    assert (seen.way, environment) == (None, {})
    assert {each.state for each in judge_network(seen)} == {"ok"}


# Judging


def test_a_long_way_and_other_versions_are_told() -> None:
    assert codes(judge_network(NETWORK)) == set()
    assert codes(judge_network(way(round_trip_s=0.3))) == {"slow-link"}
    (older,) = (each for each in judge_network(way(relay_version="0.0.9")) if each.code)
    assert (older.code, older.mend) == ("versions-differ", "pip install --upgrade tmrld, on the relay's machine")
    (newer,) = (each for each in judge_network(way(relay_version="0.10.0")) if each.code)
    assert newer.mend == "pip install --upgrade tmrld, on this machine"


def test_clocks_are_compared() -> None:
    (ahead,) = (each for each in judge_network(way(ahead_s=3 * 3600.0)) if each.code)
    assert "3 hours ahead of the relay's" in ahead.text
    (behind,) = (each for each in judge_network(way(ahead_s=-40.0)) if each.code)
    assert "40 seconds behind the relay's" in behind.text


# Ports


def test_a_port_that_is_free_and_one_that_somebody_has() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        seen = gather_port("peers", "127.0.0.1", port)
        assert seen.in_use
        (bad,) = judge_network(NetworkEvidence(version="0.1.0", ports=(seen,)))
        assert bad.code == "port-in-use"
        assert f"(process {os.getpid()}) has it" in bad.text
        assert f"relay.port={port + 10}" in bad.mend
        assert codes(judge_network(NetworkEvidence(version="0.1.0", ports=(seen,)), daemon=seen.pid)) == set()
    assert not gather_port("peers", "127.0.0.1", port).in_use
    assert gather_port("peers", "0.0.0.0", 0) == Port(what="peers", host="0.0.0.0", port=0)


def test_an_address_that_is_not_this_machine_s() -> None:
    seen = gather_port("page and control API", "192.0.2.7", 7400)
    (bad,) = judge_network(NetworkEvidence(version="0.1.0", ports=(seen,)))
    assert bad.code == "port-denied"
    assert "control.host" in bad.mend


def test_free_ports_are_well() -> None:
    assert codes(judge_network(NetworkEvidence(version="0.1.0", ports=PORTS))) == set()
