"""Nodes that say anything that the protocol lets through, and much that it does not: it costs them their link, and others nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from pydantic_core import to_json

from tests.protocol.examples import every_message
from tests.relay.stage import RUN, FakePeer, Stage, a_summary, chunk, on_stage
from tests.worker.worlds import SPEC
from tmrld.errors import TmrldError
from tmrld.peers.channel import Closed
from tmrld.protocol.codec import KINDS
from tmrld.protocol.messages import TABLE, Ack

NASTY: list[Any] = [
    *(0, -1, 1, 2**31, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 0.0, -0.0, 1e308, float("nan"), float("inf"), True, None),
    *(
        "",
        RUN,
        "relay",
        "..",
        "\x00",
        "\x1b[2J",
        "x" * 5000,
        "\u202e",
        "🏁",
        "train",
        "evaluation",
        "terminated",
        "zstd",
        "finished",
    ),
    *(
        b"",
        b"\xff\xfe",
        b"x" * 5000,
        [],
        {},
        [[]],
        {"a": {}},
        [0] * 8192,
        {"": 0},
        [["a", "float32", [2**40, 2**40]]],
        [[1, 2, 3, 4]],
    ),
    {"alpha": 2**63 - 1, "beta": float("nan"), "gamma": "text", "delta": None, "epsilon": [1], "zeta": "1e400"},
    SPEC.to_plain(),
    {**SPEC.to_plain(), "parts": [{**SPEC.to_plain()["parts"][0], "shape": [2**62, 2**62]}]},
    {**SPEC.to_plain(), "action_buffer": 2**62},
    {**SPEC.to_plain(), "extra": {"deep": [[[[1]]]]}},
    {**a_summary(), "steps": -1},
    a_summary(lap_time_s=1.0),
    np.full(4, np.nan, "<f4").tobytes(),
]
"""Values that were wrong somewhere once, or could be."""

EXAMPLES = {KINDS[type(message)]: message for message in every_message()}
TO_RELAY = {role: [row.kind for row in TABLE if role in row.to_relay] for role in ("worker", "trainer")}


def words(role: str, number: random.Random) -> Iterator[bytes]:
    """What a node of this role might say: messages of its own with some values changed, now and then one of another's, or noise."""
    while True:
        kind = number.choice(TO_RELAY[role] if number.random() < 0.9 else list(EXAMPLES))
        header = dict(vars(EXAMPLES[kind]))
        payload = header.pop("payload", b"")
        if "run" in header:
            header["run"] = RUN
        for name in number.sample(sorted(header), min(len(header), number.choice((0, 1, 1, 2, 3)))):
            header[name] = number.choice(NASTY)
        if number.random() < 0.1:
            payload = number.choice([each for each in NASTY if isinstance(each, bytes)])
        data = bytearray(msgpack.packb([kind, header, payload]))
        if number.random() < 0.05:
            data[number.randrange(len(data))] ^= 1 << number.randrange(8)
        yield bytes(data)


async def babble(stage: Stage, role: str, number: random.Random, count: int) -> None:
    """One node that says so much, and comes back whenever it loses its link."""
    peer: FakePeer | None = None
    for _, said in zip(range(count), words(role, number), strict=False):
        if peer is None:
            peer = await stage.connect(role, f"mad-{role}")
        try:
            await peer.link._channel.send(said)
            await asyncio.sleep(0)
        except Closed:
            await judged(peer)
            peer = None
    if peer is not None:
        await peer.link.close()
        await judged(peer)


async def judged(peer: FakePeer) -> None:
    """What ended the link was foreseen."""
    await asyncio.wait({peer._serving})
    error = peer._serving.exception()
    assert error is None or all(isinstance(leaf, TmrldError) for leaf in leaves(error)), repr(error)


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def shown(stage: Stage) -> None:
    """Everything that people are shown can be told as JSON."""
    for view in stage.relay.connected():
        to_json(vars(view))
    to_json([vars(line) for line in stage.relay.log_of_run(RUN, 1000)])
    store = stage.store
    to_json([vars(each) for each in store.weights.all(RUN)])
    to_json(
        {
            name: curve.values.tolist()
            for name, curve in store.metrics.read(RUN, store.metrics.names(RUN), max_points=50).items()
        }
    )
    to_json([vars(each.summary) | {"trajectory": None} for each in store.episodes.page(RUN, 100)])
    to_json(store.get(RUN).spec)


def scene(folder: Path, seed: int, count: int) -> None:
    async def story() -> None:
        async with asyncio.timeout(120), on_stage(folder) as stage:
            with stage.feed.subscribe(("node", "problem", "log", "metrics", "episode", "weights", "run"), 10_000) as told:
                await asyncio.gather(*(babble(stage, role, random.Random(f"{seed} {role}"), count) for role in TO_RELAY))
                shown(stage)
                for event in told._queue.values():
                    to_json(event.data)
            if stage.store.get(RUN).state != "running":  # a trainer may say that it has finished
                await stage.relay.move(RUN, "start")
            worker = await stage.connect("worker", "sane")
            await worker.say(chunk(worker="sane"))
            assert (await worker.hear(Ack)).numbers == [0]
        async with asyncio.timeout(60), on_stage(folder, run="") as again:  # what is stored can be read
            shown(again)
            assert again.relay.transitions(RUN) >= 10

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_node_says_the_relay_goes_on(tmp_path: Path, seed: int) -> None:
    scene(tmp_path, seed, 100)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 103))
def test_whatever_a_node_says_for_long_the_relay_goes_on(tmp_path: Path, seed: int) -> None:
    scene(tmp_path, seed, 1000)
