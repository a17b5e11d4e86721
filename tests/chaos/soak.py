"""Many faults, for as long as it takes: ``python -m tests.chaos.soak --faults 1000 [--seed 1]``, or ``make soak FAULTS=1000``.

Trial after trial, each with the next seed, until so many faults have struck.  It ends with the first trial in which something is
wrong: what that is, the seed, and the folder with all that was written.  ``--faults 1 --seed SEED`` repeats the trial of that seed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.trial import trial

ROUNDS = 5


def soak(faults: int, seed: int) -> int:
    """Returns 0 if nothing was wrong, and 1 otherwise."""
    struck: Counter[str] = Counter()
    steps, began = 0, time.monotonic()
    while struck.total() < faults:
        folder = Path(tempfile.mkdtemp(prefix=f"tmrld-soak-{seed}-"))
        print(f"seed {seed}: {ROUNDS} rounds, in {folder}", flush=True)
        try:
            outcome = trial(folder, seed, ROUNDS)
        except AssertionError as error:
            print(f"seed {seed}: {error}\n\nEverything is in {folder}.  Again: make soak FAULTS=1 SEED={seed}", flush=True)
            return 1
        shutil.rmtree(folder)
        struck += outcome.struck
        steps += outcome.steps
        minutes = (time.monotonic() - began) / 60
        print(f"{struck.total()} faults in {minutes:.1f} minutes, {steps:,} steps driven, nothing wrong", flush=True)
        seed += 1
    print("\n".join(f"{times:6} {kind}" for kind, times in sorted(struck.items())))
    return 0


def main() -> int:
    """Read the command line, and begin."""
    parser = argparse.ArgumentParser(description="Strike a cluster with faults, and compare its books.")
    parser.add_argument("--faults", type=int, default=1000, help="how many faults have to strike")
    parser.add_argument("--seed", type=int, default=None, help="seed of the first trial; without it, any")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # so that no daemon and no disk is left behind
    return soak(options.faults, random.SystemRandom().randrange(10**6) if options.seed is None else options.seed)


if __name__ == "__main__":
    sys.exit(main())
