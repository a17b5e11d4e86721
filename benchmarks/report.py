"""How every benchmark reports: a table for people, then one line of JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "torch", "gymnasium", "rtgym")


def machine() -> dict[str, Any]:
    """What was measured on: processor, its cores, system, versions, and how busy it is right now."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    return facts


def print_report(benchmark: str, results: list[dict[str, Any]]) -> None:
    """Print a table of ``results`` and, as the last line, everything as one JSON object.

    Each result has ``metric``, ``value``, ``unit``, ``target`` (None: none) and ``peers``: name → value of what it is compared with,
    or made of.
    """
    for result in results:
        value, target = result["value"], result.get("target")
        against = f"target {target:,g}, {value / target:.2f} of it" if target and value is not None else ""
        print(f"{result['metric']:<32} {'none' if value is None else f'{value:,.4g}':>14} {result['unit']:<10} {against}")
        for name, peer in result.get("peers", {}).items():
            print(f"    {name:<28} {'none' if peer is None else f'{peer:,.4g}':>14}")
    sys.stdout.flush()
    print(json.dumps({"benchmark": benchmark, "machine": machine(), "results": results}))


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
