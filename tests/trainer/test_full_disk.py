"""An engine whose disk is full, message by message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.protocol.examples import a_chunk
from tmrld.configuration import run_config
from tmrld.errors import DiskFull
from tmrld.protocol.codec import StoredBody, encode, seal_chunk, seal_stored
from tmrld.protocol.messages import Message, Status
from tmrld.storage.layout import Layout
from tmrld.trainer import engine as module
from tmrld.trainer.engine import TrainerEngine


class Port:
    """The daemon's end: nothing comes from there, and what is sent is kept."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message, wait_s: float | None = 0.0) -> None:
        self.sent.append(message)

    def poll(self) -> None:
        return None

    def beat(self) -> None:
        pass


def test_what_comes_while_the_disk_is_full_waits_in_order_and_no_more_of_it_than_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port: Any = Port()
    engine = TrainerEngine(port, "demo", run_config({}).model_dump(mode="json"), 1, Layout(tmp_path), "cpu")
    body = encode(seal_chunk(a_chunk()))
    stored = [seal_stored("demo", [StoredBody(1000 * n, 1000 * n + 1000, body)]) for n in range(3)]
    mirrored: list[int] = []
    full = True

    def mirror(copies: Any) -> int:
        if full:
            raise DiskFull("the disk is full")
        mirrored.extend(copy.offset for copy in copies)
        return len(copies)

    monkeypatch.setattr(engine._cache, "mirror", mirror)
    monkeypatch.setattr(module, "ROOM_AGAIN_S", 0.0)
    monkeypatch.setattr(module, "MOST_ARRIVED_BYTES", 2 * len(stored[0].payload))
    for message in stored[:2]:
        engine._arrived.append(message)
        engine._between_updates()
    (told,) = port.sent
    assert isinstance(told, Status)
    assert (told.state, told.detail) == ("problem", "training waits for room: the disk is full")
    engine._arrived.append(stored[2])
    with pytest.raises(DiskFull):
        engine._between_updates()
    full = False
    engine._between_updates()
    assert mirrored == [0, 1000, 2000]
    assert not engine._arrived
    assert port.sent[-1] == Status("demo", "training", "", engine._shown)
    engine._journal.close()
    engine._cache.close()
