"""Writes checkpoint after checkpoint, as a trainer's engine does, until it is killed.

``python -m tests.support.checkpoint_writer FOLDER`` goes on from the newest that can be read, and prints ``writes N`` before, and
``saved N`` after each.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from tmrld.trainer.checkpoints import Checkpoint, CheckpointFolder, pack

VALUES = 2**18
"""Of each array: writing them takes most of the time."""


def checkpoint_at(update: int) -> Checkpoint:
    """What a run might hold at this update: its values tell which update that was."""
    arrays = {name: np.full(VALUES, update, np.float32) for name in ("critic.weight", "policy.weight")}
    return Checkpoint("demo", update, 0, 1, 10 * update, 5 * update, arrays, {"counters": {"updates": update}})


def main() -> None:
    """Write for ever."""
    folder = CheckpointFolder(Path(sys.argv[1]))
    newest = folder.newest()
    update = 0 if newest is None else newest.update
    while True:
        update += 1
        checkpoint = checkpoint_at(update)
        say(f"writes {update}")
        folder.save(update, checkpoint.window, pack(checkpoint))
        say(f"saved {update}")


def say(line: str) -> None:
    """Past every buffer, so that what was said is known whatever comes."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main()
