"""What running daemons write can be read by their owner alone, however generous the umask."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, await_that

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="these permissions are POSIX's")]


def readable_by_others(folder: Path) -> list[str]:
    """Each file that is not 0600 and each folder that is not 0700, with its mode."""
    found = []
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        expected = 0o700 if stat.S_ISDIR(mode) else 0o600
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != expected:
            found.append(f"{path.relative_to(folder)}: {stat.S_IMODE(mode):o}")
    return found


def _has_something(folder: Path) -> bool:
    return any(each.is_file() for each in folder.rglob("*"))


def test_every_file_of_every_daemon_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Cluster(tmp_path) as cluster:
            cluster.start_relay()
            cluster.start("trainer", "t1")
            cluster.start("worker", "w1")
            kept = cluster.data("relay") / "relay" / "runs" / "demo"
            for what in ("checkpoints", "weights", "log"):
                await_that(partial(_has_something, kept / what), f"the relay has {what}")
            checkpoints = cluster.data("t1") / "trainer" / "runs" / "demo"
            await_that(partial(_has_something, checkpoints), "the trainer has files")
            for name in ("relay", "t1", "w1"):
                assert sum(1 for each in cluster.data(name).rglob("*") if each.is_file()) > 1
                assert readable_by_others(cluster.data(name)) == []
    finally:
        os.umask(before)


def test_a_file_for_others_would_be_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "open").touch(0o644)
    (tmp_path / "closed").touch(0o600)
    assert [line.split(":")[0] for line in readable_by_others(tmp_path)] == ["open"]
