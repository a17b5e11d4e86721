"""The README and the manual: every block of code in them works, and the manual builds without a warning."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, blocks_of
from tests.docs.machine import Machine, bash, free_port
from tmrld.cli import _parser
from tmrld.settings import load

HERE = "here"
"""The machine of blocks that name none."""
RUN = ("sh", "python")
"""What is run as it stands."""
NOT_RUN = ("powershell", "bat")
"""What only Windows could run: its `tmrld` lines are read by the command line."""
OTHERS = {"toml", "json", "yaml", "ini"}

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
WITH_RUN = [page for page in PAGES if any(block.language in RUN and not block.needs for block in blocks_of(page))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_manual_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()


def test_a_page_of_the_manual_asks_no_other_host(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    loaded = re.compile(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)="?(https?://[^"> ]+)""")
    for page in (tmp_path / "site").glob("*.html"):
        assert loaded.findall(page.read_text(encoding="utf-8")) == [], page.name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_block_is_of_a_known_language(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in {*RUN, *NOT_RUN, *OTHERS}, f"{block.place} is written in {block.language!r}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=lambda block: block.place)
def test_settings_are_ones_that_tmrld_reads(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "tmrld.toml"
    file.write_text(block.code, encoding="utf-8")
    load(file, environment={})


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=lambda block: block.place)
def test_json_is_json(block: Block) -> None:
    json.loads(block.code)


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.needs or block.language in NOT_RUN],
    ids=lambda block: block.place,
)
def test_what_is_not_run_here_is_understood_by_the_command_line(block: Block) -> None:
    for line in block.commands:
        _understood(line, block)


def _understood(line: str, block: Block) -> None:
    """A line's flags and arguments are ones that its command takes."""
    words = shlex.split(line.replace("\\", "/"), comments=True)[1:]
    for end in ("|", ">", "&&", ";", "&"):
        words = words[: words.index(end)] if end in words else words
    status = 0
    try:
        _parser().parse_args(words)
    except SystemExit as ended:  # --help ends so, too
        status = int(ended.code or 0)
    assert status == 0, f"{block.place}: the command line does not understand `{line}`"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", WITH_RUN, ids=name)
def test_each_block_of_the_page_can_be_run_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    if bash() is None:
        pytest.skip("blocks are run by bash, which is not here")
    control, peers = free_port(), free_port()
    replaced = {"7400": str(control), "7401": str(peers), "relay.example": "127.0.0.1"}
    ports = {"TMRLD_CONTROL__PORT": str(control), "TMRLD_RELAY__PORT": str(peers)}
    with ExitStack() as stack:
        machines: dict[str, Machine] = {}
        for block in _to_run(page):
            where = block.on or HERE
            if where not in machines:
                machine = Machine(tmp_path / where, replaced, ports if where in (HERE, "relay") else {})
                machines[where] = stack.enter_context(machine)
            machines[where].run(block)


def _to_run(page: Path) -> Iterator[Block]:
    """The blocks that a reader types or saves."""
    for block in blocks_of(page):
        if not block.needs and (block.language in RUN or block.file):
            yield block
