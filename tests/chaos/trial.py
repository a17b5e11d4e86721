"""A cluster is put through the schedule of a seed, and judged: one trial."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.schedule import Player, drawn
from tests.chaos.stage import RELAY, Stage
from tests.support.progress import assert_weights_went_round, await_progress


@dataclass(frozen=True)
class Outcome:
    """Which faults struck how often, and how many steps were driven meanwhile."""

    struck: Counter[str]
    steps: int


def trial(folder: Path, seed: int, rounds: int) -> Outcome:
    """Carry out so many rounds.  Raises AssertionError that tells what is wrong in the end, or that the cluster does not get on."""
    with Stage(folder) as stage:
        stage.start_all()
        print(f"seed {seed}: disks are {stage.hardware[RELAY].disk}", flush=True)
        await_progress(stage)
        player = Player(stage)
        for faults in drawn(seed, rounds):
            player.play(faults)
            await_progress(stage)
        books = stage.wind_up()
        assert_weights_went_round(books)
        found = stage.violations(books)
        assert not found, "\n".join(found)
        return Outcome(player.struck, len(books.ledger))
