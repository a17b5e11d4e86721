"""The port for replays is looked at, and never called: a call saves one."""

from __future__ import annotations

import os
import socket

import pytest

from tests.doctor.looks import by_code, free_port
from tmrld.doctor.replays import gather_replays, judge_replays


def test_a_port_on_which_nobody_listens_matters_where_replays_are_wanted() -> None:
    port = free_port()
    assert set(by_code(judge_replays(gather_replays("127.0.0.1", port, wanted=True)))) == {"replay-port-closed"}
    assert list(judge_replays(gather_replays("127.0.0.1", port, wanted=False))) == []


def test_who_listens_is_named_and_not_called() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (found,) = judge_replays(gather_replays("127.0.0.1", listener.getsockname()[1], wanted=True))
        assert found.state == "ok"
        assert f"({os.getpid()})" in found.text
        listener.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_another_machine_is_not_looked_into() -> None:
    found = by_code(judge_replays(gather_replays("192.0.2.1", 10000, wanted=True)))
    assert found["replay-port-untried"].state == "note"
