"""Pickles of TMRL are read; those that do harm are not run, those that are wrong are refused, and none takes the memory."""

from __future__ import annotations

import io
import lzma
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.tmrl.hostile import WRONG, harmful, zipped
from tmrld.errors import BadInput
from tmrld.tmrl import arrays, tmod

MODES = sorted(harmful(Path("x")))
POINTS = np.arange(12.0).reshape(4, 3)
MIB = 2**20


def saved(value: Any) -> bytes:
    """As ``torch.save`` writes it."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


# What TMRL writes


@pytest.mark.parametrize("protocol", [3, 4, 5])
@given(array=hnp.arrays(hnp.floating_dtypes(sizes=(32, 64)), hnp.array_shapes(max_dims=3)))
def test_every_array_of_numbers_is_read(protocol: int, array: NDArray[Any]) -> None:
    for given_array in (array, np.asfortranarray(array), array[::-1]):
        found = arrays.read(pickle.dumps(given_array, protocol), "the file reward.pkl")

        assert found.dtype == np.float64
        assert np.array_equal(found, given_array.astype(np.float64), equal_nan=True)


def test_pickles_of_numpy_1_and_2_are_read() -> None:
    data = pickle.dumps(POINTS, 4)
    old = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    old = old.replace(b"\x95" + struct.pack("<Q", len(data) - 11), b"\x95" + struct.pack("<Q", len(old) - 11))

    assert old != data
    assert np.array_equal(arrays.read(data, "it"), POINTS)
    assert np.array_equal(arrays.read(old, "it"), POINTS)


@pytest.mark.parametrize("points", [POINTS.tolist(), list(POINTS), [tuple(row) for row in POINTS.tolist()], POINTS.astype(int)])
def test_points_in_lists_are_read(points: Any) -> None:
    assert np.array_equal(arrays.read(pickle.dumps(points), "it"), POINTS)


def test_a_state_of_tensors_is_read() -> None:
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Conv2d(2, 3, 4)).state_dict()
    state["1.weight"] = state["1.weight"].contiguous(memory_format=torch.channels_last)
    tensors = tmod.read(saved(state), "it")

    assert list(tensors) == list(state)
    for name, tensor in state.items():
        assert np.array_equal(tensors[name], tensor.numpy())


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.int64, torch.int32])
def test_views_and_types_of_tensors_are_read(kind: torch.dtype) -> None:
    whole = torch.arange(60).reshape(5, 12).to(kind)
    views = {"part": whole[1:4, 2:9:3], "turned": whole.T, "one": whole[2, 3], "none": whole[:0], "again": whole}
    tensors = tmod.read(saved(OrderedDict(views)), "it")

    for name, view in views.items():
        assert np.array_equal(tensors[name], view.numpy())
        assert tensors[name].dtype == view.numpy().dtype


# What does harm


@pytest.mark.parametrize("mode", MODES)
def test_what_a_pickle_would_run_is_not_run(mode: str, tmp_path: Path) -> None:
    data = harmful(tmp_path / "hit")[mode]

    with pytest.raises(BadInput, match=r"the file reward\.pkl (asks for|cannot be read)"):
        arrays.read(data, "the file reward.pkl")
    with pytest.raises(BadInput, match=r"the file a\.tmod (asks for|cannot be read)"):
        tmod.read(zipped(data), "the file a.tmod")
    assert not (tmp_path / "hit").exists()


def test_the_harm_is_real(tmp_path: Path) -> None:
    """Read as usual, such a file does what it wants."""
    pickle.loads(harmful(tmp_path / "hit")["os.system, protocol 5"])
    assert (tmp_path / "hit").exists()


def test_the_refusal_names_what_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"asks for '(posix|nt)\.system'.*so it was not read"):
        arrays.read(harmful(tmp_path / "hit")["os.system, protocol 5"], "the file reward.pkl")


# What is wrong


@pytest.mark.parametrize("wrong", sorted(WRONG))
def test_what_is_wrong_is_refused_with_a_sentence(wrong: str) -> None:
    for reads, data in ((arrays.read, WRONG[wrong]), (tmod.read, zipped(WRONG[wrong]))):
        with pytest.raises(BadInput, match=r"^the file x "):
            reads(data, "the file x")


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_nothing_else_is_raised(data: bytes) -> None:
    for reads in (arrays.read, tmod.read):
        for each in (data, zipped(data)):
            with pytest.raises(BadInput):
                reads(each, "the file x")


@given(st.data())
def test_a_file_with_a_few_other_bytes_is_read_or_refused(data: st.DataObject) -> None:
    good = saved(OrderedDict(weight=torch.arange(6.0).reshape(2, 3)))
    pickled = pickle.dumps(POINTS)
    for reads, whole in ((tmod.read, good), (arrays.read, pickled)):
        broken = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
        with suppress(BadInput):  # anything else is an error
            reads(bytes(broken), "the file x")


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        np.array(["text"]),
        np.array([1 + 2j]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
    ],
)
def test_arrays_of_other_things_than_numbers_are_refused(array: NDArray[Any]) -> None:
    for protocol in (4, 5):
        with pytest.raises(BadInput, match="the file x"):
            arrays.read(pickle.dumps(array, protocol), "the file x")


def forged(shape: bytes, data: bytes, kind: bytes = b"f8") -> bytes:
    """An array whose state says what it wants; ``shape`` are instructions."""
    return (
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntB\x01\x00\x00\x00btR(I1\n("
        + shape
        + b"tcnumpy\ndtype\n(S'"
        + kind
        + b"'\nI00\nI01\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nB"
        + struct.pack("<I", len(data))
        + data
        + b"tb."
    )


def test_a_state_that_is_right_is_read() -> None:
    assert np.array_equal(arrays.read(forged(b"I1\nI3\n", bytes(24)), "it"), np.zeros((1, 3)))


@pytest.mark.parametrize(
    "pickled",
    [
        forged(b"I1000000000\nI3\n", bytes(24)),
        forged(b"I-1\nI-3\n", bytes(24)),
        forged(b"I1\nI3\n", bytes(16)),
        forged(b"L99999999999999999999L\nI0\n", b""),
        forged(b"I3\n" * 9, bytes(24)),
        forged(b"I1\nI3\n", bytes(24), b"O"),
        forged(b"I1\nI3\n", bytes(24), b"V8"),
        forged(b"S'a'\n", bytes(24)),
    ],
)
def test_a_state_that_lies_is_refused(pickled: bytes) -> None:
    with pytest.raises(BadInput, match="the file x"):
        arrays.read(pickled, "the file x")


def tensor(size: str, stride: str, *, offset: int = 0, count: int = 6, kind: str = "FloatStorage", times: int = 1) -> bytes:
    """The pickle of a file with tensors that say what they want of the storage 0; ``size`` and ``stride`` are instructions."""
    each = (
        f"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\n{kind}\nS'0'\nS'cpu'\nI{count}\ntQI{offset}\n"
        f"({size}t({stride}tI00\nccollections\nOrderedDict\n(tRtR"
    )
    pairs = "".join(f"S'w{k}'\n{each}" for k in range(times))
    return f"ccollections\nOrderedDict\n(tR({pairs}u.".encode()


def test_a_tensor_that_tells_the_truth_is_read() -> None:
    data = zipped(tensor("I2\nI3\n", "I3\nI1\n"), _0=np.arange(6, dtype="<f4").tobytes())

    assert np.array_equal(tmod.read(data, "it")["w0"], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (tensor("I2\nI3\n", "I3\nI1\n", offset=1), "beyond its storage"),
        (tensor("I2\nI3\n", "I4\nI1\n"), "beyond its storage"),
        (tensor("I2\nI3\n", "I-3\nI1\n"), "where a number up to"),
        (tensor("I1000000\n", "I0\n"), "where a number up to"),
        (tensor("I6\nI6\nI6\n", "I0\nI0\nI0\n"), "beyond its storage"),
        (tensor("I2\n", "I3\nI1\n"), "1 axes with 2 strides"),
        (tensor("I2\nI3\n", "I3\nI1\n", count=7), "24 bytes instead of 28"),
        (tensor("I2\nI3\n", "I3\nI1\n", kind="QInt8Storage"), "asks for 'torch.QInt8Storage'"),
    ],
)
def test_a_tensor_that_lies_is_refused(pickled: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        tmod.read(zipped(pickled, _0=bytes(24)), "the file x")


# Memory


def refused(reads: Any, data: bytes, most_bytes: int) -> str:
    """The sentence of the refusal, which took no more memory than that."""
    tracemalloc.start()
    try:
        with pytest.raises(BadInput) as caught:
            reads(data, "the file x")
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()
    return str(caught.value)


def test_a_zip_bomb_is_never_unpacked() -> None:
    bomb = zipped(bytes(100 * MIB), compression=zipfile.ZIP_DEFLATED)

    assert len(bomb) < MIB
    assert "is compressed, which torch.save never does" in refused(tmod.read, bomb, 8 * MIB)


def test_a_part_that_says_it_is_larger_than_the_file_is_not_believed() -> None:
    honest = zipped(tensor("I6\n", "I1\n"), _0=bytes(24))
    lying = honest.replace(struct.pack("<II", 24, 24), struct.pack("<II", 2**31, 2**31))

    assert lying != honest
    assert "larger than can be" in refused(tmod.read, lying, 8 * MIB)


def test_one_storage_is_not_many_tensors() -> None:
    count = 4 * MIB // 4
    pickled = tensor(f"I{count}\n", "I1\n", count=count, times=100)

    assert "larger than its file can be" in refused(tmod.read, zipped(pickled, _0=bytes(4 * MIB)), 300 * MIB)


def test_a_list_that_refers_to_itself_again_and_again_is_no_line() -> None:
    """Ten lists of ten lists of …: written out, it would have ten thousand million numbers."""
    value: Any = 1.0
    for _ in range(10):
        value = [value] * 10
    assert "no point of three numbers" in refused(arrays.read, pickle.dumps(value), 4 * MIB)


def test_a_file_that_is_too_large_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(tmod, "MAX_FILE_BYTES", 100)

    assert "at most 100" in refused(arrays.read, bytes(101), MIB)
    assert "at most 100" in refused(tmod.read, bytes(101), MIB)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda file: file.writestr("other/data.pkl", b"N."), "none as torch.save writes it"),
        (lambda file: file.writestr("archive/byteorder", b"big"), "none as torch.save writes it"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_of_another_shape_is_refused(change: Any, reason: str) -> None:
    data = io.BytesIO(zipped(tensor("I6\n", "I1\n"), _0=bytes(24)))
    with zipfile.ZipFile(data, "a") as file:
        change(file)

    with pytest.raises(BadInput, match=reason):
        tmod.read(data.getvalue(), "the file x")


def test_a_place_that_no_file_can_have_is_refused() -> None:
    data = bytearray(lzma.decompress((Path(__file__).parent / "golden" / "lidar.tmod.xz").read_bytes()))
    where = data.index(b"PK\x06\x06") + 48  # the list of parts, as the end of the archive has its place in 64 bits
    data[where : where + 8] = struct.pack("<Q", 2**64 - 1)

    with pytest.raises(BadInput, match="the file x"):
        tmod.read(bytes(data), "the file x")


def test_bytes_in_another_order_are_refused() -> None:
    data = zipped(tensor("I6\n", "I1\n"), _0=bytes(24)).replace(b"little", b"biggie")

    with pytest.raises(BadInput, match="damaged"):  # the checksum of that part
        tmod.read(data, "the file x")


def test_a_file_of_old_torch_is_told_what_to_do() -> None:
    file = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, file, _use_new_zipfile_serialization=False)

    with pytest.raises(BadInput, match=r"older than torch 1\.6, load and save it once"):
        tmod.read(file.getvalue(), "the file x")
