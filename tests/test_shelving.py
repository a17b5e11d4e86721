"""What goes on the shelf is checked, and its facts are told."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tests.protocol.test_demonstrations import CHUNKS, SPEC
from tmrld.errors import BadInput, TmrldError, WorldError
from tmrld.payloads import WeightsManifest
from tmrld.protocol import demonstrations
from tmrld.rl.weights import pack
from tmrld.shelving import about, accepted, track_file
from tmrld.storage.shelf import KINDS

LINE = [[0.0, 1.0, 0.0], [30.0, 1.0, 40.0]]


def test_a_track_tells_its_length() -> None:
    assert about("tracks", track_file(LINE)) == {"length_m": pytest.approx(50.0), "points": 501}


def test_a_line_in_any_format_becomes_a_track() -> None:
    data, facts = accepted("tracks", b"0, 1, 0\n30, 1, 40\n")
    assert data == track_file(LINE)
    assert facts["points"] == 501


def test_a_line_that_is_not_as_tracks_are_is_no_track_yet() -> None:
    file = io.BytesIO()
    np.save(file, np.array(LINE))
    for data in (file.getvalue(), b"0, 1, 0\n30, 1, 40\n"):
        with pytest.raises(BadInput, match="import it with"):
            about("tracks", data)
    with pytest.raises(WorldError, match="too short"):
        accepted("tracks", b"0 0 0\n0 0 0.1\n")


def test_weights_tell_where_they_come_from() -> None:
    data = pack(WeightsManifest("teacher", 7, 900, 0, SPEC, {}, "sac"), {"w": np.ones(3, np.float32)}).data
    facts = {"environment": SPEC.id, "update": 900, "run": "teacher", "version": 7}
    assert accepted("weights", data) == (data, facts)


def test_demonstrations_tell_what_was_driven() -> None:
    data = demonstrations.pack("mine", "monza", SPEC, CHUNKS)
    facts = {"environment": SPEC.id, "track": "monza", "episodes": 2, "transitions": 12, "finished": 2}
    assert accepted("demonstrations", data) == (data, facts)
    with pytest.raises(BadInput, match="no episode"):
        about("demonstrations", demonstrations.pack("none", "monza", SPEC, []))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"\x80\x04K\x01.", b"hello", bytes(100)])
def test_what_is_no_such_file_is_refused_with_a_sentence(kind: str, data: bytes) -> None:
    with pytest.raises(TmrldError, match=" "):
        accepted(kind, data)


def test_there_are_no_other_kinds() -> None:
    with pytest.raises(BadInput, match="is no kind of file"):
        about("maps", b"")
