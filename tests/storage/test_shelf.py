"""The shelf: named files that several processes put there, replace and read."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest

from tmrld.errors import BadInput, Conflict, Damaged, NotFound, StorageError
from tmrld.payloads import EnvSpec, PartSpec, WeightsManifest
from tmrld.rl.weights import pack
from tmrld.storage import shelf as shelves
from tmrld.storage.shelf import BUNDLED, KINDS, Item, Shelf

SPEC = EnvSpec("test/Point-v0", (PartSpec("position", (1,)),), 1, default_action=(0.0,))
WEIGHTS = pack(WeightsManifest("teacher", 7, 900, 0, SPEC, {}, "sac"), {"w": np.ones(3, np.float32)}).data


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    bundled = tmp_path / "policies"
    bundled.mkdir()
    (bundled / "bundled-default.safetensors").write_bytes(WEIGHTS)
    return Shelf(tmp_path / "shelf", bundled)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_there_is_found_again(shelf: Shelf, kind: str) -> None:
    item = shelf.put(kind, "monza", b"points", {"length_m": 5.0})
    assert shelf.get(kind, "monza") == item
    assert shelf.load(kind, "monza") == (item, b"points")
    assert shelf.read(kind, "monza") == b"points"
    assert item in shelf.items(kind)
    assert (item.size_bytes, item.about) == (6, {"length_m": 5.0})
    assert item.made > 0


def test_kinds_do_not_share_names(shelf: Shelf) -> None:
    shelf.put("tracks", "monza", b"points")
    with pytest.raises(NotFound):
        shelf.get("demonstrations", "monza")


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_replaced(shelf: Shelf) -> None:
    first = shelf.put("tracks", "monza", b"one")
    assert shelf.put("tracks", "monza", b"one") == first
    with pytest.raises(Conflict, match="there are tracks called 'monza' already"):
        shelf.put("tracks", "monza", b"two")
    assert shelf.read("tracks", "monza") == b"one"
    shelf.put("tracks", "monza", b"two", replace=True)
    assert shelf.read("tracks", "monza") == b"two"
    assert len(shelf.items("tracks")) == 1


def test_nothing_is_left_of_what_was_replaced_or_deleted(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("tracks", "monza", b"one")
    shelf.put("tracks", "monza", b"two", replace=True)
    assert len(list((tmp_path / "shelf" / "tracks" / "monza").iterdir())) == 2
    shelf.delete("tracks", "monza")
    assert list((tmp_path / "shelf" / "tracks").iterdir()) == []
    with pytest.raises(NotFound):
        shelf.delete("tracks", "monza")


def test_the_nearest_name_is_suggested(shelf: Shelf) -> None:
    shelf.put("tracks", "monza", b"points")
    with pytest.raises(NotFound, match="there is no track 'munza' on the shelf: did you mean 'monza'"):
        shelf.get("tracks", "munza")
    with pytest.raises(NotFound, match="there are no weights 'x' on the shelf: `tmrld weights list` shows"):
        shelf.get("weights", "x")


@pytest.mark.parametrize("name", ["", "Monza", "../monza", "a/b", "con", "monza.npy", "best.safetensors", "x" * 65])
def test_a_name_that_some_system_could_not_hold_is_refused(shelf: Shelf, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name of a track"):
        shelf.put("tracks", name, b"points")
    with pytest.raises(NotFound):
        shelf.get("tracks", name)
    with pytest.raises(NotFound):
        shelf.delete("tracks", name)


def test_a_file_that_is_too_large_is_refused(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shelves.MAX_BYTES, "tracks", 2 * 2**20)
    with pytest.raises(BadInput, match=r"the file has 3\.0 MiB, and a track may have 2 MiB"):
        shelf.put("tracks", "monza", bytes(3 * 2**20))


def test_a_damaged_file_is_noticed_and_can_be_deleted(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("tracks", "monza", b"points")
    (path,) = (tmp_path / "shelf" / "tracks" / "monza").glob("*.npy")
    path.write_bytes(b"paints")
    with pytest.raises(Damaged, match="the track 'monza' on the shelf does not match its checksum"):
        shelf.read("tracks", "monza")
    shelf.put("tracks", "monza", b"points")
    assert shelf.read("tracks", "monza") == b"points"
    (path.parent / "item.json").write_text("{")
    with pytest.raises(Damaged):
        shelf.get("tracks", "monza")
    assert shelf.items("tracks") == []
    shelf.delete("tracks", "monza")
    shelf.put("tracks", "monza", b"points")
    assert shelf.read("tracks", "monza") == b"points"


def test_weights_that_tmrld_brings_are_there_and_stay(shelf: Shelf) -> None:
    item = shelf.get("weights", "bundled-default")
    assert item.about == {"environment": SPEC.id, "update": 900, "run": "teacher", "version": 7, "bundled": True}
    assert shelf.read("weights", "bundled-default") == WEIGHTS
    mine = shelf.put("weights", "mine", b"x", {"bundled": True})
    assert shelf.items("weights") == [item, mine]
    assert not mine.bundled
    with pytest.raises(Conflict, match="choose another name"):
        shelf.put("weights", "bundled-default", b"x", replace=True)
    with pytest.raises(Conflict, match="cannot be deleted"):
        shelf.delete("weights", "bundled-default")


def test_what_this_installation_brings_can_be_read(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    brought = shelf.items("weights")
    assert [item.name for item in brought] == sorted(path.stem for path in BUNDLED.glob("*.safetensors"))
    assert all(shelf.load("weights", item.name)[0] == item for item in brought)


def _put_many(folder: Path, letter: str, times: int) -> None:
    for number in range(times):
        Shelf(folder).put("tracks", "shared", f"{letter}{number}".encode() * 1000, {"letter": letter}, replace=True)
        Shelf(folder).put("tracks", f"{letter}-{number}", b"own")


def test_what_somebody_is_reading_on_windows_is_not_deleted_yet(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put("tracks", "monza", b"points")

    def in_use(*_: object, **__: object) -> None:
        raise PermissionError(13, "in use")

    with monkeypatch.context() as windows:
        windows.setattr(Path, "unlink", in_use)
        with pytest.raises(StorageError, match="Cannot remove"):
            shelf.delete("tracks", "monza")
    assert shelf.read("tracks", "monza") == b"points"


def test_what_is_replaced_again_and_again_while_it_is_read_is_read_in_the_end(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put("tracks", "monza", b"0")
    read, versions = Shelf._read, iter((b"1", b"2", b"3"))

    def replaced_before(self: Shelf, item: Item) -> bytes:
        if (version := next(versions, None)) is not None:
            monkeypatch.setattr(Shelf, "_read", read)
            self.put("tracks", "monza", version, replace=True)
            monkeypatch.setattr(Shelf, "_read", replaced_before)
        return read(self, item)

    monkeypatch.setattr(Shelf, "_read", replaced_before)

    item, data = shelf.load("tracks", "monza")

    assert data == b"3"
    assert item == shelf.get("tracks", "monza")


def test_processes_share_a_shelf(tmp_path: Path) -> None:
    """Whoever reads meanwhile always sees a whole file that belongs to its facts."""
    processes = [multiprocessing.get_context("spawn").Process(target=_put_many, args=(tmp_path, letter, 15)) for letter in "ab"]
    shelf = Shelf(tmp_path)
    shelf.put("tracks", "shared", b"first", {"letter": "f"})
    for process in processes:
        process.start()
    reads = 0
    while any(process.is_alive() for process in processes):
        item, data = shelf.load("tracks", "shared")
        assert data[:1].decode() == item.about["letter"]
        reads += 1
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert reads > 0
    assert len(shelf.items("tracks")) == 31


def test_of_two_that_take_a_name_at_once_one_gets_it(shelf: Shelf) -> None:
    refused: list[Conflict] = []

    def take(data: bytes) -> None:
        try:
            shelf.put("tracks", "monza", data)
        except Conflict as error:
            refused.append(error)

    threads = [threading.Thread(target=take, args=(bytes([number]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
