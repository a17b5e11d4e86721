"""What scenes at the relay share."""

from __future__ import annotations

import threading

import pytest

from tests.relay.slow_disk import HeldLog
from tmrld.relay import hub


@pytest.fixture
def held_log(monkeypatch: pytest.MonkeyPatch) -> type[HeldLog]:
    HeldLog.reached, HeldLog.released = threading.Event(), threading.Event()
    monkeypatch.setattr(hub, "SampleLog", HeldLog)
    return HeldLog
