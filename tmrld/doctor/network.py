"""The way to the relay: its name, its port, its key, our token, its version and clock; and on the relay's machine, its own ports."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

from websockets.exceptions import InvalidProxyStatus, InvalidStatus, NegotiationError, ProxyError

from tmrld import __version__
from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.patient import Evidence
from tmrld.doctor.ports import Port, gather_port, judge_ports
from tmrld.errors import BadInput, LinkError, ProtocolError, SettingsError
from tmrld.machine import machine_name
from tmrld.peers.looking import look
from tmrld.security.tls import WrongKey, client_context
from tmrld.settings import Settings

CONNECT_S = 5.0
CLOCK_OFF_S = 5.0
"""A clock that is further off makes logs of two machines hard to read together."""
SLOW_S = 0.15
"""A longer round trip is felt when weights arrive, and when somebody watches."""

AREA = "network"
OUTCOMES = Literal[
    "looked",
    "not-asked",
    "not-joined",
    "no-trust",
    "settings",
    "wrong-key",
    "certificate",
    "not-tls",
    "http",
    "not-a-relay",
    "proxy-asks",
    "proxy",
    "timeout",
    "refused",
    "unreachable",
    "protocol",
]


class Way(Evidence):
    """How far one gets towards the relay.  Names and addresses, never a token; of a proxy, never its password.

    ``addresses`` are what its name stands for; ``connect_s`` how long a bare connection takes (None: there was none, as
    ``connect_error`` says).  ``outcome`` is where it ended, ``text`` the sentence about it, ``status`` the HTTP status of a refusal.
    """

    role: str
    name: str
    relay: str
    host: str = ""
    port: int = 0
    proxy: str = ""
    system_proxy: str = ""
    addresses: tuple[str, ...] = ()
    name_error: str = ""
    connect_s: float | None = None
    connect_error: str = ""
    outcome: OUTCOMES = "not-asked"
    text: str = ""
    status: int = 0
    verify_code: int = 0
    relay_name: str = ""
    relay_version: str = ""
    known_as: str = ""
    ahead_s: float = 0.0
    round_trip_s: float = 0.0
    linked: bool = False
    run: str = ""


class NetworkEvidence(Evidence):
    """``way`` is None where the relay is of this daemon itself; ``ports`` are those of a relay of this machine."""

    version: str
    way: Way | None = None
    ports: tuple[Port, ...] = ()


# Looking


def gather_network(
    settings: Settings, say: Callable[[str], None] = lambda sentence: None
) -> tuple[NetworkEvidence, Mapping[str, Any]]:
    """Look as far as the relay, and what world it has for this node: the ``environment`` of its run ({} where it does not say)."""
    roles = settings.roles
    way: Way | None = None
    environment: Mapping[str, Any] = {}
    role = next((role for role in roles if role != "relay"), None)
    own_relay = "relay" in roles or not roles
    if role is not None and (not own_relay or settings.peers.token.get_secret_value()):
        say(f"the way to the relay, {settings.peers.relay}")
        way, environment = asyncio.run(_gather_way(settings, role))
    ports: tuple[Port, ...] = ()
    if own_relay:
        say("the relay's own ports")
        ports = (
            gather_port("peers", settings.relay.host, settings.relay.port),
            gather_port("page and control API", settings.control.host, settings.control.port),
        )
    return NetworkEvidence(version=__version__, way=way, ports=ports), environment


async def _gather_way(settings: Settings, role: str) -> tuple[Way, Mapping[str, Any]]:
    peers = settings.peers
    token = peers.token.get_secret_value()
    seen: dict[str, Any] = {"role": role, "name": settings.name or machine_name(), "relay": without_login(peers.relay)}
    if not token:
        return Way(**seen, outcome="not-joined"), {}
    if not peers.pin and not peers.ca_file:
        return Way(**seen, outcome="no-trust"), {}
    try:
        parts = urlsplit(peers.relay)
        host, port = parts.hostname, parts.port or 443
        if parts.scheme != "wss" or not host or parts.username is not None:
            raise ValueError
    except ValueError:
        return Way(**seen, outcome="settings", text=f"peers.relay is {seen['relay']!r}, expected wss://HOST:PORT"), {}
    try:
        context = client_context(peers.pin or None, Path(peers.ca_file) if peers.ca_file else None)
    except SettingsError as error:
        return Way(**seen, outcome="settings", text=str(error)), {}
    seen |= {"host": host, "port": port, "proxy": without_login(peers.proxy), "system_proxy": _system_proxy(host)}
    first_host, first_port = _first_hop(peers.proxy) or (host, port)
    seen |= await _gather_connection(first_host, first_port)
    if seen["name_error"] or seen["connect_error"]:
        return Way(**seen, outcome="unreachable"), {}
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = await look(address, token, role, seen["name"], context, peers.proxy or None)
    except (LinkError, ProtocolError, BadInput) as error:
        return Way(**seen, **_outcome(error, settings)), {}
    about = found.about
    environment = about.get("environment")
    way = Way(
        **seen,
        outcome="looked",
        relay_name=found.relay,
        relay_version=found.version,
        known_as=found.name,
        ahead_s=found.ahead_s,
        round_trip_s=found.round_trip_s,
        linked=about.get("linked") is True,
        run=str(about.get("run", "")),
    )
    return way, environment if isinstance(environment, dict) else {}


async def _gather_connection(host: str, port: int) -> dict[str, Any]:
    """The name and the bare connection."""
    loop = asyncio.get_running_loop()
    seen: dict[str, Any] = {"name_error": "", "connect_error": ""}
    try:
        async with asyncio.timeout(CONNECT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        seen["addresses"] = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    except TimeoutError:
        return seen | {"name_error": f"no name server answered within {CONNECT_S:g} s"}
    except (OSError, UnicodeError) as error:
        return seen | {"name_error": str(getattr(error, "strerror", None) or error)}
    began = time.perf_counter()
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return seen | {"connect_error": "timeout"}
    except OSError as error:
        refused = isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower()
        return seen | {"connect_error": "refused" if refused else str(error.strerror or error)}
    seen["connect_s"] = time.perf_counter() - began
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return seen


def _outcome(error: Exception, settings: Settings) -> dict[str, Any]:
    """Where a look ended, by what the error came from."""
    cause = error.__cause__
    text = str(error)
    if settings.peers.proxy:
        text = text.replace(settings.peers.proxy, without_login(settings.peers.proxy))
    outcome, status, verify_code = "protocol", 0, 0
    match cause:
        case WrongKey():
            outcome = "wrong-key"
        case ssl.SSLCertVerificationError():
            outcome, verify_code = "certificate", int(cause.verify_code or 0)
        case ssl.SSLError():
            outcome = "not-tls"
        case InvalidStatus():
            outcome, status = "http", cause.response.status_code
        case NegotiationError():
            outcome = "not-a-relay"
        case InvalidProxyStatus() if cause.response.status_code == 407:
            outcome = "proxy-asks"
        case ProxyError():
            outcome = "proxy"
        case TimeoutError() if not isinstance(error, ProtocolError):
            outcome = "timeout"
        case ConnectionRefusedError():
            outcome = "refused"
        case OSError() if not isinstance(error, ProtocolError):
            outcome = "unreachable"
        case ImportError():
            outcome = "settings"
        case _ if isinstance(error, LinkError):
            outcome = "not-a-relay"
        case _:
            pass
    return {"outcome": outcome, "text": text, "status": status, "verify_code": verify_code}


def _first_hop(proxy: str) -> tuple[str, int] | None:
    """Host and port of a proxy; None without one."""
    if not proxy:
        return None
    with contextlib.suppress(ValueError):
        parts = urlsplit(proxy)
        if parts.hostname:
            return parts.hostname, parts.port or (443 if parts.scheme == "https" else 1080 if "socks" in parts.scheme else 80)
    return None


def _system_proxy(host: str) -> str:
    """The proxy that this machine's browsers use, without its password; "" for none, and for hosts of this machine."""
    if host in ("localhost", "127.0.0.1", "::1"):
        return ""
    proxies = getproxies()
    return without_login(proxies.get("https") or proxies.get("http") or "")


