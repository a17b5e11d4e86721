"""What `tmrld up` knows, shows, and when it ends."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tmrld.errors import SettingsError
from tmrld.events import Event
from tmrld.progress import Progress, Until
from tmrld.terminal import LONGEST_PROBLEM, Display


def progress_after(*events: Event) -> Progress:
    progress = Progress()
    for event in events:
        progress.take(event)
    return progress


def metrics(update: int, **values: float) -> Event:
    return Event("metrics", "demo", {"update": update, "transitions": 10 * update, "values": values})


def episode(**changes: Any) -> Event:
    values = {
        "purpose": "train",
        "lap_time_s": None,
        "weights_version": 1,
        "episode_return": 2.5,
        "progress": 0.25,
        "finished": False,
        "actor": "policy",
    }
    return Event("episode", "demo", {**values, **changes})


def lap(seconds: float, **changes: Any) -> Event:
    return episode(lap_time_s=seconds, finished=True, progress=1.0, **changes)


def test_at_first_nothing_is_known() -> None:
    progress = progress_after()
    assert progress.summary()["laps"] == 0
    assert "evaluation not yet" in progress.line()
    assert "episodes 0 |" in progress.line()


def test_metrics_tell_updates_and_pace() -> None:
    progress = progress_after(metrics(100, updates_per_s=50.0), metrics(200))
    assert (progress.run, progress.updates, progress.transitions, progress.updates_per_s) == ("demo", 200, 2000, 50.0)
    assert "updates 200 (50/s)" in progress.line()


def test_training_episodes_are_counted_and_the_last_one_shown() -> None:
    progress = progress_after(episode(), episode(progress=0.5, episode_return=7.25))
    assert progress.episodes == 2
    assert "episodes 2, the last one 50% of the track, reward 7.2" in progress.line()


@pytest.mark.parametrize("unknown", [math.nan, None])
def test_where_there_is_no_track_none_is_shown(unknown: float | None) -> None:
    assert "episodes 1, the last one reward 2.5 |" in progress_after(episode(progress=unknown)).line()


def test_laps_of_the_policy_count_and_the_best_is_kept() -> None:
    progress = progress_after(lap(20.0), lap(15.0), lap(17.0))
    assert (progress.laps, progress.best_lap_s) == (3, 15.0)
    assert progress.first_lap_s is not None
    assert "laps 3, best 15.00 s" in progress.line()


def test_laps_of_others_do_not_count() -> None:
    progress = progress_after(lap(20.0, actor="scripted"), lap(15.0, actor="mixed"))
    assert (progress.laps, progress.first_lap_s) == (0, None)


def test_evaluation_is_told_per_version_and_its_laps_count() -> None:
    old = [lap(30.0, purpose="evaluation", weights_version=1)]
    new = [
        lap(21.0, purpose="evaluation", weights_version=2),
        lap(20.0, purpose="evaluation", weights_version=2),
        episode(purpose="evaluation", weights_version=2, episode_return=4.0),
    ]
    progress = progress_after(*old, *new)
    assert (progress.episodes, progress.laps) == (0, 3)
    assert "evaluation version 2: 2 of 3 finished, median 20.50 s" in progress.line()
    assert progress.summary()["evaluation"] == {
        "weights_version": 2,
        "episodes": 3,
        "finished": 2,
        "lap_times_s": [21.0, 20.0],
        "returns": [2.5, 2.5, 4.0],
    }


def test_an_evaluation_without_a_lap_shows_its_return() -> None:
    progress = progress_after(episode(purpose="evaluation", episode_return=4.0))
    assert "evaluation version 1: 0 of 1 finished, return 4.0" in progress.line()


def test_weights_workers_and_problems_are_remembered() -> None:
    progress = progress_after(
        Event("weights", "demo", {"version": 7, "update": 70}),
        Event("node", "demo", {"name": "w", "role": "worker", "values": {"speed_factor": 21.4}}),
        Event("node", "demo", {"name": "w", "role": "worker", "state": "gone"}),
        Event("node", "demo", {"name": "t", "role": "trainer", "values": {"speed_factor": 1.0}}),
        Event("problem", "demo", {"detail": "the disk is full"}),
        Event("checkpoint", "demo", {"update": 1}),
    )
    assert (progress.weights_version, progress.speed_factor, progress.problem) == (7, 21.4, "the disk is full")
    assert "driving 21 × real time" in progress.line()


def test_the_summary_is_json() -> None:
    summary = progress_after(metrics(100, updates_per_s=1 / 3), lap(20.0), episode()).summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


# --until


@pytest.mark.parametrize("text", ["first-lap", "updates=100", "minutes=2", "minutes=0.5"])
def test_until_is_read(text: str) -> None:
    until = Until.parse(text)
    assert (until.kind, until.amount) == (text.partition("=")[0], float(text.partition("=")[2] or 0))


@pytest.mark.parametrize(
    "text", ["", "lap", "updates", "updates=", "updates=1.5", "updates=-1", "minutes=x", "first-lap=1", "hours=1"]
)
def test_until_nonsense_is_told_what_there_is(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--until '.*' cannot be used: expected first-lap, updates=N or minutes=N"):
        Until.parse(text)


def test_until_is_reached_when_what_it_names_has_happened() -> None:
    fresh = progress_after()
    assert not Until.parse("first-lap").reached(fresh)
    assert Until.parse("first-lap").reached(progress_after(lap(20.0)))
    assert not Until.parse("updates=100").reached(progress_after(metrics(99)))
    assert Until.parse("updates=100").reached(progress_after(metrics(100)))
    assert not Until.parse("minutes=60").reached(fresh)
    assert Until.parse("minutes=0").reached(fresh)


def test_time_is_shown_as_on_a_clock() -> None:
    progress = progress_after()
    for seconds, shown in ((0, "time 0:00 |"), (65, "time 1:05 |"), (3600 + 62, "time 1:01:02 |")):
        progress.began -= seconds - progress.elapsed_s
        assert progress.line().startswith(shown)


def test_what_was_collected_is_shown_before_the_trainer_has_enough_for_a_report() -> None:
    report = Event("node", "demo", {"role": "worker", "values": {"produced": 384.0, "speed_factor": 0.93}})
    line = progress_after(report).line()
    assert "transitions 384 | updates none before there are enough transitions" in line
    assert "driving 0.9 × real time" in line


def test_while_the_trainer_does_again_what_was_lost_that_is_shown_rather_than_that_there_are_no_updates() -> None:
    detail = "goes on from update 0: 212 of 436 updates repeated"
    resuming = Event(
        "node",
        "demo",
        {"role": "trainer", "state": "resuming", "detail": detail, "values": {"update": 212, "transitions": 900}},
    )
    line = progress_after(resuming).line()
    assert f"transitions 900 | updates none new yet: the trainer {detail} |" in line
    training = Event("node", "demo", {"role": "trainer", "state": "training", "detail": "", "values": {}})
    assert "| updates 212 |" in progress_after(resuming, training).line()
    assert "| updates 500 (20/s) |" in progress_after(resuming, training, metrics(500, updates_per_s=20.0)).line()


# The terminal


def shown(*, live: bool, progress: Progress, updates: int = 1) -> str:
    """What a display writes."""
    output = io.StringIO()
    display = Display(live=live, output=output)
    with display:
        control = "http://127.0.0.1:7400"
        addresses = {"control": control, "peers": "wss://127.0.0.1:7401", "page": f"{control}/#code=once"}
        display.greet(addresses, Path("/data/[bold]/here"), "these settings make no run")
        for _ in range(updates):
            display.update(progress)
        display.update(progress, last=True)
    return output.getvalue()


@pytest.mark.parametrize("live", [True, False])
def test_the_display_says_where_everything_is_and_how_far_it_is(live: bool) -> None:
    text = shown(live=live, progress=progress_after(metrics(1234), lap(20.0)))
    assert "control API at http://127.0.0.1:7400, peers at wss://127.0.0.1:7401" in text
    assert "http://127.0.0.1:7400/#code=once" in text
    assert "everything is kept in /data/[bold]/here" in text
    assert "note: these settings make no run" in text
    assert "1,234" in text
    assert "best 20.00 s" in text


def test_a_problem_is_shown_once_shortened_and_as_it_is_written() -> None:
    problem = "a message is not [kind, header, payload] [/red] " + "x" * 1000
    text = shown(live=False, progress=progress_after(Event("problem", "", {"detail": problem})), updates=5)
    assert text.count("problem: a message is not [kind, header, payload] [/red] xxx") == 1
    assert "(more in the log file)" in text
    assert max(map(len, text.splitlines())) < LONGEST_PROBLEM + 50


def test_a_profile_is_told_of_once_when_it_begins_and_when_it_is_there() -> None:
    said = {"role": "trainer", "state": "training", "detail": ""}
    events = [Event("node", "demo", {**said, "values": {"profile": text}}) for text in ("", "it begins", "it lies there")]
    for told in (2, 3):
        text = shown(live=False, progress=progress_after(*events[:told]), updates=5)
        assert text.count(f"profile: {events[told - 1].data['values']['profile']}\n") == text.count("profile") == 1


def test_what_is_well_again_is_shown_once() -> None:
    events = [
        Event("problem", "demo", {"state": "problem", "detail": "no samples have come"}),
        Event("problem", "demo", {"state": "recovered", "detail": "samples come again"}),
    ]
    text = shown(live=False, progress=progress_after(*events), updates=5)
    assert text.count("problem: no samples have come") == text.count("over: samples come again") == 1
    assert "over" not in shown(live=False, progress=progress_after(*events, events[0]))
