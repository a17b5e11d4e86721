"""Bugs that are planted in a copy of the package: the books tell of each of them, so they would tell of it if it were ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.bugs import BUGS, Bug
from tests.chaos.hardware import needs_linux
from tests.chaos.schedule import Player
from tests.chaos.stage import Stage
from tests.support.cluster import ROOT
from tests.support.progress import await_progress

each_bug = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)


@each_bug
def test_a_bug_changes_what_it_says_and_nothing_else(tmp_path: Path, bug: Bug) -> None:
    root = bug.plant(tmp_path)
    changed = {path.relative_to(root) for path in root.glob("tmrld/**/*.py") if differs(root, path)}
    others = {Path("tmrld") / bug.other[0]} if bug.other else set()
    assert changed == {Path("tmrld") / bug.file} | others
    for path in changed:
        compile((root / path).read_text(), path, "exec")


def differs(root: Path, path: Path) -> bool:
    return path.read_bytes() != (ROOT / path.relative_to(root)).read_bytes()


@needs_linux
@pytest.mark.slow
@pytest.mark.timeout(600)
@each_bug
def test_a_planted_bug_is_noticed(tmp_path: Path, bug: Bug) -> None:
    with Stage(tmp_path, planted=bug.plant(tmp_path)) as stage:
        stage.start_all()
        await_progress(stage)
        Player(stage).play(bug.faults)
        found = stage.violations(stage.wind_up())
        assert any(bug.sign in violation for violation in found), "\n".join(found)
