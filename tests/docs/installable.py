"""``python -m tests.docs.installable install …``: whether a `pip install` line of a document names what there is to install.

It is not run: the environment of the tests is what it would make.
"""

from __future__ import annotations

import re
import sys
import tomllib

from tests.docs.blocks import ROOT


def main(arguments: list[str]) -> int:
    """Check one line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    ours = [word for word in arguments if re.match(r"(tmrld|\.)(\[|$)", word)]
    named = {extra for word in ours for extra in re.findall(r"[a-z]+", word.partition("[")[2])}
    if arguments[:1] != ["install"] or not ours or not named <= extras:
        print(f"pip {' '.join(arguments)}: there are the extras {', '.join(sorted(extras))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
