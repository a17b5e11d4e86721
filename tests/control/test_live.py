import asyncio
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from tests.control.conftest import Api
from tmrld.control import live
from tmrld.control.live import BEARER_PREFIX, DEFAULT_TOPICS, QUEUE_EVENTS, SUBPROTOCOL

Message = MutableMapping[str, Any]


class Browser:
    """One end of a WebSocket in memory.  While ``reading`` is not set, what the server sends gets stuck."""

    def __init__(
        self, api: Api, query: str = "", token: str = "viewer", subprotocols: tuple[str, ...] = (), path: str = "/api/v1/live"
    ) -> None:
        self.reading = asyncio.Event()
        self.reading.set()
        self._to_server: asyncio.Queue[Message] = asyncio.Queue()
        self._from_server: asyncio.Queue[Message] = asyncio.Queue()
        headers = [(b"host", b"localhost")]
        if token:
            headers.append((b"authorization", f"Bearer {api.tokens[token]}".encode()))
        self.scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": list(subprotocols),
            "client": ("127.0.0.1", 50000),
        }
        self._app = api.app

    async def __aenter__(self) -> "Browser":
        self._to_server.put_nowait({"type": "websocket.connect"})
        self.serving = asyncio.create_task(self._app(self.scope, self._to_server.get, self._send))
        opened = await self._from_server.get()
        assert opened["type"] == "websocket.accept"
        self.subprotocol = opened["subprotocol"]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.reading.set()
        self.go()
        await self.serving

    async def _send(self, message: Message) -> None:
        await self.reading.wait()
        self._from_server.put_nowait(message)

    def say(self, text: str) -> None:
        self._to_server.put_nowait({"type": "websocket.receive", "text": text})

    def go(self) -> None:
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def next(self) -> Message:
        message = await self._from_server.get()
        assert message["type"] == "websocket.send", message
        heard: Message = json.loads(message["text"])
        return heard

    async def closed(self) -> tuple[int, str]:
        message = await self._from_server.get()
        assert message["type"] == "websocket.close", message
        return message["code"], message["reason"]


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def told() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(told())


def test_the_first_message_says_what_is_running_and_what_will_be_told(api: Api) -> None:
    async def story() -> None:
        async with Browser(api, "topics=run,%20metrics,run") as browser:
            hello = await browser.next()
            assert (hello["kind"], hello["node"], hello["topics"]) == ("hello", "hub", ["run", "metrics"])
        async with Browser(api) as browser:
            assert (await browser.next())["topics"] == list(DEFAULT_TOPICS)

    run(story)


def test_events_of_the_topics_asked_for_are_told(api: Api) -> None:
    async def story() -> None:
        async with Browser(api, "topics=metrics") as browser:
            await browser.next()
            api.node.feed.publish("run", {"state": "paused"}, "demo")
            api.node.feed.publish("metrics", {"values": {"loss": math.nan, "alpha": 0.2}}, "demo")
            event = await browser.next()
            assert event.pop("time") > 0
            assert event == {
                "kind": "event",
                "number": 2,
                "topic": "metrics",
                "run": "demo",
                "data": {"values": {"loss": None, "alpha": 0.2}},
            }

    run(story)


def test_a_slow_browser_gets_the_newest_events_and_hears_how_many_are_missing(api: Api) -> None:
    async def story() -> None:
        async with Browser(api, "topics=run") as browser:
            await browser.next()
            browser.reading.clear()
            for number in range(3 * QUEUE_EVENTS):
                api.node.feed.publish("run", {"n": number})
            browser.reading.set()
            assert await browser.next() == {"kind": "dropped", "count": 2 * QUEUE_EVENTS}
            heard = [(await browser.next())["data"]["n"] for _ in range(QUEUE_EVENTS)]
            assert heard == list(range(2 * QUEUE_EVENTS, 3 * QUEUE_EVENTS))
            api.node.feed.publish("run", {"n": "after"})
            assert (await browser.next())["data"]["n"] == "after"

    run(story)


