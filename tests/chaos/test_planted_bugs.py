"""Bugs that are planted in a copy of the package: the books tell of each of them, so they would tell of it if it were ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.bugs import BUGS, Bug
from tests.chaos.schedule import Player
from tests.chaos.stage import Stage
from tests.support.progress import await_progress

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(tmp_path: Path, bug: Bug) -> None:
    with Stage(tmp_path, planted=bug.plant(tmp_path), settle_s=20.0) as stage:
        stage.start_all()
        await_progress(stage)
        for _ in range(bug.rounds):
            Player(stage).play(bug.faults)
            await_progress(stage)
        found = stage.violations(stage.wind_up())
        assert any(bug.sign in violation for violation in found), "\n".join(found)
