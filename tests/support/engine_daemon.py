"""A daemon with one engine, for tests that kill it: ``python -m tests.support.engine_daemon TARGET``.

Prints a line for each event, ``KIND PID EXIT_CODE``, and ``ready PID...`` when the engine is ready, with the processes that it
has started.
"""

from __future__ import annotations

import asyncio
import sys

from tmrld.engines.options import EngineOptions
from tmrld.engines.supervisor import Engine
from tmrld.protocol.messages import Message, Status


async def main(target: str) -> None:
    """Keep the engine running until interrupted."""

    async def take(message: Message) -> None:
        if isinstance(message, Status) and message.state == "ready":
            print("ready", engine.pid, *message.values.get("pids", []), flush=True)

    engine = Engine(
        "orphan",
        f"tests.support.engine_targets:{target}",
        {},
        take,
        on_event=lambda event: print(event.kind, event.pid, event.exit_code, flush=True),
        options=EngineOptions(hang_timeout_s=None),
    )
    await engine.start()
    try:
        await engine.wait()
    finally:
        await engine.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
