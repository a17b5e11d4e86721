"""What holds for all tests."""

import os

import hypothesis

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks of tests are so small that threads would only wait for each other

hypothesis.settings.register_profile("tmrld", deadline=None)  # a slow machine is no error
hypothesis.settings.load_profile("tmrld")

pytest_plugins = ("tests.support.display", "tests.support.openplanet", "tests.support.uinput")
