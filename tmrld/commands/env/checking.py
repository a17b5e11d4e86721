"""`tmrld env check`: whether an environment does what is expected of it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from tmrld.commands.asking import print_json
from tmrld.commands.env.flags import add_environment, environment_of
from tmrld.commands.flags import positive


def add(actions: Any) -> None:
    """Add `check`."""
    check = actions.add_parser(
        "check",
        help="see whether an environment does what is expected of it",
        description="Drive an environment at random and look at all that comes back; ends with status 1 when something is wrong.",
    )
    add_environment(check)
    check.add_argument("--steps", type=positive, metavar="N", help="how many steps to drive (default: 200)")
    check.add_argument("--json", action="store_true", help="print JSON, for scripts")
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.checks import STEPS, checks

    found = []
    for finding in checks(environment_of(options), options.steps or STEPS):
        found.append(finding)
        if not options.json:
            print(f"{finding.state:6}{finding.check}: {finding.text}", flush=True)
    wrong = sum(finding.state == "wrong" for finding in found)
    if options.json:
        print_json({"id": options.id, "ok": not wrong, "checks": [asdict(finding) for finding in found]})
    else:
        print(f"{wrong} of {len(found)} checks found something wrong" if wrong else "all is well")
    return 1 if wrong else 0
