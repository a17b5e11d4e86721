"""`tmrld checkpoint`: what a relay keeps of a run's training to go on from."""

from __future__ import annotations

import argparse
import re
from typing import Any

from tmrld.client import Client
from tmrld.commands.asking import Action, add_action, moment, print_json, print_table
from tmrld.errors import NotFound

MIB = 2**20
UPDATE = "the update at which it was taken, `latest` or `best`"


def add(commands: Any) -> None:
    """Add `tmrld checkpoint` to the command line."""
    checkpoint = commands.add_parser(
        "checkpoint",
        help="states of a run's training: list, pin, unpin, resume",
        description="The checkpoints of a run that its relay keeps: the newest few (relay.keep_checkpoints), the best, which is the "
        "one nearest to the weights that did best in evaluation, and those that are pinned.",
    )
    actions = checkpoint.add_subparsers(required=True, metavar="ACTION")
    listing = add_action(actions, "list", _list, help="all checkpoints that are kept, and why")
    listing.add_argument("run", metavar="RUN", help="name of the run")
    for verb, help in (("pin", "keep a checkpoint for good"), ("unpin", "keep a checkpoint no longer than its turn")):
        parser = add_action(actions, verb, _told(verb), help=help)
        parser.add_argument("run", metavar="RUN", help="name of the run")
        parser.add_argument("update", type=_update, metavar="UPDATE", help=UPDATE)
    resume = add_action(
        actions,
        "resume",
        _resume,
        help="lead the run back to a checkpoint: the training goes on from it; what came after it is hidden, not deleted",
    )
    resume.add_argument("run", metavar="RUN", help="name of the run")
    resume.add_argument("update", type=_update, metavar="UPDATE", help=UPDATE)
    resume.add_argument(
        "--fewer-samples",
        action="store_true",
        help="also when the sample log no longer has all that the replay memory held at this checkpoint",
    )


def _update(text: str) -> str:
    """A checkpoint as the command line names it: an update, as `tmrld checkpoint list` writes it or without commas, or a word."""
    number = re.sub("[,_]", "", text)
    if text in ("best", "latest"):
        return text
    if number.isascii() and number.isdecimal():
        return str(int(number))
    raise argparse.ArgumentTypeError(f"{text!r} names no checkpoint: give the update at which it was taken, latest or best")


def _found(client: Client, run: str, update: str) -> str:
    """The update of the checkpoint that ``latest`` or ``best`` stands for; an update is itself.  Raises NotFound."""
    if update.isdecimal():
        return update
    kept = [each for each in client.get("runs", run, "checkpoints")["items"] if not each["damaged"]]
    if update == "best":
        kept = [each for each in kept if each["best"]]
    if not kept:
        raise NotFound(f"{run} has no {update} checkpoint yet: `tmrld checkpoint list {run}` shows all that it has")
    return str(kept[0]["update"])


def _list(client: Client, options: argparse.Namespace) -> int:
    answer = client.get("runs", options.run, "checkpoints")
    if options.json:
        print_json(answer)
        return 0
    rows = [
        (
            f"{each['update']:,}",
            ", ".join(word for word in ("best", "pinned", "damaged") if each[word]) or "–",
            str(each["lineage"]),
            f"{each['size_bytes'] / MIB:,.1f} MiB",
            moment(each["created"]),
        )
        for each in answer["items"]
    ]
    print_table(("update", "is", "lineage", "size", "received"), rows, f"{options.run} has no checkpoint yet")
    return 0


def _resume(client: Client, options: argparse.Namespace) -> int:
    fewer = options.fewer_samples or None
    update = _found(client, options.run, options.update)
    answer = client.post("runs", options.run, "checkpoints", update, "resume", fewer_samples=fewer)
    if options.json:
        print_json(answer)
    else:
        print(
            f"{options.run} goes on from its checkpoint at update {answer['update']:,}, in lineage {answer['lineage']}, as "
            "soon as it runs and has a trainer; what came after it is hidden, not deleted"
        )
    return 0


def _told(verb: str) -> Action:
    def tell(client: Client, options: argparse.Namespace) -> int:
        update = _found(client, options.run, options.update)
        answer = client.post("runs", options.run, "checkpoints", update, verb)
        if options.json:
            print_json(answer)
        else:
            print(f"the checkpoint at update {int(update):,} is {verb}ned")
        return 0

    return tell
