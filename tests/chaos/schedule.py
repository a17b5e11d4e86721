"""What happens to a cluster, and when: drawn from a seed, and carried out.

A schedule is made of *rounds*.  In a round each kind of fault strikes once, in any order, each somewhere; faults of different kinds
overlap.  At the end of a round everything is whole again, and has to get on.  The same seed draws the same schedule; how it meets
what the daemons are doing just then is up to the machine.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tests.chaos.proxy import LINE_FAULTS
from tests.chaos.stage import DAEMONS, NODES, Stage

LONGEST_S = 1.5
"""How long a fault lasts at most, but for a daemon that stands still."""
LONGEST_FREEZE_S = 4.5
"""Longer than what the others take for a dead line."""
MOST_APART_S = 0.4
"""How much later than the one before it a fault begins at most."""
PATIENCE_S = 60.0
"""How long a fault waits until it can strike: an engine that was killed is on its way, or the disk is full."""
FARTHEST_S = 400 * 24 * 3600.0
"""How far a clock jumps: past what any certificate is good for."""

DAEMON_FAULTS = ("kill daemon", "restart daemon", "freeze daemon", "disk full", "disk full, then killed", "clock jump")
ENGINE_FAULTS = ("kill engine", "restart engine", "freeze engine")
KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LINE_FAULTS, NODES),
    **dict.fromkeys(DAEMON_FAULTS, DAEMONS),
    **dict.fromkeys(ENGINE_FAULTS, NODES),
    "disk lost": NODES,
    "twin": NODES,
}
"""Every kind of fault, and whom it strikes.  A *twin* is a second machine with the name and token of a node, for a while."""


@dataclass(frozen=True)
class Fault:
    """``after_s`` is when it begins, after the one before it; ``seed`` how bad it is, where that is open."""

    kind: str
    target: str
    after_s: float
    lasts_s: float
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind} ({self.target}, {self.lasts_s:.1f} s)"


def drawn(seed: int, rounds: int) -> list[list[Fault]]:
    """The schedule of this seed."""
    chance = random.Random(seed)
    schedule = []
    for _ in range(rounds):
        kinds = list(KINDS)
        chance.shuffle(kinds)
        schedule.append(
            [
                Fault(
                    kind,
                    chance.choice(KINDS[kind]),
                    chance.uniform(0.0, MOST_APART_S),
                    chance.uniform(0.1, LONGEST_FREEZE_S if kind == "freeze daemon" else LONGEST_S),
                    chance.randrange(2**32),
                )
                for kind in kinds
            ]
        )
    return schedule


def _nothing() -> None:
    """How a fault ends that needs no end."""


@dataclass
class _Blow:
    """What a fault does once it has begun: ``end`` ends it.

    Before, ``has_struck`` has to say so; False says that it could not be done.
    """

    end: Callable[[], None] = _nothing
    has_struck: Callable[[], bool | None] = lambda: True


@dataclass
class _Active:
    """A fault that has begun, and when it may end."""

    fault: Fault
    place: tuple[str, str]
    until: float
    blow: _Blow


@dataclass
class Player:
    """Carries schedules out.  ``struck`` counts what really happened, by kind."""

    stage: Stage
    struck: Counter[str] = field(default_factory=Counter)
    _active: list[_Active] = field(default_factory=list)
    _asker: ThreadPoolExecutor = field(init=False)

    def play(self, faults: Sequence[Fault]) -> None:
        """One round; at its end everything is whole again."""
        waiting: list[tuple[float, Fault]] = []
        begins = time.monotonic()
        for fault in faults:
            begins += fault.after_s
            waiting.append((begins, fault))
        deadline = begins + PATIENCE_S
        with ThreadPoolExecutor(1) as self._asker:
            while waiting or self._active:
                now = time.monotonic()
                waiting += [(now, fault) for fault in self._end(now)]
                waiting = [(at, fault) for at, fault in waiting if at > now or not self._begin(fault, now)]
                self.stage.complain_of_the_dead(frozenset(active.fault.target for active in self._active))
                assert now < deadline, f"these faults found nothing to strike: {', '.join(str(fault) for _, fault in waiting)}"
                time.sleep(0.02)

    def _end(self, now: float) -> list[Fault]:
        """End what is over; returns what has to be tried again, since it could not be done."""
        again = []
        for active in [active for active in self._active if now >= active.until]:
            has_struck = active.blow.has_struck()
            if has_struck is None:
                continue
            self._active.remove(active)
            active.blow.end()
            if has_struck:
                self.struck[active.fault.kind] += 1
            else:
                again.append(active.fault)
        return again

    def _begin(self, fault: Fault, now: float) -> bool:
        """Strike; False where that has to wait: something else is wrong there already, or there is nothing to strike."""
        place = "line" if fault.kind in LINE_FAULTS else "clock" if fault.kind == "clock jump" else "process", fault.target
        if place in [active.place for active in self._active]:
            return False
        blow = self._strike(fault)
        if blow is None:
            return False
        self._active.append(_Active(fault, place, now + fault.lasts_s, blow))
        return True

    def _strike(self, fault: Fault) -> _Blow | None:
        """Begin the fault; None where there is nothing to strike."""
        stage, name, chance = self.stage, fault.target, random.Random(fault.seed)
        match fault.kind:
            case "cut" | "half-open" | "delay" | "truncate" | "corrupt" | "throttle":
                stage.lines[name].strike(fault.kind, chance)
                return _Blow(stage.lines[name].heal)
            case "kill daemon":
                stage.kill(name)
                return _Blow(partial(stage.start_again, name))
            case "restart daemon":
                stage.ask_to_end(name)
                return _Blow(partial(stage.finish_restart, name))
            case "freeze daemon":
                return _freeze(stage.programs[name].pid)
            case "disk full":
                stage.hardware[name].fill()
                return _Blow(stage.hardware[name].free)
            case "disk full, then killed":
                stage.hardware[name].fill()
                return _Blow(partial(stage.kill_and_free, name))
            case "disk lost":
                stage.lose_disk(name)
                return _Blow(partial(stage.start_again, name))
            case "clock jump":
                stage.hardware[name].jump(chance.uniform(-FARTHEST_S, FARTHEST_S))
                return _Blow()
            case "kill engine" | "freeze engine":
                engine = stage.engine_of(name)
                if engine is None:
                    return None
                if fault.kind == "freeze engine":
                    return _freeze(engine)
                os.kill(engine, signal.SIGKILL)
                return _Blow()
            case "restart engine":
                asked = self._asker.submit(stage.ask, "nodes", name, "restart")
                return _Blow(has_struck=lambda: asked.result() if asked.done() else None)
            case "twin":
                twin = stage.start_twin(name)
                return _Blow(partial(stage.lose_twin, name), lambda: True if "linked to relay" in twin.errors else None)
            case _:
                raise AssertionError(f"{fault.kind} is no fault")


def _freeze(pid: int) -> _Blow:
    """SIGSTOP, and in the end SIGCONT."""

    def thaw() -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    os.kill(pid, signal.SIGSTOP)
    return _Blow(thaw)
