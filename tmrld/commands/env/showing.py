"""`tmrld env list` and `tmrld env show`: which environments there are, and what one of them is like."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tmrld.commands.asking import print_json, print_table
from tmrld.commands.env.flags import add_environment, environment_of

if TYPE_CHECKING:
    from tmrld.envs.about import About, Option, Part

GROUP = "run.environment"
"""Where the settings of an environment stand."""


def add(actions: Any) -> None:
    """Add `list` and `show`."""
    listing = actions.add_parser(
        "list", help="the environments that tmrld brings", description="The environments that tmrld brings."
    )
    listing.add_argument("--json", action="store_true", help="print JSON, for scripts")
    listing.set_defaults(command=_list)
    show = actions.add_parser(
        "show",
        help="what an environment shows, takes and pays, and its settings",
        description="What an environment shows and takes, how long its steps last, what it pays, how its episodes end, its settings.",
    )
    add_environment(show)
    show.add_argument("--json", action="store_true", help="print JSON, for scripts")
    show.set_defaults(command=_show)


def _list(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.about import NEEDS
    from tmrld.envs.registry import known

    if options.json:
        print_json({"items": [{"id": id, "description": text, "needs": NEEDS} for id, text in known()]})
        return 0
    print_table(("environment", "what it shows"), list(known()), "")
    needs = [
        ("in the simulator", NEEDS["sim"]),
        ("in TrackMania", f"{NEEDS['trackmania']}; and {GROUP}.game = 'trackmania'"),
    ]
    _print_pairs("they need", needs)
    print()
    print("Any id of Gymnasium works as well, and module:attribute for one of your own.")
    print("`tmrld env show ID` tells more.")
    return 0


def _show(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.about import about

    found = about(environment_of(options))
    if options.json:
        print_json(asdict(found))
        return 0
    print_table((found.id,), [(found.text or "it says nothing of itself",)], "")
    _print_parts("observation", found.observation)
    _print_parts("action", found.action)
    _print_pairs("time", _times(found))
    if found.rewards:
        _print_pairs("reward", found.rewards.items())
    ends = [("terminated", text) for text in found.terminated] + [("truncated", text) for text in found.truncated]
    _print_pairs("episodes end", [(word if word != before else "", text) for (word, text), before in _with_before(ends)])
    if found.options:
        print(f"\nSettings, below {GROUP}:")
    for group, members in _groups(found.options):
        _print_options(group, members)
    return 0


def _print_parts(what: str, parts: Iterable[Part]) -> None:
    rows = [(part.name, _shape(part), part.dtype, _range(part), part.unit, part.text) for part in parts]
    print()
    print_table((what, "shape", "type", "range", "unit", "what it is"), rows, "")


def _shape(part: Part) -> str:
    return "×".join(map(str, part.shape)) or "1"


def _range(part: Part) -> str:
    if part.low is None or part.high is None:
        bounds = (f"from {part.low:g}" if part.low is not None else "", f"up to {part.high:g}" if part.high is not None else "")
        return "".join(bounds) or "any"
    return f"{part.low:g} to {part.high:g}"


def _times(found: About) -> Iterable[tuple[str, str]]:
    if found.step_s is None or found.capture_s is None or found.delay_s is None:
        yield "step", "as long as the environment takes"
        return
    yield "step", f"{found.step_s:g} s, {1 / found.step_s:.4g} steps per second"
    yield "capture", f"{found.capture_s:g} s after a step begins, what is seen is captured"
    yield "delay", f"{found.delay_s:g} s later the action that answers it takes effect"


def _with_before(rows: list[tuple[str, str]]) -> Iterable[tuple[tuple[str, str], str]]:
    """Each row, and the first column of the one before."""
    return zip(rows, ["", *(word for word, _ in rows)], strict=False)


def _print_pairs(what: str, pairs: Iterable[tuple[str, str]]) -> None:
    print()
    print_table((what, ""), list(pairs), "")


def _groups(options: Iterable[Option]) -> Iterable[tuple[str, list[Option]]]:
    """The settings by the group that they stand in."""
    groups: dict[str, list[Option]] = {}
    for option in options:
        groups.setdefault(option.key.rpartition(".")[0], []).append(option)
    return groups.items()


def _print_options(group: str, options: Iterable[Option]) -> None:
    rows = []
    for option in options:
        text = option.text
        if not all(str(choice) in text for choice in option.choices):
            text = f"{text} One of {', '.join(map(str, option.choices))}."
        if option.value != option.default:
            text = f"{text} Default: {_value(option.default, option.unit)}.".strip()
        rows.append((option.key.rpartition(".")[2], _value(option.value, option.unit), text))
    print()
    print_table((group or "setting", "value", "what it is"), rows, "")


def _value(value: Any, unit: str) -> str:
    """A setting's value for people; a unit such as 0.1 m is counted."""
    if isinstance(value, str):
        return value
    shown = f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    return f"{shown}{' ×' if unit[:1].isdigit() else ''} {unit}".rstrip()
