"""A program that drives: ``python -m tests.support.driver steadily|once|fail gamepad|keyboard TITLE STEP_S``

It holds gas, some brake and a turn to the left: again at every step; once, and then nothing; or once, and then it fails, when its
standard input ends.  It says "holding" when it has begun.
"""

from __future__ import annotations

import sys
import time

from tmrld.envs.trackmania.guarded import GuardedControls


def main(manner: str, controls: str, title: str, step_s: float) -> None:
    """Until it is ended from outside."""
    held = GuardedControls(controls, title, step_s, 5.0, plug_in_s=0.0)
    held.hold(1.0, 0.25, -1.0)
    print("holding", flush=True)
    while manner == "steadily":
        time.sleep(step_s)
        held.hold(1.0, 0.25, -1.0)
    if manner == "fail":
        sys.stdin.read()
        raise ValueError("the driver went mad")
    time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
