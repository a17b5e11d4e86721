"""Whatever happens to relay, trainer, workers, their engines, lines, disks and clocks: when it is over, the books agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.hardware import needs_linux
from tests.chaos.schedule import KINDS, drawn
from tests.chaos.trial import trial

ROUNDS = 5
SEEDS = (1, 2, 3)
LEAST = 15
"""How often each kind of fault strikes in all, at least."""


@needs_linux
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_or_learned_twice(tmp_path: Path, seed: int) -> None:
    assert trial(tmp_path, seed, ROUNDS).struck == Counter(dict.fromkeys(KINDS, ROUNDS))


def test_each_kind_of_fault_strikes_often_and_the_same_seed_draws_the_same_schedule() -> None:
    assert ROUNDS * len(SEEDS) >= LEAST
    for seed in SEEDS:
        schedule = drawn(seed, ROUNDS)
        assert schedule == drawn(seed, ROUNDS)
        assert Counter(fault.kind for faults in schedule for fault in faults) == Counter(dict.fromkeys(KINDS, ROUNDS))
        assert all(fault.target in KINDS[fault.kind] for faults in schedule for fault in faults)
