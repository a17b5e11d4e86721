"""``python -m tests.docs.await_ready COMMAND PID LOG``: wait until a program that was started in the background serves.

Ends with 1 when the program ends first, or does not serve in time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

READY = {
    "up": ("evaluation version",),  # there are weights, and a best one
    "serve": ("peers: ", "linked to relay"),
    "join": ("linked to relay",),
    "sim": ("telemetry",),
}
"""What its log says by then, any of them."""
PATIENCE_S = 180.0


def main(command: str, pid: str, log: str) -> int:
    """Wait."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        text = Path(log).read_text(errors="replace")
        if any(word in text for word in READY[command]):
            return 0
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    print(f"`tmrld {command}` does not serve:\n{Path(log).read_text(errors='replace')}")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
