import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.control.downloads import Conditions, file_response, parse_range
from tmrld.control.problems import Code, ProblemError

DATA = b"0123456789"


def status(**conditions: str) -> int:
    return file_response(DATA, '"a"', Conditions(**conditions), {}, "file").status_code


@pytest.mark.parametrize(
    ("header", "part"),
    [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-3", b"789"), ("bytes=8-99", b"89"), ("bytes=-99", DATA)],
)
def test_a_range_is_a_part(header: str, part: bytes) -> None:
    span = parse_range(header, len(DATA))
    assert span is not None
    assert DATA[slice(*span)] == part


@pytest.mark.parametrize("header", ["bytes=1-2,4-5", "lines=1-2", "bytes=4-2", "bytes=-", "bytes=x-", "1-2", ""])
def test_what_is_no_single_range_means_everything(header: str) -> None:
    assert parse_range(header, len(DATA)) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_beyond_the_end_tells_the_size(header: str) -> None:
    with pytest.raises(ProblemError, match="has 10 bytes") as caught:
        parse_range(header, len(DATA))
    assert caught.value.code == Code.RANGE_NOT_SATISFIABLE
    assert caught.value.headers == {"Content-Range": "bytes */10"}


@given(st.text(alphabet="bytes=0123456789-, ", max_size=24), st.integers(0, 100))
def test_a_range_never_leaves_the_file(header: str, size: int) -> None:
    try:
        span = parse_range(header, size)
    except ProblemError:
        return
    if span is not None:
        assert 0 <= span[0] < span[1] <= size


@given(st.integers(1, 50), st.integers(1, 20))
def test_pieces_put_together_are_the_file(size: int, step: int) -> None:
    data = bytes(range(size))
    pieces = [
        file_response(data, '"a"', Conditions(range=f"bytes={start}-{start + step - 1}"), {}, "file").body
        for start in range(0, size, step)
    ]
    assert b"".join(bytes(piece) for piece in pieces) == data


def test_entity_tags_are_found_in_lists() -> None:
    assert status(if_none_match='"x", W/"a"') == 304
    assert status(if_none_match="*") == 304
    assert status(if_none_match='"x,a"') == 200
    assert status(if_none_match="a") == 200


def test_a_file_that_has_changed_is_not_continued() -> None:
    assert status(range="bytes=5-", if_range='"a"') == 206
    assert status(range="bytes=5-", if_range='"b"') == 200
    assert status(range="bytes=5-", if_range='W/"a"') == 200
    assert status(range="bytes=5-", if_match='"b", "a"') == 206
    for other in ('"b"', 'W/"a"'):
        with pytest.raises(ProblemError, match="another one now"):
            status(range="bytes=5-", if_match=other)
