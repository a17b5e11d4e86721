"""How data folders of older layouts are brought up to date, one version at a time.

Each step may be repeated, so that one which was cut off is made good by the next start; what it replaces, it replaces as a whole.
It repeats the formats that it needs as they were then: the code for them may be gone by now.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tmrld.storage.files import explaining, read_file, write_manifest

log = logging.getLogger(__name__)


def _notes_of_trainers_get_checksums(root: Path) -> None:
    """1 → 2: ``made`` was a number as text, ``revisions/N.json`` bare JSON: a flipped bit in them went unnoticed."""
    with explaining("list", root):
        runs = [path for path in root.glob("trainer/runs/*") if path.is_dir()]
        notes = [(path, "tmrld training options") for run in runs for path in run.glob("revisions/*.json")]
        notes += [(path, "tmrld run made") for run in runs if (path := run / "made").exists()]
    for path, kind in notes:
        try:
            said = json.loads(read_file(path))
        except (ValueError, RecursionError):
            log.error("%s is damaged, and stays as it is: whoever needs it says what is lost", path)
            continue
        content: Any = {"created": said} if isinstance(said, float) else said
        if isinstance(content, dict) and "sha256" not in content:
            write_manifest(path, kind, 1, content)


UPGRADES: dict[int, Callable[[Path], None]] = {1: _notes_of_trainers_get_checksums}
"""By the version that they start from; each is handed the root of the data folder, which nobody else uses meanwhile."""
