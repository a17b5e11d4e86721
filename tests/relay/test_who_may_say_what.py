"""Every kind of message, said by either role, of a run that is not its own: nothing of that run changes or becomes known.

The tables below have an entry for every kind of `messages.TABLE` that a peer may send: a new one without an entry fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.protocol.examples import every_message
from tests.relay.stage import RUN, FakePeer, Stage, a_summary, chunk, on_stage, weights
from tests.worker.worlds import SPEC
from tmrld.errors import NotFound, ProtocolError
from tmrld.protocol.codec import KINDS, encode
from tmrld.protocol.conversation import ROLES, Conversation
from tmrld.protocol.messages import (
    TABLE,
    Ack,
    Assign,
    CheckpointMessage,
    Consume,
    Consumed,
    Describe,
    FetchCheckpoint,
    FetchFile,
    Grant,
    Hello,
    LogLines,
    Message,
    Metrics,
    Preview,
    Result,
    Resume,
    Status,
    TrackLine,
    Welcome,
)

OTHER = "other"
STOPPED = "stopped"

Case = Callable[[str], Message]

CASES: dict[str, dict[str, Case]] = {
    "worker": {
        "describe": lambda run: Describe(run, "w9", {**SPEC.to_plain(), "id": "another"}),
        "chunk": lambda run: chunk(7, worker="me", run=run, summary=a_summary()),
        "track": lambda run: TrackLine(run, "mine", None, np.ones((2, 2), "<f4").tobytes()),
        "preview": lambda run: Preview(run, 4, 4, [], [], None, 0, b"JPEG"),
        "status": lambda run: Status(run, "problem", "of mine"),
        "log": lambda _: LogLines("engine", [[0.5, "INFO", "tmrld", "of mine"]]),
        "result": lambda _: Result(1, "of mine"),
        "fetch_file": lambda _: FetchFile("tracks", "oval", "5f" * 32),
    },
    "trainer": {
        "grant": lambda run: Grant(run, 10**6),
        "weights": lambda run: weights(9, run=run),
        "fetch_checkpoint": lambda run: FetchCheckpoint(run, 5),
        "checkpoint": lambda run: CheckpointMessage(run, 9, 0, 0, 0, b"of mine"),
        "resume": lambda run: Resume(run, 0, 0, 2**20),
        "consume": lambda run: Consume(run, 0, 2**20),
        "consumed": lambda run: Consumed(run, 10**6),
        "metrics": lambda run: Metrics(run, 0, 9, 9, {"of mine": 1.0}),
        "status": lambda run: Status(run, "finished", "of mine"),
        "log": lambda _: LogLines("engine", [[0.5, "INFO", "tmrld", "of mine"]]),
        "result": lambda _: Result(1, "of mine"),
        "fetch_file": lambda _: FetchFile("tracks", "oval", "5f" * 32),
    },
}
"""What each role may say, as said of a run."""

WITHOUT_EFFECT = {"log", "result", "fetch_file", "consumed"}
"""Kinds that name no run, or of which nothing is seen: they change nothing of the sender's own run either."""


