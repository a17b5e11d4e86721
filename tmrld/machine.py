"""This machine: what it is called, and what the relay shows of it."""

from __future__ import annotations

import platform
import re
from typing import Any


def machine_name() -> str:
    """This machine's name, as far as it can be a node's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", platform.node()).strip("-._")[:64] or "node"


def machine_facts() -> dict[str, Any]:
    """What the relay shows of a machine."""
    import psutil

    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cores": psutil.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
    }
