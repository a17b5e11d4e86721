"""The control API does what its own OpenAPI document says, whatever it is sent: generated requests against a real relay."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from tmrld.control.app import create_app
from tmrld.daemon import Daemon
from tmrld.security.tokens import TokenStore
from tmrld.settings import load
from tmrld.storage.layout import Layout

START_S = 30.0


class Relay:
    """A relay with one run and nobody at work, in a thread of its own."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="relay")
        self._failure: BaseException | None = None
        self.url = ""
        self.token = ""

    def __enter__(self) -> Relay:
        self._thread.start()
        assert self._ready.wait(START_S), "the relay did not start"
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._daemon.stop)
        self._thread.join(START_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # it is raised again where somebody looks
            self._failure = error
            self._ready.set()
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        flags = {"roles": ["relay"], "data": str(self._data), "relay": {"port": 0}, "control": {"port": 0}}
        self._daemon = Daemon(load(flags=flags, environment={}))
        async with self._daemon as daemon:
            tokens = TokenStore(Layout(self._data).tokens_db)
            self.token = tokens.issue("fuzz", "admin")
            tokens.close()
            self.url = daemon.addresses["control"]
            self._ready.set()
            await daemon.wait()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Relay(tmp_path_factory.mktemp("relay")) as running:
        yield running


DOCUMENT = create_app(cast(Any, None), cast(Any, None)).openapi()
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path="/api/v1/login")  # wrong tokens make this machine wait


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_answers_as_it_is_documented(case: schemathesis.Case[Any], relay: Relay) -> None:
    case.call_and_validate(
        base_url=relay.url,
        headers={"Authorization": f"Bearer {relay.token}"},
        checks=[not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance],
    )
