"""The ports that a relay of this machine listens on: whether they can be had, and who has them otherwise."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import psutil

from tmrld.doctor.diagnosis import Diagnosis, ok, wrong
from tmrld.doctor.patient import Evidence

AREA = "network"


class Port(Evidence):
    """A port that this machine's relay is to listen on: whether it can, and who has it otherwise."""

    what: str
    host: str
    port: int
    error: str = ""
    in_use: bool = False
    pid: int | None = None
    program: str = ""


def gather_port(what: str, host: str, port: int) -> Port:
    """Whether a relay could listen there now; 0 is any free one."""
    seen: dict[str, Any] = {"what": what, "host": host, "port": port}
    if port == 0:
        return Port(**seen)
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family[0], socket.SOCK_STREAM) as trial:
            if os.name == "posix":
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(family[4])
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE or getattr(error, "winerror", 0) in (10013, 10048)
        return Port(**seen, error=error.strerror or str(error), in_use=in_use, **_who_listens(port))
    return Port(**seen)


def _who_listens(port: int) -> dict[str, Any]:
    """The process that has a port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return {"pid": connection.pid, "program": psutil.Process(connection.pid).name()}
    return {}


def judge_ports(ports: tuple[Port, ...], daemon: int | None) -> Iterator[Diagnosis]:
    """Each port; ``daemon`` is the process that uses the data folder, if there is one."""
    for each in ports:
        setting = "relay.port" if each.what == "peers" else "control.port"
        where = f"port {each.port} of {each.host or 'all addresses'}"
        if each.in_use and daemon is not None and each.pid in (None, daemon):
            yield ok(AREA, each.what, f"{where} is used by the daemon that runs here")
        elif each.in_use:
            who = f"{each.program} (process {each.pid})" if each.pid else "another program"
            yield wrong(
                AREA,
                each.what,
                f"{where} is needed for {each.what}, and {who} has it",
                f"end that program, or choose another port: --set {setting}={each.port + 10}",
                code="port-in-use",
            )
        elif each.error:
            yield wrong(
                AREA,
                each.what,
                f"a relay cannot listen on {where}: {each.error}",
                f"set {setting.replace('port', 'host')} to 127.0.0.1 for this machine alone, or 0.0.0.0 for others, too",
                code="port-denied",
            )
        else:
            yield ok(AREA, each.what, f"{where} is free" if each.port else "any free port will do")