def without_login(address: str) -> str:
    """An address without the name and password in it, whether or not it says ``http://``, and whatever is in the password."""
    return re.sub(r"^(\w[\w+.-]*://)?.*@", r"\1", address)


# Judging


def judge_network(seen: NetworkEvidence, daemon: int | None = None) -> list[Diagnosis]:
    """The way to the relay, then this machine's own ports; ``daemon`` is the process that uses the data folder, if there is one."""
    return [*(_judge_way(seen.way, seen.version) if seen.way is not None else ()), *judge_ports(seen.ports, daemon)]


_CONNECTION = "relay"
_INVITE = "on the relay's machine run `tmrld invite --role {role}`, and here `tmrld join INVITE`"


def _judge_way(way: Way, version: str) -> Iterator[Diagnosis]:
    invite = _INVITE.format(role=way.role)

    def bad(code: str, text: str, mend: str) -> Diagnosis:
        return wrong(AREA, _CONNECTION, text, mend, code=code)

    where = f"{way.host}:{way.port}"
    hop = f"the proxy {way.proxy}" if way.proxy else where
    try_proxy = (
        f"; browsers here go through {way.system_proxy}: set peers.proxy to that" if way.system_proxy and not way.proxy else ""
    )
    if way.outcome == "not-joined":
        yield bad("not-joined", f"this {way.role} belongs to no relay: peers.token is not set", invite)
    elif way.outcome == "no-trust":
        yield bad(
            "no-trust",
            "nothing says which relay to trust: neither peers.pin nor peers.ca_file is set",
            f"set peers.pin to what the relay prints at its start; or {invite}",
        )
    elif way.outcome == "settings":
        yield bad("peers-invalid", way.text, f"mend the setting; or {invite}")
    elif way.name_error:
        yield bad(
            "name-unknown",
            f"the name of {hop} stands for no address here: {way.name_error}",
            f"check how it is spelt in peers.{'proxy' if way.proxy else 'relay'}, and this machine's network; an address such as "
            f"192.168.1.20 needs no name{try_proxy}",
        )
    elif way.connect_error == "refused":
        yield bad(
            "relay-refused",
            f"{hop} is reached, but nothing listens there" + ("" if way.proxy else f" on port {way.port}"),
            "start the proxy, or mend peers.proxy"
            if way.proxy
            else "start `tmrld serve --role relay` on its machine, with relay.host = 0.0.0.0, and check the port in peers.relay",
        )
    elif way.connect_error == "timeout" or way.outcome == "timeout":
        yield bad(
            "relay-timeout",
            f"{hop} did not answer within {CONNECT_S:g} s",
            f"is that machine on? Its firewall has to let TCP port {way.port} in{try_proxy}",
        )
    elif way.connect_error or way.outcome in ("unreachable", "refused"):
        yield bad(
            "relay-unreachable",
            f"{hop} cannot be reached: {way.connect_error or way.text}",
            f"check this machine's network, and the address in peers.relay{try_proxy}",
        )
    elif way.outcome == "wrong-key":
        yield bad(
            "wrong-key",
            way.text,
            f"if the relay was set up anew, that is why: {invite}.  If not, do not trust what answers there",
        )
    elif way.outcome == "certificate":
        yield _judge_certificate(way)
    elif way.outcome == "not-tls":
        yield bad(
            "not-tls",
            way.text,
            f"is {way.port} the relay's port for peers (7401, if nothing was set), and not its page's (7400)?",
        )
    elif way.outcome == "http":
        yield _judge_status(way, version, invite)
    elif way.outcome == "not-a-relay":
        yield bad("not-a-relay", way.text, "check address and port in peers.relay")
    elif way.outcome == "proxy-asks":
        yield bad("proxy-password", way.text, "set peers.proxy to http://NAME:PASSWORD@HOST:PORT")
    elif way.outcome == "proxy":
        yield bad("proxy-fails", way.text, "check peers.proxy, or leave it empty if this network needs none")
    elif way.outcome == "protocol":
        yield bad("relay-older", way.text, "pip install --upgrade tmrld, on the relay's machine")
    else:
        yield from _judge_looked(way, version)