def test_a_browser_that_takes_nothing_is_let_go(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEND_TIMEOUT_S", 0.0)

    async def story() -> None:
        async with Browser(api) as browser:
            await browser.next()
            browser.reading.clear()
            api.node.feed.publish("run", {})
            await browser.serving
            assert not api.node.feed._subscriptions

    run(story)


def test_a_browser_that_goes_leaves_nothing_behind(api: Api) -> None:
    async def story() -> None:
        async with Browser(api) as browser:
            await browser.next()
            browser.say("hello?")
            browser.go()
            await browser.serving
            assert not api.node.feed._subscriptions

    run(story)


def test_a_browser_brings_its_token_as_a_subprotocol(api: Api) -> None:
    async def story() -> None:
        offered = (SUBPROTOCOL, BEARER_PREFIX + api.tokens["viewer"])
        async with Browser(api, token="", subprotocols=offered) as browser:
            assert browser.subprotocol == SUBPROTOCOL
            assert (await browser.next())["kind"] == "hello"

    run(story)


@pytest.mark.parametrize(
    ("query", "token", "code", "sentence"),
    [
        ("", "", 4401, "a token is needed"),
        ("", "wrong", 4401, "this token is not known here"),
        ("", "worker", 4403, "has the scope worker"),
        ("topics=run,runs", "viewer", 4400, "unknown topic 'runs': the topics are run, node,"),
        ("topics=" + "é" * 500, "viewer", 4400, "unknown topic"),
    ],
)
def test_who_may_not_listen_is_told_why(api: Api, query: str, token: str, code: int, sentence: str) -> None:
    async def story() -> None:
        async with Browser(api, query, token) as browser:
            said, reason = await browser.closed()
            assert said == code
            assert sentence in reason
            assert len(reason.encode()) <= 123

    run(story)


def test_wrong_tokens_on_streams_count_as_attempts(api: Api) -> None:
    async def story() -> None:
        for _ in range(3):
            async with Browser(api, token="wrong") as browser:
                assert (await browser.closed())[0] == 4401
        async with Browser(api) as browser:
            assert (await browser.closed())[0] == 4429

    run(story)


def test_a_stream_ends_when_its_token_is_revoked(api: Api) -> None:
    async def story() -> None:
        async with Browser(api) as browser:
            await browser.next()
            await api.access.revoke_token("viewer")
            assert await browser.closed() == (4401, "the token of this stream was revoked or replaced")

    run(story)


def test_an_event_that_cannot_be_told_ends_the_stream_with_a_sentence(api: Api) -> None:
    async def story() -> None:
        async with Browser(api) as browser:
            await browser.next()
            api.node.feed.publish("run", {"thing": object()})
            assert (await browser.closed())[0] == 4500

    run(story)


def test_other_paths_and_other_hosts_are_told_so(api: Api) -> None:
    async def story() -> None:
        async with Browser(api, path="/api/v1/alive") as browser:
            assert (await browser.closed())[0] == 4404
        browser = Browser(api)
        browser.scope["headers"] = [(b"host", b"evil.example")]
        async with browser:
            assert (await browser.closed())[0] == 4421

    run(story)


def test_a_browser_that_comes_back_is_told_what_it_missed(api: Api) -> None:
    async def story() -> None:
        async with Browser(api, "topics=run") as browser:
            hello = await browser.next()
            api.node.feed.publish("run", {"n": 1}, "demo")
            last = (await browser.next())["number"]
        for n in (2, 3):
            api.node.feed.publish("run", {"n": n}, "demo")
        async with Browser(api, f"topics=run&since={last}&stream={hello['stream']}") as browser:
            assert (await browser.next())["number"] == last
            assert [(await browser.next())["data"]["n"] for _ in range(2)] == [2, 3]

    run(story)


def test_a_browser_that_had_another_stream_is_told_of_a_gap(api: Api) -> None:
    async def story() -> None:
        api.node.feed.publish("run", {"n": 1})
        async with Browser(api, "topics=run&since=1&stream=of-the-daemon-before") as browser:
            assert (await browser.next())["number"] == 1
            assert await browser.next() == {"kind": "gap"}

    run(story)


def test_a_browser_hears_of_the_run_that_it_shows(api: Api) -> None:
    async def story() -> None:
        async with Browser(api, "topics=run&run=demo") as browser:
            await browser.next()
            for name in ("other", "demo"):
                api.node.feed.publish("run", {}, name)
            assert (await browser.next())["run"] == "demo"

    run(story)


def test_pictures_are_made_while_somebody_listens(api: Api) -> None:
    async def story() -> None:
        async with Browser(api, "topics=preview&run=demo") as browser:
            await browser.next()
            assert api.node.watched == ["demo"]
            api.node.feed.publish("preview", {"worker": "w1"}, "demo")
            assert (await browser.next())["topic"] == "preview"
        assert api.node.watched == []

    run(story)


@pytest.mark.parametrize(
    ("query", "code", "sentence"),
    [
        ("topics=preview", 4400, "the topic preview needs a run"),
        ("topics=preview&run=nothing", 4404, "there is no run 'nothing'"),
        ("since=yesterday&stream=x", 4400, "since is 'yesterday', expected the number of an event"),
    ],
)
def test_what_cannot_be_listened_to_is_explained(api: Api, query: str, code: int, sentence: str) -> None:
    async def story() -> None:
        async with Browser(api, query) as browser:
            said, reason = await browser.closed()
            assert said == code
            assert sentence in reason

    run(story)
