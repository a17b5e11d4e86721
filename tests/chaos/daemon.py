"""The program ``tmrld`` as it is put into bad hands: in a hurry, with little room, and with more notebooks than
`tests.support.launch` has.

A relay keeps the segments of the sample log that it prunes, and writes down what it hears on a link whose node is on a newer one.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import launch
from tests.support.books import PRUNED
from tmrld import cli
from tmrld.engines.options import EngineOptions
from tmrld.peers import dialer, listener
from tmrld.relay import hub
from tmrld.relay.relay import Relay
from tmrld.relay.roster import Roster
from tmrld.storage import segments
from tmrld.storage.sample_log import SampleLog
from tmrld.trainer import trainer
from tmrld.worker import worker
from tmrld.worker.outbox import Outbox

SEGMENT_BYTES = 2**14
LOG_BYTES = 16 * SEGMENT_BYTES
"""What the sample log may take: more than one checkpoint needs of it, and less than all of them do that would be kept otherwise."""
MEMORY_BYTES = 2**12
"""What a worker keeps in memory: a few chunks."""
UNFENCED = "unfenced"


def hurry() -> None:
    """Wait for less, and notice sooner that a line is dead."""
    module: Any
    for module in (dialer, listener):
        module.options = _hasty(module.options)
    _defaults_of(dialer.Dialer).update(delays=functools.partial(dialer.backoff, 0.05, 0.3), refused_delay_s=0.3)
    for module in (trainer, worker):
        module.EngineOptions = functools.partial(EngineOptions, backoff_first_s=0.05, backoff_cap_s=0.3)
    cli.RETRY_FULL_DISK_S = hub.RETRY_FULL_DISK_S = trainer.RETRY_DISK_S = worker.RETRY_SPOOL_S = 0.2


def _hasty(options: Any) -> Any:
    return lambda *arguments, **more: {
        **options(*arguments, **more),
        "ping_interval": 1.0,
        "ping_timeout": 3.0,
        "open_timeout": 4.0,
        "close_timeout": 1.0,
    }


def _defaults_of(kind: type[Any]) -> dict[str, Any]:
    defaults: dict[str, Any] | None = kind.__init__.__kwdefaults__
    assert defaults is not None
    return defaults


def have_little_room() -> None:
    """Small segments, a small log, and small memory in workers."""
    _defaults_of(SampleLog)["segment_bytes"] = SEGMENT_BYTES
    kind: Any
    begin_hub, begin_outbox = hub.Hub.__init__, Outbox.__init__

    def small_hub(self: Any, run: str, log: Any, store: Any, options: Any, *more: Any) -> None:
        begin_hub(self, run, log, store, options.model_copy(update={"sample_log_bytes": LOG_BYTES}), *more)

    kind = hub.Hub
    kind.__init__ = small_hub
    kind = Outbox
    kind.__init__ = lambda self, spool, _memory_bytes, *more: begin_outbox(self, spool, MEMORY_BYTES, *more)


def keep_what_is_pruned(folder: Path) -> None:
    """From now on segments of a relay's log are copied before they are unlinked."""
    kept = folder / PRUNED
    kept.mkdir(exist_ok=True)
    remove = segments.Segments.remove

    def careful(self: Any, bases: Sequence[int]) -> int:
        for base in bases:
            path = self.path(base)
            if path.parent.name == "log" and path.exists():
                shutil.copyfile(path, kept / path.name)
        return remove(self, bases)

    segments.Segments.remove = careful  # type: ignore[method-assign]


def note_what_is_unfenced(folder: Path) -> None:
    """From now on it is written down when a message counts that came on another link of a node than its newest."""
    path = folder / f"{time.monotonic_ns():020d}-{os.getpid()}.{UNFENCED}"
    newest: dict[tuple[str, str], Any] = {}
    admit, take = Roster.admit, Relay._take

    def noted_admit(self: Any, name: str, role: str, member: Any) -> Any:
        newest[name, role] = member
        return admit(self, name, role, member)

    async def noted_take(self: Any, member: Any, received: Any) -> None:
        if newest[member.name, member.role] is not member:
            with path.open("a") as file:
                file.write(f"{type(received.message).__name__} of {member.role} {member.name}\n")
        await take(self, member, received)

    Roster.admit = noted_admit  # type: ignore[method-assign]
    Relay._take = noted_take  # type: ignore[method-assign]


def main() -> int:
    """Prepare this process, and be tmrld with the notebooks of all tests."""
    hurry()
    have_little_room()
    folder = Path(os.environ["LEDGER_FOLDER"])
    keep_what_is_pruned(folder)
    note_what_is_unfenced(folder)
    return launch.main()


if __name__ == "__main__":
    sys.exit(main())
