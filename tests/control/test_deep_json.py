"""JSON that is nested without end, in every body and in what is kept of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.control.test_who_may_ask_what import NEEDS, PLACES
from tmrld.daemon import Daemon
from tmrld.security.tokens import TokenStore
from tmrld.settings import load
from tmrld.storage.layout import Layout

BODIES = {
    "maps": b'{"a":' * 900 + b"1" + b"}" * 900,
    "lists": b'{"algorithm":' + b"[" * 900 + b"]" * 900 + b"}",
    "in a configuration": b'{"name":"deep","config":' + b'{"a":' * 400 + b"1" + b"}" * 400 + b"}",
    "without end": b"[" * 60_000,
    "numbers": b'{"name":' + b"9" * 5000 + b"}",
    "infinite": b'{"name":"x","config":{"seed":1e999}}',
    "half a character": b'{"name":"\\ud800"}',
    "no text": b'{"name":"\xff\xfe"}',
    "the same key twice": b'{"name":"a","name":"b"}',
    "nothing": b"",
    "not a map": b"[1]",
}


@pytest.mark.parametrize("kind", BODIES)
def test_no_depth_of_json_fails_inside(tmp_path: Path, kind: str) -> None:
    flags = {"roles": ["relay"], "data": str(tmp_path), "relay": {"port": 0}, "control": {"port": 0}}
    routes = [route.split(" ", 1) for route in NEEDS if route.split()[0] in ("POST", "PUT", "PATCH")]

    async def scene() -> list[tuple[str, str, int]]:
        async with Daemon(load(flags=flags, environment={})) as daemon:
            tokens = TokenStore(Layout(tmp_path).tokens_db)
            headers = {"authorization": f"Bearer {tokens.issue('admin', 'admin')}", "content-type": "application/json"}
            tokens.close()
            failed = []
            async with httpx.AsyncClient(base_url=daemon.addresses["control"], headers=headers, timeout=60) as http:
                for method, path in routes:
                    query = "?revision=1" if path.endswith("/config") else ""
                    response = await http.request(method, f"/api/v1/{path.format(**PLACES)}{query}", content=BODIES[kind])
                    if response.status_code >= 500:
                        failed.append((method, path, response.status_code))
            return failed

    assert asyncio.run(scene()) == []
