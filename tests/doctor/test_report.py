"""Reports as files: what is read is what was written, without secrets; damaged and foreign files are refused with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zstandard

from tests.doctor.patients import MACHINE, NETWORK, PATIENT, way
from tmrld.doctor import report as reports
from tmrld.doctor.game import GameEvidence
from tmrld.doctor.pictures import Pictures
from tmrld.doctor.report import Report, judge, load, save, without_secrets
from tmrld.envs.options import EnvironmentOptions
from tmrld.errors import BadInput, StorageError


def a_game(frames: int = 2, side: int = 40) -> GameEvidence:
    """With pictures that are noise, so that nothing makes them small."""
    noise = np.random.default_rng(0).integers(0, 256, (frames, side, 2 * side, 3), np.uint8)
    seen = Pictures(
        frames=noise[:2],
        times=[0.5 * k for k in range(frames)],
        lidar=np.arange(frames * 19, dtype=np.float32).reshape(-1, 19),
        film=noise,
    )
    return GameEvidence(options=EnvironmentOptions(), pictures=seen)


def a_report(**changes: Any) -> Report:
    return Report(made=1.7e9, patient=PATIENT, machine=MACHINE, network=NETWORK).model_copy(update=changes)


def plain_of(path: Path) -> dict[str, Any]:
    plain: dict[str, Any] = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(path.read_bytes()))
    return plain


def write(path: Path, plain: Any) -> Path:
    path.write_bytes(zstandard.ZstdCompressor().compress(msgpack.packb(plain)))
    return path


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    before = a_report(game=a_game())
    size = save(tmp_path / "seen.tmrld", before)
    assert size == (tmp_path / "seen.tmrld").stat().st_size
    after = load(tmp_path / "seen.tmrld")
    assert after.game is not None
    assert before.game is not None
    pictures, was = after.game.pictures, before.game.pictures
    assert pictures is not None
    assert was is not None
    for name in ("frames", "lidar", "film"):
        assert getattr(pictures, name).dtype == getattr(was, name).dtype
        assert np.array_equal(getattr(pictures, name), getattr(was, name))
    assert after.model_copy(update={"game": None}) == before.model_copy(update={"game": None})
    assert judge(after) == judge(before)


def test_many_pictures_are_kept_smaller_and_still_look_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = np.zeros((3, 100, 200, 3), np.uint8) + np.arange(200, dtype=np.uint8)[None, None, :, None]
    seen = Pictures(frames=smooth[:0], lidar=np.zeros((0, 19), np.float32), film=smooth)
    game = GameEvidence(options=EnvironmentOptions(), pictures=seen)
    monkeypatch.setattr(reports, "LOSSLESS_BYTES", 100)
    save(tmp_path / "seen", a_report(game=game))
    (film,) = [each["film"]["__pictures__"] for each in [plain_of(tmp_path / "seen")["report"]["game"]["pictures"]]]
    assert all(picture.startswith(b"\xff\xd8") for picture in film)
    after = load(tmp_path / "seen").game
    assert after is not None
    assert after.pictures is not None
    assert np.abs(after.pictures.film.astype(int) - smooth).max() < 8


def test_no_secret_stays_in_any_text(tmp_path: Path) -> None:
    secret = "tmrld_worker_Zm9vYmFy"
    machine = MACHINE.model_copy(update={"disk": MACHINE.disk.model_copy(update={"folder": str(Path.home() / "data")})})
    leaking = a_report(
        network=way(outcome="http", status=401, text=f"the token {secret} is unknown", proxy=f"http://{secret}@proxy:3128"),
        machine=machine,
        patient=PATIENT.model_copy(update={"settings_error": f"peers.token = {secret!r} cannot be used"}),
    )
    clean = without_secrets(leaking, [secret, ""])
    save(tmp_path / "seen", clean)
    inside = zstandard.ZstdDecompressor().decompress((tmp_path / "seen").read_bytes())
    assert secret.encode() not in inside
    assert str(Path.home() / "data").encode() not in inside
    assert all(secret not in str(each) for each in judge(clean))
    assert clean.machine.disk.folder == str(Path("~") / "data")


@pytest.mark.parametrize("data", [b"", b"{}", b"PK\x03\x04 something", bytes(1000)])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(BadInput, match=r"is no report of the doctor's, or damaged .*: `tmrld doctor --record FILE` writes one"):
        load(tmp_path / "file")


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        load(tmp_path / "file")


def test_every_cut_and_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "seen", a_report(game=a_game(1, 4)))
    data = (tmp_path / "seen").read_bytes()
    for cut in range(0, len(data), max(1, len(data) // 50)):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(BadInput):
            load(tmp_path / "cut")
    for place in range(0, len(data), max(1, len(data) // 200)):
        flipped = bytearray(data)
        flipped[place] ^= 0x55
        (tmp_path / "flipped").write_bytes(flipped)
        with pytest.raises(BadInput):
            load(tmp_path / "flipped")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "something else"}, "is no report of the doctor's: `tmrld doctor --record FILE` writes one"),
        ({"version": 99}, "is a report of version 99, and this tmrld reads version 1: use the tmrld that wrote it"),
        ({"report": {}}, "is damaged, or from another version of tmrld: made: Field required"),
        ({"report": 5}, "is damaged"),
    ],
)
def test_a_report_that_is_none_says_what_is_the_matter(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    save(tmp_path / "seen", a_report())
    with pytest.raises(BadInput, match=sentence):
        load(write(tmp_path / "changed", plain_of(tmp_path / "seen") | change))


def changed(tmp_path: Path, part: str, value: Any) -> Path:
    """A report in whose pictures this part is something else."""
    save(tmp_path / "seen", a_report(game=a_game()))
    plain = plain_of(tmp_path / "seen")
    plain["report"]["game"]["pictures"][part] = value
    return write(tmp_path / "changed", plain)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("lidar", {"__array__": ["object", [1], b"12345678"]}),
        ("lidar", {"__array__": ["float32", [2, 19], b"short"]}),
        ("lidar", {"__array__": ["float32", [-1, 19], b""]}),
        ("lidar", {"__array__": ["float32", [1, 5], bytes(20)]}),
        ("lidar", {"__array__": 5}),
        ("frames", {"__pictures__": [b"no picture"]}),
        ("frames", {"__pictures__": []}),
        ("frames", {"__array__": ["float32", [1, 19], bytes(76)]}),
        ("frames", "text"),
        ("unknown", 1),
    ],
)
def test_arrays_and_pictures_are_checked(tmp_path: Path, part: str, value: Any) -> None:
    with pytest.raises(BadInput, match="damaged"):
        load(changed(tmp_path, part, value))


def test_a_file_that_says_that_it_unpacks_to_more_than_a_report_may_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MOST_BYTES", 1000)
    save(tmp_path / "seen", a_report())
    with pytest.raises(BadInput, match="it says that it holds"):
        load(tmp_path / "seen")


def test_a_secret_that_is_a_word_of_every_report_is_refused_rather_than_left_in() -> None:
    with pytest.raises(BadInput, match="choose another one"):
        without_secrets(a_report(game=a_game()), ["lockstep"])
