"""The data folder and its disk."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.doctor.patients import DISK, PATIENT, codes
from tmrld.doctor.disk import GIB, Disk, gather_disk, judge_disk, wanted_bytes
from tmrld.settings import Settings
from tmrld.storage.files import write_manifest
from tmrld.storage.layout import Layout, open_data_folder


def settings(data: Path, **changes: object) -> Settings:
    return Settings.model_validate({"data": str(data), **changes})


def judged(seen: Disk) -> set[str]:
    return codes(judge_disk(PATIENT, seen))


def test_a_folder_that_will_be_made_is_well_and_not_made_yet(tmp_path: Path) -> None:
    seen = gather_disk(settings(tmp_path / "a" / "b"))
    assert not seen.exists
    assert seen.error == ""
    assert seen.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, abs=2**30)
    assert list(tmp_path.iterdir()) == []
    assert "which will be made" in next(iter(judge_disk(PATIENT, seen))).text


def test_a_folder_that_is_there_is_left_as_it_was(tmp_path: Path) -> None:
    with open_data_folder(tmp_path):
        pass
    before = sorted(tmp_path.iterdir())
    seen = gather_disk(settings(tmp_path))
    assert (seen.exists, seen.error, seen.version_error, seen.holder) == (True, "", "", None)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_in_the_folder_s_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    seen = gather_disk(settings(tmp_path / "data"))
    assert "is a file, where a folder is needed" in seen.error
    assert judged(seen) == {"data-folder-unwritable"}


def test_a_folder_that_cannot_be_written_to_is_told() -> None:
    seen = gather_disk(settings(Path("/proc/tmrld")))
    assert seen.error.startswith("Cannot write in /proc")
    assert "data-folder-unwritable" in judged(seen)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tmrld.doctor.disk.os.fsync", full)
    assert judged(gather_disk(settings(tmp_path))) == {"disk-full"}


def test_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.doctor.disk.shutil.disk_usage", lambda _folder: SimpleNamespace(free=3 * GIB))
    wanted = settings(tmp_path, relay={"sample_log_bytes": 2 * GIB}, worker={"spool_bytes": 2 * GIB})
    assert judged(gather_disk(wanted)) == {"disk-short"}
    assert judged(gather_disk(settings(tmp_path, roles=["worker"], worker={"spool_bytes": GIB}))) == set()
    monkeypatch.setattr("tmrld.doctor.disk.shutil.disk_usage", lambda _folder: SimpleNamespace(free=10 * 2**20))
    assert judged(gather_disk(wanted)) == {"disk-full"}


def test_a_daemon_that_uses_the_folder_is_named(tmp_path: Path) -> None:
    with open_data_folder(tmp_path):
        seen = gather_disk(settings(tmp_path))
    assert seen.holder == os.getpid()
    (found,) = (each for each in judge_disk(PATIENT, seen) if each.code)
    assert (found.code, found.state) == ("data-folder-in-use", "note")
    assert f"process {os.getpid()}" in found.text
    assert judged(seen.model_copy(update={"own": True})) == set()
    assert "a process that it does not name" in next(iter(judge_disk(PATIENT, DISK.model_copy(update={"holder": 0})))).text


def test_a_folder_of_a_newer_tmrld_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    write_manifest(Layout(tmp_path).version, "tmrld data folder", 99, {})
    assert judged(gather_disk(settings(tmp_path))) == {"data-folder-newer"}
    Layout(tmp_path).version.write_text("{}")
    assert judged(gather_disk(settings(tmp_path))) == {"data-folder-damaged"}


def test_a_network_drive_is_told() -> None:
    assert judged(DISK.model_copy(update={"network": "nfs4"})) == {"data-folder-network"}


def test_what_may_come_to_lie_there_follows_from_the_roles(tmp_path: Path) -> None:
    spool, log = 2 * GIB, 20 * GIB
    assert wanted_bytes(settings(tmp_path)) == spool + log
    assert wanted_bytes(settings(tmp_path, roles=["relay"])) == log
    assert wanted_bytes(settings(tmp_path, roles=["worker"])) == spool
    assert wanted_bytes(settings(tmp_path, roles=["trainer"])) == 0


def test_a_system_that_does_not_tell_its_room_is_no_trouble() -> None:
    assert judged(DISK.model_copy(update={"free_bytes": None})) == set()
