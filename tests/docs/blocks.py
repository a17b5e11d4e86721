"""The code blocks of a document, and the comments before them that say how they are to be tried.

A block is run as it stands, in order, unless a comment right before it says otherwise::

    <!-- needs: the game -->      not run here; every `tmrld` line in it must still be one that the command line understands
    <!-- on: game-pc -->          on another machine: a shell, a folder and a data folder of its own
    <!-- file: tmrld.toml -->     what the block shows is written to this file, next to which the later blocks run
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```\s*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (needs|on|file): (.+?) -->")
PROSE = ("", "text", "console", "mermaid")
"""Languages of blocks that show something and are no input to anything."""


@dataclass(frozen=True)
class Block:
    """One fenced block: ``needs`` is what it cannot be run without, ``on`` the machine that runs it, ``file`` what it becomes."""

    page: Path
    line: int
    language: str
    code: str
    needs: str = ""
    on: str = ""
    file: str = ""

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its `tmrld` lines without what a shell makes of them; lines that end with a backslash are one."""
        joined = re.sub(r"[\\`]\n\s*", " ", self.code)
        lines = [re.sub(r"^(\$ |PS> )", "", line.strip()) for line in joined.splitlines()]
        return [line for line in lines if re.match(r"(\S*[/\\])?tmrld(\.exe)?( |$)", line)]


def blocks_of(page: Path) -> list[Block]:
    """Every block of a page that is code, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        if fence["language"] in PROSE:
            continue
        indent = fence["indent"]
        code = "".join(line.removeprefix(indent) for line in fence["code"].splitlines(keepends=True))
        before = text[: fence.start()].rstrip().splitlines()
        told: dict[str, str] = {}
        while before and (comment := _COMMENT.fullmatch(before[-1].strip())):
            told[comment[1]] = comment[2]
            before.pop()
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page, line, fence["language"], code, **told))
    return found