def _judge_certificate(way: Way) -> Diagnosis:
    """OpenSSL's numbers: x509_vfy.h."""
    if way.verify_code in (9, 10):
        return wrong(
            AREA,
            _CONNECTION,
            f"{way.text.split('. ')[0]}: its dates do not fit this machine's clock, which says {time.strftime('%Y-%m-%d %H:%M')}"
            if way.verify_code == 9
            else way.text.split(". ")[0],
            "set this machine's clock right, or have the relay's certificate renewed; the relay's pin (peers.pin) needs no dates",
            code="certificate-dates",
        )
    if way.verify_code in (62, 64):
        return wrong(
            AREA,
            _CONNECTION,
            way.text.split(". Check")[0],
            "use the name that the certificate was made for in peers.relay; or peers.pin instead of peers.ca_file",
            code="certificate-name",
        )
    return wrong(
        AREA,
        _CONNECTION,
        way.text.split(". Check")[0],
        "set peers.ca_file to the file of the authority that signed it, or peers.pin to what the relay prints at its start",
        code="certificate-untrusted",
    )


def _judge_status(way: Way, version: str, invite: str) -> Diagnosis:
    """An HTTP answer where a link was wanted."""

    def bad(code: str, mend: str) -> Diagnosis:
        return wrong(AREA, _CONNECTION, way.text, mend, code=code)

    match way.status:
        case 401:
            return bad("token-unknown", invite)
        case 403:
            return bad("token-for-another", f"mend name, roles or peers.token; or {invite}")
        case 400 | 426 if "upgrade the" in way.text:
            where = "on the relay's machine" if "upgrade the relay" in way.text else "here"
            return bad("protocol-mismatch", f"pip install --upgrade tmrld, {where}")
        case 429:
            return bad(
                "too-many-tries", "wait a minute; a daemon here with a wrong token keeps trying: stop it, and mend its token"
            )
        case status if status >= 500:
            return bad("relay-in-trouble", "look at the relay's log: `tmrld node log relay`, on its machine")
        case _:
            return bad("not-a-relay", f"check address and port in peers.relay; this is tmrld {version}")


