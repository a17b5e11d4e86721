"""The control API of a fake node, asked in memory."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fake_node import FakeNode
from tmrld.access import Access, Address
from tmrld.control.app import create_app
from tmrld.security.attempts import Attempts
from tmrld.security.tokens import SCOPES, TokenStore


class Api:
    """One application, and a token of each scope, called after it.  Three wrong tokens make an address wait."""

    def __init__(self, folder: Path) -> None:
        self.node = FakeNode()
        self.store = TokenStore(folder / "tokens.db")
        self.tokens = {scope: self.store.issue(scope, scope) for scope in SCOPES} | {"": "", "wrong": "tmrld_admin_guess"}
        self.access = Access(self.store, None, lambda: Address("0.0.0.0", 7401, "", f"sha256:{'ab' * 32}"))
        self.app = create_app(self.node, self.access, host="relay.example", attempts=Attempts(limit=3))

    def get(self, path: str, token: str = "viewer", **options: Any) -> httpx.Response:
        return self.ask("GET", path, token, **options)

    def post(self, path: str, token: str = "operator", **options: Any) -> httpx.Response:
        return self.ask("POST", path, token, **options)

    def ask(
        self,
        method: str,
        path: str,
        token: str = "viewer",
        *,
        base: str = "http://127.0.0.1:7400",
        client: str = "127.0.0.1",
        body: object = None,
        **headers: str,
    ) -> httpx.Response:
        """A request from the address ``client`` to ``base``; ``if_range="x"`` sets the header If-Range."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.tokens[token]:
            sent.setdefault("authorization", f"Bearer {self.tokens[token]}")

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(client, 50000))
            async with httpx.AsyncClient(transport=transport, base_url=base) as http:
                return await http.request(method, f"/api/v1/{path}", json=body, headers=sent)

        return asyncio.run(exchange())


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    api = Api(tmp_path)
    yield api
    api.store.close()
