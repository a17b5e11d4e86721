"""Profiles of updates: when they are taken, and what they show."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.trainer.runs import a_log, a_loop, assert_same_state, ingest_until
from tmrld.errors import StorageError
from tmrld.trainer.loop import TrainingLoop
from tmrld.trainer.profiling import WARM_UP, Profiling


def running() -> TrainingLoop:
    loop = a_loop(draws_ahead=True, update_to_data=100.0)
    ingest_until(loop, a_log(6), 60)
    return loop


def test_the_updates_after_the_warm_up_are_traced_with_their_phases(tmp_path: Path) -> None:
    loop, profiling, plain = running(), Profiling(tmp_path / "profiles", 4), running()
    told = {}
    for update in range(WARM_UP + 10):
        batch = loop.batch()
        if sentence := profiling.before(update):
            told[update] = sentence
        loop.learn(batch)

    (path,) = (tmp_path / "profiles").glob("*.json")
    assert path.stem == f"update-{WARM_UP + 4}"
    assert list(told) == [WARM_UP, WARM_UP + 4]
    assert told[WARM_UP] == f"the 4 updates from {WARM_UP} on are traced for a profile"
    assert path.stat().st_mode & 0o077 == 0 or os.name == "nt"
    assert f"a profile of 4 updates lies in {path}" in told[WARM_UP + 4]
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event.get("ph") == "X"]
    spans = Counter(event["name"] for event in events)
    phases = ("update", "inputs", "critics", "policy", "temperature", "targets", "drawing")
    assert {name: spans[name] for name in phases} == dict.fromkeys(phases, 4)
    threads = {name: {event["tid"] for event in events if event["name"] == name} for name in ("update", "drawing")}
    assert not threads["update"] & threads["drawing"], "batches are drawn beside"
    table = path.with_suffix(".txt").read_text()
    assert all(name in table for name in ("critics", "policy"))
    for _ in range(WARM_UP + 10):
        plain.update()
    assert_same_state(loop, plain)


def test_without_an_order_nothing_is_traced(tmp_path: Path) -> None:
    loop, profiling = running(), Profiling(tmp_path / "profiles", 0)
    for update in range(WARM_UP + 3):
        assert profiling.before(update) == ""
        loop.update()
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_stops_meanwhile_leaves_no_half_trace_and_the_next_can_be_traced(tmp_path: Path) -> None:
    loop = running()
    for name in ("stopped", "whole"):
        profiling = Profiling(tmp_path / name, 2)
        for update in range(WARM_UP + (1 if name == "stopped" else 3)):
            batch = loop.batch()
            profiling.before(update)
            loop.learn(batch)
        profiling.end()
        profiling.end()
    assert not torch.autograd.profiler._is_profiler_enabled
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_where_it_cannot_be_written_that_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("a file where the folder should be")
    loop, profiling = running(), Profiling(tmp_path / "profiles", 1)
    for update in range(WARM_UP + 1):
        profiling.before(update)
        loop.update()
    with pytest.raises(StorageError, match="profiles"):
        profiling.before(WARM_UP + 1)
    assert profiling.before(WARM_UP + 2) == ""
