"""Bugs of one line each, and a copy of the package that has one of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.schedule import Fault
from tests.chaos.stage import WORKERS
from tests.support.cluster import ROOT


@dataclass(frozen=True)
class Bug:
    """In ``file`` of the package ``line`` becomes ``wrong``; where two things guard against a bug, ``other`` is the second change.

    Under these ``faults`` the books say, among other things, the ``sign``.
    """

    name: str
    file: str
    line: str
    wrong: str
    faults: tuple[Fault, ...]
    sign: str
    other: tuple[str, str, str] | None = None

    def plant(self, folder: Path) -> Path:
        """Make a copy of the package with this bug, and return the folder that it is in."""
        root = folder / "planted"
        shutil.copytree(ROOT / "tmrld", root / "tmrld", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "tests").symlink_to(ROOT / "tests")
        for file, line, wrong in filter(None, ((self.file, self.line, self.wrong), self.other)):
            path = root / "tmrld" / file
            text = path.read_text()
            assert text.count(f"{line}\n") == 1, f"{file} was changed: say anew which line of it a bug would be in"
            path.write_text(text.replace(f"{line}\n", f"{wrong}\n"))
        return root


BUGS = (
    Bug(
        "acknowledgement before commit",
        "relay/hub.py",
        "        await self._queue.put(arrived)",
        "        member.put(Ack(chunk.incarnation, [chunk.number])); await self._queue.put(arrived)",
        (Fault("disk full, then killed", "relay", 0.0, 1.5), Fault("disk full, then killed", "relay", 3.0, 1.5)),
        "was acknowledged, and is not in the log",
    ),
    Bug(
        "no de-duplication",
        "storage/sample_log.py",
        "        for key, place in self._files.index.find(keys).items():",
        "        for key, place in self._files.index.find([]).items():",
        tuple(Fault("cut", name, 0.3, 0.05) for name in 8 * WORKERS),
        "is in the log 2 times",
        other=("storage/sample_index.py", "    UNIQUE (stream, number)", "    CHECK (number >= 0)"),
    ),
    Bug(
        "no fencing",
        "relay/relay.py",
        "        if previous is not None:",
        "        if False:",
        (Fault("twin", "w1", 0.0, 1.0),),
        "on a link that a newer one had replaced",
    ),
    Bug(
        "history off by one",
        "rl/windows.py",
        "    return slice(depth + 1 - max(1, history), depth + 1)",
        "    return slice(depth - max(1, history), depth)",
        (Fault("kill engine", "w1", 0.0, 0.1),),
        "was sampled",
    ),
    Bug(
        "history across episodes",
        "rl/windows.py",
        "    return np.minimum(wanted, age[:, None])",
        "    return np.minimum(wanted, np.minimum(age + 1, depth)[:, None])",
        (Fault("kill engine", "w1", 0.0, 0.1),),
        "was sampled with another observation",
    ),
    Bug(
        "a record that is never learned from",
        "trainer/engine.py",
        "        for record in records:",
        "        for record in [each for each in records if each.offset % 8]:",
        (Fault("freeze engine", "t", 0.0, 0.5),),
        "leaving out",
    ),
    Bug(
        "a record that is learned from twice",
        "trainer/engine.py",
        "        for record in records:",
        "        for record in [*records, records[-1]]:",
        (Fault("freeze engine", "t", 0.0, 0.5),),
        "for the second time",
    ),
    Bug(
        "a dropped last chunk of an episode",
        "worker/rollout.py",
        "            if chunk is not None:",
        "            if chunk is not None and not (episode.ended and chunk.steps % 2):",
        (Fault("kill engine", "w1", 0.0, 0.1), Fault("kill engine", "w2", 2.0, 0.1)),
        "happened, and is not in the log, though later steps of its environment are",
    ),
    Bug(
        "pruning past the checkpoint",
        "relay/hub.py",
        "        stop, freed = self.log.freeable(wanted_bytes, min(needed, fed))",
        "        stop, freed = self.log.freeable(wanted_bytes, fed)",
        (Fault("clock jump", "t", 6.0, 6.0),),  # let the log grow
        "needs it from",
    ),
)