def test_the_table_is_complete() -> None:
    for role in ROLES:
        assert CASES[role].keys() == {row.kind for row in TABLE if role in row.to_relay} - {"hello"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("message", every_message(), ids=lambda message: KINDS[type(message)])
def test_a_peer_says_what_its_role_may_say_and_nothing_else(role: str, message: Message) -> None:
    conversation = Conversation("relay", role, "me")
    conversation.receive(encode(Hello(role, "me", "0.1.0")))
    conversation.send(Welcome("hub", "0.1.0", 0.0, "me"))
    kind = KINDS[type(message)]
    if kind in CASES[role]:
        assert conversation.receive(encode(message)) == message
    else:
        with pytest.raises(ProtocolError, match=rf"a {role} does not say {kind} to the relay|came a second time"):
            conversation.receive(encode(message))


class Cast:
    """One node that says things ("me"), with a run of its own, and two runs that are not: one at work, one stopped."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.peers: dict[str, FakePeer] = {}

    async def enter(self, role: str) -> None:
        for run in (OTHER, STOPPED):
            await self.stage.make_run(run, "running" if run == OTHER else "stopped", {"seed": 2})
        for run in (RUN, OTHER):
            self._fill(run)
        for name, its_role, run in (
            ("me" if role == "worker" else "w", "worker", RUN),
            ("me" if role == "trainer" else "t", "trainer", RUN),
            ("w-other", "worker", OTHER),
            ("t-other", "trainer", OTHER),
        ):
            self.stage.store.assignments.set(name, run)
            self.peers[name] = await self.stage.connect(its_role, name)
            if its_role == "worker" and run == OTHER:
                await self.peers[name].say(Describe(run, name, SPEC.to_plain()))
        if role == "trainer":
            await self.peers["w"].say(Describe(RUN, "w", SPEC.to_plain()), chunk(worker="w"))
            await self.peers["w"].hear(Ack)

    def _fill(self, run: str) -> None:
        self.stage.store.weights.add(run, 1, 1, 0, b"weights", 0.0)
        self.stage.store.checkpoints.add(run, 5, 0, 0, 0, b"state", 0.0)

    def traces(self, run: str) -> Any:
        """All that is stored of a run."""
        store = self.stage.store
        found = store.get(run)
        return (
            (found.state, found.spec, found.lineage, store.revision(run).number, self._track(run)),
            (store.weights.all(run), store.checkpoints.all(run), store.metrics.names(run)),
            (store.episodes.totals(run), self.stage.relay.transitions(run)),
        )

    def _track(self, run: str) -> str | None:
        try:
            return self.stage.store.tracks.get(run).name
        except NotFound:
            return None

    async def heard(self, run: str) -> list[str]:
        """The kinds of what the nodes of a run were told; the next of these begin after it."""
        state = self.stage.store.get(run).state
        if state not in ("running", "paused"):
            return []
        number = self.stage.store.revision(run).number
        await self.stage.relay.change_config(run, {"seed": number + 10}, number, "test")
        kinds: list[str] = []
        for name, peer in self.peers.items():
            if self.stage.store.assignments.all()[name] == run:
                while (await peer.hear(Assign)).revision != number + 1:
                    pass
                kinds += [KINDS[type(each)] for each in peer.heard if not isinstance(each, Assign)]
                peer.heard.clear()
        return kinds

    async def say(self, message: Message) -> set[str]:
        """Have it said and seen to; returns the runs of which anything was told then."""
        me = self.peers["me"]
        runs: set[str] = set()
        async with self.stage.listening() as events:
            await me.say(message)
            if KINDS[type(message)] == "chunk":
                await me.hear(Ack)
            await me.say(Status("", "idle", "that was it"))
            async for event in events:
                if event.data.get("detail") == "that was it":
                    return runs
                runs.add(event.run)
        raise AssertionError("the feed does not end")


@pytest.mark.parametrize(("role", "kind"), [(role, kind) for role in ROLES for kind in CASES[role]])
def test_what_is_said_of_the_run_of_others_does_not_count(tmp_path: Path, role: str, kind: str) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            cast = Cast(stage)
            await cast.enter(role)
            with stage.relay.watching(OTHER), stage.relay.watching(RUN):
                await cast.heard(OTHER)
                await cast.heard(RUN)
                for run in (OTHER, STOPPED, "gone"):
                    before = {each: cast.traces(each) for each in (OTHER, STOPPED)}
                    runs = await cast.say(CASES[role][kind](run))
                    assert runs <= {RUN, ""}
                    assert {each: cast.traces(each) for each in (OTHER, STOPPED)} == before
                    assert await cast.heard(OTHER) == []
                    assert set(await cast.heard(RUN)) <= {"ack"}  # of the chunk that is let go
                before_own = cast.traces(RUN)
                runs = await cast.say(CASES[role][kind](RUN))
                changed = RUN in runs or cast.traces(RUN) != before_own or bool(set(await cast.heard(RUN)) - {"ack"})
                assert changed == (kind not in WITHOUT_EFFECT or kind == "log")

    asyncio.run(scene())
