"""A data folder belongs to one daemon, and its paths are built in one place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tmrld.errors import BadInput, FolderInUse, StorageError
from tmrld.storage.files import read_manifest, write_manifest
from tmrld.storage.layout import (
    LAYOUT_VERSION,
    Layout,
    checked_run_name,
    mounts_of,
    network_type,
    network_type_among,
    open_data_folder,
)


@pytest.mark.parametrize("name", ["a", "my-run_2.0", "0", "x" * 64, "console", "nullify.v2"])
def test_good_run_names_are_kept(name: str) -> None:
    assert checked_run_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "..", "a/b", "a\\b", "a b", "a\n", "a.", "x" * 65, "con", "nul.txt", "com1", "ä"]
)
def test_names_that_some_system_could_not_hold_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name of a run"):
        checked_run_name(name)
    with pytest.raises(BadInput):
        Layout(Path("data")).run_log(name)


def test_every_path_lies_in_the_folder_and_no_two_are_the_same() -> None:
    layout = Layout(Path("data"))
    single = [name for name, part in vars(Layout).items() if isinstance(part, property)]
    per_run = ["relay_run", "run_log", "run_weights", "run_checkpoints", "trainer_run", "trainer_cache"]
    paths = [getattr(layout, name) for name in single] + [getattr(layout, name)("run") for name in per_run]
    paths += [layout.trainer_checkpoints("run"), layout.trainer_journal("run"), layout.run_log("other")]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to("data") for path in paths)


def test_an_opened_folder_is_private_and_refuses_a_second_daemon(tmp_path: Path) -> None:
    with open_data_folder(tmp_path / "deep" / "data") as folder:
        root = folder.layout.root
        if sys.platform != "win32":
            assert root.stat().st_mode & 0o777 == 0o700
        with pytest.raises(FolderInUse, match=rf"in use by another tmrld \(process {os.getpid()}\)"):
            open_data_folder(root)
    open_data_folder(root).close()


def test_another_process_is_kept_out_until_this_one_dies(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from tmrld.storage.layout import open_data_folder\n"
    program += "folder = open_data_folder(Path(sys.argv[1])); print('mine', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"mine"
        with pytest.raises(FolderInUse, match=f"process {child.pid}"):
            open_data_folder(tmp_path)
        child.kill()
    open_data_folder(tmp_path).close()


def test_a_folder_of_a_newer_tmrld_is_refused_politely_and_let_go(tmp_path: Path) -> None:
    write_manifest(tmp_path / "folder.json", "tmrld data folder", LAYOUT_VERSION + 1, {})
    for _ in range(2):
        with pytest.raises(StorageError, match=r"newer tmrld.*Upgrade tmrld"):
            open_data_folder(tmp_path)


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageError, match="is a file, where a folder is needed"):
        open_data_folder(tmp_path / "data")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=f"Cannot write in the data folder {re.escape(str(tmp_path))}"):
        open_data_folder(tmp_path)


def test_a_missing_holder_does_not_hide_that_the_folder_is_in_use(tmp_path: Path) -> None:
    with open_data_folder(tmp_path) as folder:
        folder.layout.holder.write_text("garbage")
        with pytest.raises(FolderInUse, match="in use by another tmrld\\. Stop"):
            open_data_folder(tmp_path)
    assert read_manifest(Layout(tmp_path).version, "tmrld data folder", LAYOUT_VERSION) == {}


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local\\040disk ext4 rw 0 0
//nas/share /mnt/nas cifs rw 0 0
"""


def test_the_deepest_mount_says_whether_a_path_is_on_the_network() -> None:
    mounts = mounts_of(MOUNTS)
    assert network_type_among(Path("/var/lib"), mounts) is None
    assert network_type_among(Path("/home/me"), mounts) == "nfs4"
    assert network_type_among(Path("/home/local disk/data"), mounts) is None
    assert network_type_among(Path("/mnt/nas"), mounts) == "cifs"
    assert network_type_among(Path("/mnt/nasty"), mounts) is None


def test_a_folder_on_a_network_drive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert network_type(tmp_path) is None
    monkeypatch.setattr("tmrld.storage.layout.network_type", lambda path: "nfs4")
    with pytest.raises(StorageError, match=r"network drive \(nfs4\).*Choose a folder on a disk of this machine"):
        open_data_folder(tmp_path / "data")
    assert not (tmp_path / "data").exists()
