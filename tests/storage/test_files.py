"""Files are whole or not there, and say what is wrong with them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from tmrld.errors import Damaged, DiskFull, StorageError
from tmrld.payloads import Array
from tmrld.storage.database import Database
from tmrld.storage.files import (
    explained,
    load_arrays,
    make_folder,
    make_private,
    pack_arrays,
    read_file,
    read_manifest,
    remove_file,
    replace_file,
    save_arrays,
    unpack_arrays,
    write_atomic,
    write_manifest,
)


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert read_file(path) == b"new"
    assert list(tmp_path.iterdir()) == [path]
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    write_atomic(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(DiskFull, match="the disk is full"):
            write_atomic(path, b"new")
    assert read_file(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_is_tried_again_while_windows_has_the_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    replace = os.replace

    def busy(source: Path, target: Path) -> None:
        if len(pauses) < 3:
            raise PermissionError(13, "used by another process")
        replace(source, target)

    (tmp_path / "new").write_bytes(b"new")
    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr("tmrld.storage.files._ON_WINDOWS", True)
    replace_file(tmp_path / "new", tmp_path / "old", pauses.append)
    assert (tmp_path / "old").read_bytes() == b"new"
    assert len(pauses) == 3


def test_elsewhere_a_refusal_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr("tmrld.storage.files._ON_WINDOWS", False)
    with pytest.raises(PermissionError):
        replace_file(tmp_path / "new", tmp_path / "old", pauses.append)
    assert pauses == []


def test_errors_say_what_to_do() -> None:
    path = Path("x")
    assert "Free some space" in str(explained(OSError(errno.ENOSPC, "full"), "write", path))
    assert "permission denied" in str(explained(PermissionError(13, "no"), "write", path))
    assert "does not exist" in str(explained(FileNotFoundError(2, "no"), "read", path))
    assert "Input/output error" in str(explained(OSError(errno.EIO, "Input/output error"), "read", path))


def test_a_missing_file_may_be_removed_but_not_read(tmp_path: Path) -> None:
    remove_file(tmp_path / "none")
    with pytest.raises(StorageError, match="does not exist"):
        read_file(tmp_path / "none")


def test_folders_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    folder = make_folder(make_folder(tmp_path / "a" / "b"))
    if sys.platform != "win32":
        assert {folder.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777} == {0o700}


def test_a_manifest_comes_back_and_knows_its_kind_and_version(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    content = {"names": ["ä", "b"], "size": 3, "nested": {"x": None, "y": 0.1}}
    write_manifest(path, "thing", 2, content)
    assert read_manifest(path, "thing", 2) == content
    assert read_manifest(path, "thing", 3) == content
    with pytest.raises(StorageError, match="newer tmrld"):
        read_manifest(path, "thing", 1)
    with pytest.raises(Damaged, match="of kind 'thing', expected 'other'"):
        read_manifest(path, "other", 2)


def test_a_manifest_that_was_touched_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(path, "thing", 1, {"size": 3})
    text = path.read_text()
    for changed in (text.replace("3", "4", 1), text[:-5], "[]", "", json.dumps({"kind": "thing"}), "\xff"):
        if changed != text:
            path.write_text(changed)
            with pytest.raises(Damaged):
                read_manifest(path, "thing", 1)


DTYPES = st.sampled_from(["<f4", "<f8", ">f8", "<i8", "u1", "<u2", "?", "<f2"])


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=5), DTYPES.flatmap(lambda d: arrays_of.arrays(d, arrays_of.array_shapes(min_dims=0))), max_size=4
    )
)
def test_arrays_come_back_as_they_were(arrays: dict[str, Array]) -> None:
    back, metadata = unpack_arrays(pack_arrays(arrays, {"made by": "test"}), "memory")
    assert metadata == {"made by": "test"}
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype.newbyteorder("<")
        np.testing.assert_array_equal(back[name], array)


def test_a_flipped_byte_anywhere_in_an_array_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    save_arrays(path, {"b": np.arange(5, dtype=np.float32).T[::2], "a": np.array(3)}, {"k": "v"})
    arrays, _ = load_arrays(path)
    np.testing.assert_array_equal(arrays["b"], [0, 2, 4])
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(Damaged):
            load_arrays(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(Damaged):
        load_arrays(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_private_file_is_for_its_owner_alone_whether_it_was_there_or_not(tmp_path: Path) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.write_text("kept")
    there.chmod(0o644)
    for path in (there, new):
        make_private(path)
        assert path.stat().st_mode & 0o777 == 0o600
    assert (there.read_text(), new.read_text()) == ("kept", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_database_and_the_files_beside_it_are_for_their_owner_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "relay.db", ["CREATE TABLE facts (fact)"])
    with database.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES (1)")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    database.close()
    assert modes["relay.db"] == modes["relay.db-wal"] == 0o600


def killed(folder: Path, commits: int) -> Path:
    """A database as a process leaves it that was killed after so many commits."""
    running, left = folder / "running", folder / "left"
    database = Database(running / "relay.db", ["CREATE TABLE facts (fact)"])
    for number in range(commits):
        with database.transaction() as connection:
            connection.execute("INSERT INTO facts VALUES (?)", (number,))
    shutil.copytree(running, left)
    database.close()
    return left / "relay.db"


def facts(path: Path) -> list[int]:
    with closing(Database(path, ["CREATE TABLE facts (fact)"])) as database, database.reading() as view:
        return [fact for (fact,) in view.execute("SELECT fact FROM facts ORDER BY fact")]


def test_what_a_killed_process_committed_is_there_and_nothing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert facts(killed(tmp_path, 5)) == [0, 1, 2, 3, 4]
    assert caplog.text == ""


def test_commits_that_are_lost_with_a_damaged_write_ahead_log_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = killed(tmp_path, 5)
    log = path.with_name("relay.db-wal")
    whole = log.read_bytes()
    page = 24 + int.from_bytes(path.read_bytes()[16:18], "big")
    for back in (1, 3):  # frames from the end
        for suffix in ("-shm", ".seal"):
            path.with_name(f"relay.db{suffix}").unlink(missing_ok=True)
        at = len(whole) - back * page + 100
        log.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        copy = shutil.copytree(path.parent, tmp_path / f"copy {back}") / "relay.db"
        caplog.clear()
        assert facts(copy) == list(range(5 - back))
        assert f"the newest changes, {back} pages of " in caplog.text
        assert "what came before is whole" in caplog.text
