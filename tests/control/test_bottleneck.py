"""Who holds the others up, judged from what the nodes measure."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tmrld.control.bottleneck import judge

BUSY = {"updating_share": 0.9, "sampling_share": 0.05, "waiting_share": 0.01}
WAITING = {"updating_share": 0.1, "sampling_share": 0.02, "waiting_share": 0.8}
DRAWING = {"updating_share": 0.5, "sampling_share": 0.4, "waiting_share": 0.0}


@pytest.mark.parametrize(
    ("state", "trainer", "workers", "part", "sentence"),
    [
        ("paused", BUSY, [{}], "none", "The run is paused"),
        ("running", None, [{}], "updating", "No trainer works for this run"),
        ("running", BUSY, [], "collecting", "No worker drives for this run"),
        ("running", WAITING, [{"backlog_chunks": 3}], "collecting", "The trainer waits for samples for 80% of its time"),
        ("running", WAITING, [{"backlog_chunks": 12}, {"backlog_chunks": 13}], "sending", "25 chunks wait in the workers"),
        ("running", DRAWING, [{}], "sampling", "spends 40% of its time on drawing batches"),
        ("running", BUSY, [{"idle_share": 0.3}, {"idle_share": 0.6}], "updating", "the workers wait for it for up to 60%"),
        ("running", {}, [{}], "none", "nothing was measured yet"),
        ("running", {"waiting_share": math.nan, "updating_share": "much"}, [{}], "none", "nothing was measured yet"),
    ],
)
def test_the_part_that_holds_the_others_up_is_named(
    state: str, trainer: dict[str, Any] | None, workers: list[dict[str, Any]], part: str, sentence: str
) -> None:
    verdict = judge(state, trainer, workers)
    assert verdict.part == part
    assert sentence in verdict.sentence


def test_where_something_is_wrong_nobody_is_said_to_be_well() -> None:
    assert "Something is wrong with the run" in judge("running", {}, [{}], ailing=True).sentence
    assert judge("running", WAITING, [{}], ailing=True).part == "collecting"
