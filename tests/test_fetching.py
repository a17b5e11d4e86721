"""Files of the relay's shelf on a node: by checksum, whole, and under the names that people know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tmrld.errors import ProtocolError
from tmrld.fetching import FetchedFiles
from tmrld.protocol.messages import FetchFile, FileMessage
from tmrld.storage.files import sha256


def entry(kind: str, name: str, data: bytes) -> list[Any]:
    return [kind, name, sha256(data), len(data)]


def message(kind: str, name: str, data: bytes) -> FileMessage:
    return FileMessage(kind, name, sha256(data), data)


FILES = [entry("tracks", "monza", b"points"), entry("weights", "expert", b"tensors")]


@pytest.fixture
def files(tmp_path: Path) -> FetchedFiles:
    return FetchedFiles(tmp_path / "files")


def test_one_file_after_the_other_is_asked_for(files: FetchedFiles) -> None:
    assert files.missing([]) is None
    assert files.missing(FILES) == FetchFile("tracks", "monza", sha256(b"points"))
    files.keep(message("tracks", "monza", b"points"))
    assert files.missing(FILES) == FetchFile("weights", "expert", sha256(b"tensors"))
    files.keep(message("weights", "expert", b"tensors"))
    assert files.missing(FILES) is None


def test_a_file_lies_under_its_name(files: FetchedFiles) -> None:
    files.keep(message("tracks", "monza", b"points"))
    path = Path(files.paths(FILES)["tracks/monza"])
    assert (path.name, path.read_bytes()) == ("monza.npy", b"points")


def test_another_file_of_the_same_name_is_another_file(files: FetchedFiles) -> None:
    files.keep(message("tracks", "monza", b"points"))
    other = [entry("tracks", "monza", b"other")]
    assert files.missing(other) is not None
    files.keep(message("tracks", "monza", b"other"))
    assert files.paths(other) != files.paths(FILES[:1])
    files.keep_only(other)
    assert files.missing(other) is None
    assert files.missing(FILES[:1]) is not None


def test_a_damaged_file_is_asked_for_again(files: FetchedFiles) -> None:
    files.keep(message("tracks", "monza", b"points"))
    Path(files.paths(FILES)["tracks/monza"]).write_bytes(b"paints")
    assert files.missing(FILES[:1]) is not None
    files.keep(message("tracks", "monza", b"points"))
    assert files.missing(FILES[:1]) is None


def test_what_came_damaged_is_not_kept(files: FetchedFiles) -> None:
    with pytest.raises(ProtocolError, match="does not match its checksum"):
        files.keep(FileMessage("tracks", "monza", sha256(b"points"), b"paints"))
    assert files.missing(FILES[:1]) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        "tracks",
        ["tracks", "monza"],
        ["tracks", "monza", 5, 6],
        ["tracks", "../monza", "5f" * 32, 6],
        ["tracks", "monza", "../" * 20, 6],
        ["tracks", "monza", "5F" * 32, 6],
        ["../tracks", "monza", "5f" * 32, 6],
    ],
)
def test_what_would_lead_out_of_the_folder_is_refused(files: FetchedFiles, wrong: Any) -> None:
    with pytest.raises(ProtocolError, match=r"assign\.files"):
        files.missing([wrong])
    with pytest.raises(ProtocolError, match=r"assign\.files"):
        files.paths([wrong])
    with pytest.raises(ProtocolError, match=r"assign\.files"):
        files.keep(FileMessage("tracks", "..\\monza", "5f" * 32, b""))
