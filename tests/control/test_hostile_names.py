"""Names from outside in every place of every route: no file is reached with them, no header and no log line is made of them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.control.test_who_may_ask_what import NEEDS
from tmrld.daemon import Daemon
from tmrld.security.tokens import TokenStore
from tmrld.settings import load
from tmrld.storage.layout import Layout

HOSTILE = (
    "../../../../etc/passwd",
    "..\\..\\secret",
    "/etc/passwd",
    "C:\\secret",
    "a/../../secret",
    "secret\x00.npy",
    "secret.npy\r\nSet-Cookie: tmrld_session=x",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe",
    "CON",
    ".hidden",
    "~root",
    "%2e%2e%2f%2e%2e%2fsecret",
    "x" * 5000,
    "'; DROP TABLE runs; --",
    "${jndi:ldap://evil.example/a}",
    "<script>alert(1)</script>",
)
"""What no name may look like, each for a reason of its own."""

ROUTES = [(*route.split(" ", 1),) for route in NEEDS if "{" in route and not route.startswith("WEBSOCKET")]


def files_of(folder: Path) -> set[str]:
    """Everything in a folder that has a name of its own: SQLite makes files beside its own as it likes."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not re.search(r"-(wal|shm)$", path.name)}


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_route_takes_a_hostile_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("the secret")
    (tmp_path / "secret.npy").write_text("the secret")
    data = tmp_path / "data"
    flags = {"roles": ["relay"], "data": str(data), "relay": {"port": 0}, "control": {"port": 0}}

    async def scene() -> None:
        async with Daemon(load(flags=flags, environment={})) as daemon:
            tokens = TokenStore(Layout(data).tokens_db)
            authorization = {"authorization": f"Bearer {tokens.issue('admin', 'admin')}"}
            tokens.close()
            before = files_of(tmp_path)
            async with httpx.AsyncClient(base_url=daemon.addresses["control"], headers=authorization, timeout=60) as http:
                for method, path in ROUTES:
                    spelled = re.sub(r"{\w+}", lambda _: quote(name, safe=""), path)
                    response = await http.request(method, f"/api/v1/{spelled}", content=b"" if method != "GET" else None)
                    assert 400 <= response.status_code < 500, (method, path, response.status_code)
                    assert "the secret" not in response.text
                    assert "set-cookie" not in response.headers
            assert files_of(tmp_path) - before <= {"data/shelf", "data/shelf/lock"}

    asyncio.run(scene())
