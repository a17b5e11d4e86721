"""A disk and a clock that can be tampered with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.hardware import Hardware, build_shim


@pytest.fixture(params=[True, False], ids=["tmpfs", "failing writes"])
def hardware(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hardware]:
    """In both ways that there are."""
    hardware = Hardware(tmp_path / "disk", build_shim(tmp_path), may_mount=request.param)
    yield hardware
    hardware.close()
