"""The plain loop of driving: environments and a policy in, chunks out.  No task, no socket, no file.

`drive` is a generator: it steps all its environments in rounds, asks for the actions of a whole round at once, and yields each
`Chunk` as soon as it is full, while the episodes go on.  Whoever iterates decides what happens in between; a `Gate` is asked before
each round.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Protocol

from tmrld.errors import GameError
from tmrld.payloads import Chunk
from tmrld.worker.episode import Choice, Environment, Episode


class Gate(Protocol):
    """Asked before each round whether to go on; this is where a real-time loop does not wait and a lockstep loop may."""

    def ready(self, steps: int) -> int:
        """How many of these steps, one per car, may be taken at once: 0 to ``steps``."""

    def wait(self) -> bool:
        """Called when none may, after everything driven so far was handed out.

        False ends the episodes here, as if the line were cut: without a summary, and neither terminated nor truncated.
        """


def drive(
    environments: Sequence[Environment],
    begin: Callable[[Environment], Episode | None],
    choose: Callable[[Sequence[Episode]], Iterable[Choice]],
    gate: Gate,
) -> Generator[Chunk, None, None]:
    """Drive in all these environments by turns, yielding chunks as they fill: those of several episodes interleave.

    ``begin`` starts the next episode in an environment that has none; None leaves it idle for a round, and when nothing is driven
    any more, driving is over.  ``choose`` gives the next `Choice` of each episode of a round.  Where the gate lets through fewer
    steps than there are cars, the same cars take them round after round, and after a wait others: chunks are the longer for it.
    Closing the generator ends all episodes without their last, unfinished chunks.  When the game is lost, what was driven until then
    is yielded before the GameError is raised.
    """
    idle = list(reversed(environments))
    driven: list[Episode] = []
    while True:
        while idle and (episode := begin(idle[-1])) is not None:
            driven.append(episode)
            idle.pop()
        if not driven:
            return
        count = gate.ready(len(driven))
        if not count:
            for episode in driven:
                if (chunk := episode.cut()) is not None:
                    yield chunk
            if not gate.wait():
                return
            driven.append(driven.pop(0))
            continue
        turn = driven[:count]
        for episode, choice in zip(turn, choose(turn), strict=True):
            try:
                chunk = episode.step(choice)
            except GameError:
                yield from (chunk for each in driven if (chunk := each.cut()) is not None)
                raise
            if episode.ended:
                driven.remove(episode)
                idle.append(episode.environment)
            if chunk is not None:
                yield chunk
