"""The program ``tmrld``, with a notebook: ``python -m tests.support.launch serve --role worker …``

What a worker's outbox takes, and every acknowledgement before the worker acts on it, is written down in the folder that LEDGER_FOLDER
names.
PLANTED names a fault that is planted in a relay (`tests.support.planted`); SPEAKS another version of the protocol than ours.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import partialmethod
from pathlib import Path

import numpy as np

from tests.support import planted
from tmrld.peers.dialer import Dialer
from tmrld.protocol.codec import open_chunk
from tmrld.protocol.messages import ChunkMessage
from tmrld.worker.outbox import Outbox

ACKNOWLEDGED = np.dtype([("incarnation", "S16"), ("number", "<i8")])
TAKEN = np.dtype(
    [
        ("incarnation", "S16"),
        ("number", "<i8"),
        ("last", "<f4", 3),
        ("steps", "<i8"),
        ("spooled", "u1"),
    ]
)
"""A chunk of the ledger's environment that the outbox has taken: its last row's ``identity``, and how many steps it has.
``spooled`` says that it lies on the disk, where killing the worker does not touch it."""


def record_acknowledgements(folder: Path) -> None:
    """From now on what `Outbox.acknowledge` is told is written down."""
    file = (folder / f"{time.monotonic_ns():020d}-{os.getpid()}.acks").open("xb", buffering=0)
    acknowledge = Outbox.acknowledge

    def recorded(self: Outbox, incarnation: str, numbers: Sequence[int]) -> None:
        file.write(np.array([(incarnation.encode(), number) for number in numbers], ACKNOWLEDGED).tobytes())
        acknowledge(self, incarnation, numbers)

    Outbox.acknowledge = recorded  # type: ignore[method-assign]


def record_what_is_taken(folder: Path) -> None:
    """From now on what `Outbox.put` takes is written down."""
    file = (folder / f"{time.monotonic_ns():020d}-{os.getpid()}.taken").open("xb", buffering=0)
    put = Outbox.put

    def recorded(self: Outbox, chunk: ChunkMessage) -> None:
        put(self, chunk)
        (incarnation, number), entry = next(reversed(self._entries.items()))
        if (identity := open_chunk(chunk).columns.get("identity")) is not None:
            row = (incarnation.encode(), number, identity[-1], chunk.steps, entry.chunk is None)
            file.write(np.array(row, TAKEN).tobytes())

    Outbox.put = recorded  # type: ignore[method-assign]


def main() -> int:
    """Prepare this process, and be tmrld."""
    from tmrld.cli import main

    if "LEDGER_FOLDER" in os.environ:
        record_acknowledgements(Path(os.environ["LEDGER_FOLDER"]))
        record_what_is_taken(Path(os.environ["LEDGER_FOLDER"]))
    if "SPEAKS" in os.environ:
        Dialer.__init__ = partialmethod(Dialer.__init__, spoken=[os.environ["SPEAKS"]])  # type: ignore[method-assign,assignment]
    planted.plant_what_the_environment_says()
    return main()


if __name__ == "__main__":
    sys.exit(main())
