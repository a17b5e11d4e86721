"""Spaces as data."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.payloads import EnvSpec, PartSpec

LIDAR = EnvSpec(
    "tmrld/TM20Lidar-v0",
    (PartSpec("speed", (1,), scale=1000.0), PartSpec("lidar", (19,), history=4, low=0.0)),
    action_size=3,
    action_buffer=2,
    default_action=(0.0, 0.0, 0.0),
    reward_terms=("progress",),
)


def test_an_observation_of_tmrls_lidar_has_83_numbers() -> None:
    assert LIDAR.observation_size == 83
    assert [part.observed_shape for part in LIDAR.parts] == [(1,), (4, 19)]


@pytest.mark.parametrize(("histories", "buffer", "depth"), [((0, 0), 0, 1), ((0, 4), 2, 4), ((1, 2), 5, 5), ((), 0, 1)])
def test_an_observation_looks_back_on_the_longest_of_histories_and_action_buffer(
    histories: tuple[int, ...], buffer: int, depth: int
) -> None:
    parts = tuple(PartSpec(f"p{index}", (1,), history=history) for index, history in enumerate(histories))
    assert EnvSpec("x", parts, 1, buffer).depth == depth


numbers = st.floats(allow_nan=False)
parts = st.builds(
    PartSpec,
    name=st.text(),
    shape=st.lists(st.integers(1, 5), max_size=3).map(tuple),
    dtype=st.sampled_from(["float32", "uint8"]),
    low=numbers,
    high=numbers,
    history=st.integers(0, 8),
    scale=numbers.filter(math.isfinite),
)
specs = st.builds(
    EnvSpec,
    id=st.text(),
    parts=st.lists(parts, max_size=3).map(tuple),
    action_size=st.integers(1, 5),
    action_buffer=st.integers(0, 5),
    default_action=st.lists(numbers.filter(math.isfinite), max_size=3).map(tuple),
    step_s=numbers.filter(math.isfinite),
    reward_terms=st.lists(st.text(), max_size=3).map(tuple),
)


@given(specs)
def test_spaces_survive_json(spec: EnvSpec) -> None:
    assert EnvSpec.from_plain(json.loads(json.dumps(spec.to_plain(), allow_nan=False))) == spec


@pytest.mark.parametrize(
    "changes", [{"parts": None}, {"parts": [{}]}, {"action_size": "three"}, {"default_action": 5}, {"step_s": None}]
)
def test_what_describes_no_spaces_is_not_read(changes: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        EnvSpec.from_plain({**LIDAR.to_plain(), **changes})


@pytest.mark.parametrize("key", LIDAR.to_plain())
def test_nothing_may_be_missing(key: str) -> None:
    plain = LIDAR.to_plain()
    del plain[key]
    with pytest.raises(KeyError, match=key):
        EnvSpec.from_plain(plain)
