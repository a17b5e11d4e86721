"""`tmrld env`: environments alone, without training: listed, explained, checked, driven, watched and measured."""

from __future__ import annotations

from typing import Any

from tmrld.commands.env import checking, driving, measuring, showing, viewing


def add(commands: Any) -> None:
    """Add `tmrld env` to the command line."""
    env = commands.add_parser("env", help="environments alone, without training", description="Environments, without training.")
    actions = env.add_subparsers(required=True, metavar="ACTION")
    showing.add(actions)
    checking.add(actions)
    driving.add(actions)
    viewing.add(actions)
    measuring.add(actions)
