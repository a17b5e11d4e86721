"""What holds for all tests."""

import os
import sys
from collections.abc import Iterator

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks of tests are so small that threads would only wait for each other

hypothesis.settings.register_profile("tmrld", deadline=None)  # a slow machine is no error
hypothesis.settings.load_profile("tmrld")

pytest_plugins = ("tests.support.display", "tests.support.openplanet", "tests.support.uinput")


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """A trainer flushes denormals, which hypothesis cannot do without: no test leaves that behind."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
