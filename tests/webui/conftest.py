"""A browser, and real daemons for it to look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.webui.site import Site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium.  It belongs to one module: while it lives, no asyncio.run works in this thread."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        advice = "there is no chromium to look at the page with: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(advice)
        pytest.skip(advice)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All roles in one daemon, with the simulator: a car learns there while the tests look."""
    with Site(tmp_path_factory.mktemp("site")) as site:
        site.start()
        yield site
