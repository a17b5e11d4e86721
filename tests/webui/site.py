"""What the page's tests look at: a daemon of all roles at an address that stays when it is killed and started again."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Browser, Page

from tests.support.cluster import Cluster, Program

RUN: dict[str, Any] = {
    "run.algorithm.warm_up": 200,
    "run.network.hidden": [16],
    "run.environment.max_steps": 120,
    "run.training.weights_interval_updates": 20,
    "run.training.metrics_interval_updates": 20,
    "run.training.evaluation_interval_updates": 100,
    "run.training.evaluation_episodes": 1,
}
"""The simulator with a small network, short episodes, and frequent news."""


class Site:
    """``with`` it, `start` it; what still runs at the end is killed."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster(folder)
        self._ports = free_ports(2)
        self._program: Program | None = None
        self.url = f"http://127.0.0.1:{self._ports[0]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cluster.__exit__(kind, error, trace)

    @property
    def data(self) -> Path:
        """The data folder of the daemon."""
        return self._cluster.data("up")

    def start(self) -> None:
        """Start the daemon, again if it was killed; returns when it listens."""
        settings = {"control.port": self._ports[0], "relay.port": self._ports[1], **RUN}
        flags = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        self._program = self._cluster.start_tmrld("up", ["up", "--headless", "--data", str(self.data), *flags])
        self._program.said("tmrld is running")

    def join(self, role: str, name: str, folder: Path) -> None:
        """Have another daemon join with an invite, and start it."""
        invite = self.api("POST", "invites", {"role": role, "name": name})["invite"]
        self._cluster.start_tmrld(
            name, ["join", invite, "--config", str(folder / "tmrld.toml"), "--data", str(folder / "data")]
        )

    def kill(self) -> None:
        """kill -9."""
        assert self._program is not None
        self._program.kill()

    @property
    def admin(self) -> str:
        """The token that the daemon leaves for this machine's own commands."""
        return (self.data / "control.token").read_text().strip()

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API as the admin."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.admin}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def open(self, browser: Browser, at: str = "", *, theme: str = "light", width: int = 1280) -> Page:
        """A new browser that a one-time code has signed in, at this view."""
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if theme == "dark" else "light"
        )
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.goto(f"{self.url}/#code={self.api('POST', 'codes')['code']}")
        page.get_by_role("button", name="Sign out").wait_for()
        page.goto(f"{self.url}/#/{at}")
        return page


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