def _judge_looked(way: Way, version: str) -> Iterator[Diagnosis]:
    trip = f"{1000 * way.round_trip_s:.1f} ms there and back"
    linked = "its daemon is linked" if way.linked else "no daemon of this name is linked now"
    work = f", for the run {way.run}" if way.run else ""
    text = f"the relay {way.relay_name} lets {way.role} {way.known_as} in: {trip}; {linked}{work}"
    if way.round_trip_s > SLOW_S:
        yield note(
            AREA,
            _CONNECTION,
            f"{text}. That is a long way: new weights and pictures come late, though nothing is lost",
            "use a cable instead of Wi-Fi, and no VPN",
            code="slow-link",
        )
    else:
        yield ok(AREA, _CONNECTION, text)
    if not way.linked:
        yield note(
            AREA,
            "daemon",
            f"{way.role} {way.known_as} is not linked to its relay, because no daemon with these settings runs",
            "tmrld serve",
            code="daemon-away",
        )
    if way.relay_version != version:
        older = "the relay's machine" if _older(way.relay_version, version) else "this machine"
        yield note(
            AREA,
            "versions",
            f"the relay runs tmrld {way.relay_version}, and this machine {version}",
            f"pip install --upgrade tmrld, on {older}",
            code="versions-differ",
        )
    else:
        yield ok(AREA, "versions", f"the relay runs tmrld {version}, as this machine does")
    if abs(way.ahead_s) > CLOCK_OFF_S:
        side = "ahead of" if way.ahead_s > 0 else "behind"
        yield note(
            AREA,
            "clock",
            f"this machine's clock is {_duration(abs(way.ahead_s))} {side} the relay's: nothing breaks, but logs cannot be compared, "
            "and certificates with dates may be refused",
            "let the system set its clock by itself: Settings, Time & language on Windows, `timedatectl set-ntp true` on Linux",
            code="clock-off",
        )
    else:
        yield ok(AREA, "clock", f"{abs(way.ahead_s):.1f} s from the relay's")


def _older(one: str, other: str) -> bool:
    return [int(part) for part in re.findall(r"\d+", one)] < [int(part) for part in re.findall(r"\d+", other)]


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
