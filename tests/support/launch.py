"""The program ``tmrld``, with a notebook: ``python -m tests.support.launch serve --role worker …``

Every acknowledgement that reaches the worker is written down, in the folder that LEDGER_FOLDER names, before the worker acts on it.
PLANTED names what is planted (`tests.support.planted`); SPEAKS another version of the protocol than ours.
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
from tmrld.worker.outbox import Outbox

ACKNOWLEDGED = np.dtype([("incarnation", "S16"), ("number", "<i8")])


def record_acknowledgements(folder: Path) -> None:
    """From now on what `Outbox.acknowledge` is told is written down."""
    file = (folder / f"{time.time_ns()}-{os.getpid()}.acks").open("xb", buffering=0)
    acknowledge = Outbox.acknowledge

    def recorded(self: Outbox, incarnation: str, numbers: Sequence[int]) -> None:
        file.write(np.array([(incarnation.encode(), number) for number in numbers], ACKNOWLEDGED).tobytes())
        acknowledge(self, incarnation, numbers)

    Outbox.acknowledge = recorded  # type: ignore[method-assign]


def main() -> int:
    """Prepare this process, and be tmrld."""
    from tmrld.cli import main

    if "LEDGER_FOLDER" in os.environ:
        record_acknowledgements(Path(os.environ["LEDGER_FOLDER"]))
    if "SPEAKS" in os.environ:
        Dialer.__init__ = partialmethod(Dialer.__init__, spoken=[os.environ["SPEAKS"]])  # type: ignore[method-assign,assignment]
    planted.plant_what_the_environment_says()
    return main()


if __name__ == "__main__":
    sys.exit(main())
