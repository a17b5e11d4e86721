"""Commands to one node that are under way: who waits for which answer.  No socket and no task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tmrld.errors import Conflict, LinkLost
from tmrld.protocol.messages import Command, Result

ANSWER_S = 15.0
"""How long a node may take for a command: an engine that hangs is asked, terminated and killed within that."""


class Questions:
    """Numbers the commands to one node, and hands each `Result` to whoever asked."""

    def __init__(self, put: Callable[[Command], None]) -> None:
        self._put = put
        self._waiting: dict[int, asyncio.Future[Result]] = {}
        self._number = 0

    async def ask(
        self, whom: str, name: str, arguments: Mapping[str, Any] | None = None, timeout_s: float = ANSWER_S
    ) -> Result:
        """Send a command and wait for its answer.

        Raises `LinkLost` when none comes within ``timeout_s`` or the link ends before, `Conflict` when the node says that it cannot.
        """
        self._number += 1
        number = self._number
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._put(Command(number, name, dict(arguments or {})))
            async with asyncio.timeout(timeout_s):
                result = await answer
        except TimeoutError:
            raise LinkLost(f"{whom} did not answer within {timeout_s:g} s whether it could {name}: look at its log") from None
        finally:
            del self._waiting[number]
        if result.error:
            raise Conflict(f"{whom} could not {name}: {result.error}")
        return result

    def answer(self, result: Result) -> None:
        """An answer has come; one that nobody waits for is let go."""
        waiting = self._waiting.get(result.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    def give_up(self, reason: str) -> None:
        """The link has ended: nobody need wait any longer."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(LinkLost(reason))
