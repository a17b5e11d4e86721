"""What holds for all tests."""

import logging
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
def _logging() -> Iterator[None]:
    """What a test changes of where log lines go is its own, whichever test comes after it."""
    loggers = [logging.getLogger(), logging.getLogger("tmrld")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(autouse=True)
def _torch() -> Iterator[None]:
    """Each test has one thread of torch, as a trainer has, and leaves no flushed denormals behind, which hypothesis cannot bear."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
