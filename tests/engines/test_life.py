import signal

import pytest

from tmrld.engines.entry import FAILED
from tmrld.engines.life import Life
from tmrld.engines.options import EngineOptions
from tmrld.engines.pipe import ALIVE
from tmrld.protocol.messages import LogLines, Metrics, Status

OPTIONS = EngineOptions(start_timeout_s=300.0, hang_timeout_s=60.0)


def beat(quiet_s: float = 0.0) -> Status:
    return Status("", ALIVE, values={"quiet_s": quiet_s, "dropped": 0})


def test_a_process_that_has_said_nothing_yet_gets_more_time() -> None:
    life = Life("test", 1)
    assert life.patience_s(OPTIONS) == 300.0
    life.hear(beat())
    assert life.patience_s(OPTIONS) == 60.0


def test_an_announced_silence_lasts_until_the_next_beat() -> None:
    life = Life("test", 1)
    life.hear(beat(quiet_s=500.0))
    life.hear(Metrics("", 0, 0, 0, {}))
    assert life.patience_s(OPTIONS) == 500.0
    life.hear(beat())
    assert life.patience_s(OPTIONS) == 60.0


def test_without_a_limit_any_silence_is_borne() -> None:
    assert Life("test", 1).patience_s(EngineOptions(hang_timeout_s=None)) is None


def test_log_lines_are_no_sign_of_life() -> None:
    life = Life("test", 1)
    life.silence_s = 10.0
    life.hear(LogLines("test", []))
    assert (life.heard, life.silence_s, life.received) == (False, 10.0, 1)
    life.hear(beat())
    assert (life.heard, life.silence_s, life.received) == (True, 0.0, 2)


@pytest.mark.parametrize(
    ("facts", "failure", "code", "kind", "text"),
    [
        ({}, "", 0, "finished", "has finished"),
        ({}, "", 3, "crashed", "has crashed: it ended with exit code 3"),
        ({}, "ValueError: no", 1, "crashed", "has crashed: ValueError: no"),
        ({"fault": "said nonsense"}, "", -signal.SIGKILL, "crashed", "said nonsense, and was killed"),
        ({"fault": "was silent", "hung": True}, "", -signal.SIGKILL, "hung", "was silent, and was killed"),
        ({"asked": True}, "", 0, "stopped", "has stopped as asked"),
        ({"asked": True}, "OSError: x", 1, "stopped", "was asked to stop and ended with an error: OSError: x"),
        (
            {"asked": True, "forced": True},
            "",
            -signal.SIGKILL,
            "stopped",
            "was asked to stop, did not in time, and was ended by force",
        ),
    ],
)
def test_an_end_is_told_in_words(facts: dict[str, bool | str], failure: str, code: int, kind: str, text: str) -> None:
    life = Life("test", 42)
    for name, value in facts.items():
        setattr(life, name, value)
    if failure:
        life.hear(Status("", FAILED, failure, {"traceback": "Traceback of it"}))
    event = life.verdict(code)
    assert (event.engine, event.pid, event.exit_code, event.kind) == ("test", 42, code, kind)
    assert event.text == f"the engine test {text}"
    assert event.traceback == ("Traceback of it" if failure else "")
