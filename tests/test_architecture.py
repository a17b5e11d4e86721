"""Which way imports point, and what importing a part of tmrld loads.

`MAY_IMPORT` is the table of who may know whom.  Everybody may import `errors`; a room's own modules are its own business.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.trackmania.spec import flavour_spec
from tmrld.payloads import WeightsManifest
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.weights import pack

ROOT = Path(__file__).parent.parent / "tmrld"
OPTIONS = tuple(f"{room}.options" for room in ("control", "engines", "envs", "relay", "rl", "trainer", "worker"))

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "": ("library",),
    "library": ("settings", "envs", "local"),
    "local": ("settings", "storage", "envs", "fetching", "protocol"),
    "errors": (),
    "payloads": (),
    "bounded": (),
    "events": ("bounded",),
    "protocol": ("payloads",),
    "applies": (),
    "validation": (),
    "configuration": ("applies", "validation", *OPTIONS),
    "presets": (),
    "rl": ("payloads", "applies"),
    "npy": (),
    "envs": ("payloads", "applies", "npy"),
    "security": (),
    "storage": ("payloads", "npy"),
    "peers": ("protocol", "security"),
    "engines": ("peers.channel", "protocol", "events"),
    "shelving": ("protocol", "rl", "envs"),
    "tmrl": ("payloads", "configuration", "envs", "rl"),
    "fetching": ("protocol", "storage"),
    "stock": ("storage", "configuration", "events"),
    "results": ("storage",),
    "scores": (),
    "scoreboard": ("scores", "storage", "events"),
    "steering": ("storage", "configuration", "validation", "presets"),
    "node": ("", "events", "storage", "results", "scoreboard", "steering", "stock"),
    "relay": ("bounded", "peers", "protocol", "payloads", "storage", "security", "node", "stock", "events", "configuration"),
    "worker": (
        "envs",
        "rl",
        "peers",
        "protocol",
        "payloads",
        "storage",
        "node",
        "events",
        "engines",
        "applies",
        "configuration",
        "fetching",
        "scores",
    ),
    "trainer": (
        "",
        "rl",
        "peers",
        "protocol",
        "payloads",
        "storage",
        "node",
        "events",
        "engines",
        "applies",
        "configuration",
        "fetching",
    ),
    "access": ("security",),
    "machine": (),
    "control": (
        *("", "node", "access", "results", "scoreboard", "events", "security", "storage", "configuration", "validation"),
        *OPTIONS,
    ),
    "settings": ("configuration", "validation", *OPTIONS),
    "client": ("", "printable"),
    "printable": (),
    "doctor": (
        "",
        "settings",
        "machine",
        "peers",
        "security",
        "storage",
        "envs",
        "local",
        "worker.measuring",
        "trainer.device",
    ),
    # Commands that drive and draw in this process load worker and environments when they are called, not before.
    "commands": (
        *("", "client", "settings", "machine", "peers", "security", "storage", "shelving", "local", "scores", "tmrl"),
        "printable",
        *("envs", "worker", "payloads", "doctor"),
        "protocol.demonstrations",
    ),
    "logs": ("storage", "printable"),
    "progress": ("events",),
    "terminal": ("progress", "printable"),
    "daemon": (
        *("", "settings", "configuration", "logs", "node", "events", "storage", "security", "peers", "protocol", "engines"),
        *("relay", "worker", "trainer", "control", "access", "machine", "shelving", "doctor"),
    ),
    "cli": (
        *(
            "",
            "printable",
            "settings",
            "commands",
            "logs",
            "daemon",
            "progress",
            "terminal",
            "node",
            "events",
            "storage",
            "security",
        ),
    ),
    "__main__": ("cli",),
}
"""Rooms (folders and top-level modules) of ours that each room may import; "" is `tmrld` itself, for its version.

``room.module`` allows that module alone.  Where a role hands Weights, Episodes or Chunks on, `payloads` is allowed as well.
"""

MUST_NEVER_SEE: dict[str, tuple[str, ...]] = {
    "errors": ("torch", "numpy", "asyncio"),
    "payloads": ("torch", "asyncio"),
    "events": ("torch", "numpy"),
    "protocol": ("asyncio", "websockets", "torch"),
    "rl": ("asyncio", "gymnasium", "rtgym"),
    "envs": ("torch", "asyncio", "websockets"),
    "security": ("torch", "websockets", "fastapi", "starlette", "uvicorn"),
    "storage": ("torch", "websockets", "fastapi", "starlette", "uvicorn"),
    "peers": ("torch",),
    "relay": ("torch", "gymnasium", "rtgym"),
    "node": ("torch", "gymnasium", "rtgym", "fastapi", "starlette"),
    "trainer": ("gymnasium", "rtgym"),
    "control": ("torch", "gymnasium", "rtgym", "websockets"),
    "settings": ("torch", "gymnasium", "rtgym"),
    "cli": ("torch", "gymnasium", "rtgym"),
    "commands": ("torch", "gymnasium", "rtgym"),
    "doctor": ("torch", "gymnasium", "rtgym"),
    "tmrl": ("torch", "gymnasium", "rtgym"),
}
"""Other people's packages that a room must not import, not even inside a function."""

ANYWHERE = ("pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal")
"""What nobody imports: loading data with these runs code."""

READS_PICKLES = ROOT / "tmrl" / "unpickler.py"
"""But this, which gives a pickle nothing of what it asks for."""


@dataclass(frozen=True)
class Import:
    """``file:line`` imports ``module``, which is dotted and absolute; ``for_types`` says that it does so for annotations only."""

    file: Path
    line: int
    module: str
    for_types: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT.parent).as_posix()}:{self.line} imports {self.module}"

    @property
    def room(self) -> str:
        """The room of the file that imports."""
        return self.file.relative_to(ROOT).parts[0].removesuffix(".py").replace("__init__", "")


def imports_of(file: Path, source: str) -> Iterator[Import]:
    """Every import in a file, those inside functions too; ``from package import module`` counts as that module."""

    def visit(node: ast.AST, for_types: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name, for_types)
        elif isinstance(node, ast.ImportFrom):
            package = list(file.relative_to(ROOT.parent).with_suffix("").parts)[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            for name in node.names:
                yield Import(file, node.lineno, _module(base, name.name), for_types)
        for child in ast.iter_child_nodes(node):
            inside = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and child in node.body
            yield from visit(child, for_types or inside)

    yield from visit(ast.parse(source), False)


def _module(base: str, name: str) -> str:
    """``base.name`` where that is a module of ours, otherwise ``base``."""
    below = ROOT.parent.joinpath(*base.split("."), name)
    return f"{base}.{name}" if below.is_dir() or below.with_suffix(".py").is_file() else base


def all_imports() -> list[Import]:
    """Of the whole program."""
    return [found for file in sorted(ROOT.rglob("*.py")) for found in imports_of(file, file.read_text("utf-8"))]


def offence(found: Import) -> str:
    """Why this import may not be; "" if it may."""
    room, top = found.room, found.module.split(".")[0]
    if top in ANYWHERE and found.file != READS_PICKLES:
        return "loading data with it runs code"
    if top != "tmrld":
        return f"{room} must never see {top}" if top in MUST_NEVER_SEE.get(room, ()) and not found.for_types else ""
    path = found.module.split(".")[1:]
    target = path[0] if path else ""
    if target in (room, "errors") or target in MAY_IMPORT[room] or ".".join(path) in MAY_IMPORT[room]:
        return ""
    return f"{room} may import {', '.join(MAY_IMPORT[room]) or 'nothing of ours'}"


def offenders(found: list[Import]) -> list[str]:
    """A line for each import that may not be."""
    return [f"{each}: {reason}" for each in found if (reason := offence(each))]


def test_imports_point_the_way_they_should() -> None:
    found = offenders(all_imports())
    assert not found, "\n".join(found)


def test_every_room_is_in_the_table() -> None:
    rooms = {
        path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert rooms - {"__init__"} == set(MAY_IMPORT) - {""}


def test_nobody_imports_the_daemon_and_the_command_line_but_those_who_start_them() -> None:
    users = {(each.room, each.module) for each in all_imports() if each.module in ("tmrld.daemon", "tmrld.cli")}
    assert users <= {("cli", "tmrld.daemon"), ("__main__", "tmrld.cli"), ("cli", "tmrld.cli")}


def test_environments_and_learning_meet_in_the_worker_alone() -> None:
    """In the modules that drive; nowhere else are both imported."""
    files = {kind: {each.file for each in all_imports() if each.module.startswith(f"tmrld.{kind}")} for kind in ("envs", "rl")}
    both = {file.relative_to(ROOT).as_posix() for file in files["envs"] & files["rl"]}
    drivers = {"worker/rollout.py", "worker/driving.py", "worker/engine.py", "worker/evaluating.py"}
    assert both <= {*drivers, "configuration.py", "shelving.py"}


@pytest.mark.parametrize(
    ("file", "source", "reason"),
    [
        ("rl/sac.py", "from tmrld.envs import options", "tmrld/rl/sac.py:1 imports tmrld.envs.options: rl may import payloads"),
        ("rl/sac.py", "def f():\n    from ..storage import runs", "tmrld/rl/sac.py:2 imports tmrld.storage.runs: rl may"),
        ("protocol/codec.py", "import asyncio.queues", "protocol must never see asyncio"),
        ("engines/pipe.py", "from tmrld.peers import link", "engines may import peers.channel"),
        ("storage/files.py", "import pickle", "loading data with it runs code"),
        ("tmrl/tmod.py", "import pickle", "loading data with it runs code"),
        ("relay/hub.py", "import tmrld.daemon", "relay may import"),
    ],
)
def test_an_offender_is_named_with_file_and_line(file: str, source: str, reason: str) -> None:
    (line,) = offenders(list(imports_of(ROOT / file, source)))
    assert reason in line


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("engines/pipe.py", "from tmrld.peers import channel"),
        ("engines/pipe.py", "from tmrld.peers.channel import Closed"),
        ("settings.py", "from tmrld.rl.options import AlgorithmOptions"),
        ("rl/sac.py", "import torch\nfrom tmrld.errors import BadInput\nfrom tmrld.rl import replay"),
        ("peers/channel.py", "if TYPE_CHECKING:\n    import torch"),
        ("tmrl/unpickler.py", "import pickle"),
    ],
)
def test_what_is_allowed_is_no_offence(file: str, source: str) -> None:
    assert offenders(list(imports_of(ROOT / file, source))) == []


# Package files


def test_package_files_hold_a_lazy_getattr_at_most() -> None:
    for file in ROOT.rglob("__init__.py"):
        if file in (ROOT / "__init__.py", ROOT / "envs" / "__init__.py"):
            continue  # the version; the registration of Gymnasium ids as strings
        for node in ast.parse(file.read_text("utf-8")).body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            lazy = isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__")
            for_it = isinstance(node, ast.ImportFrom | ast.Import | ast.Assign | ast.AnnAssign | ast.If) and not any(
                each.module.startswith("tmrld") and not each.for_types for each in imports_of(file, ast.unparse(node))
            )
            assert docstring or lazy or for_it, f"{file}:{node.lineno}"


def test_importing_tmrld_defines_the_version_and_nothing_else() -> None:
    """What else it offers is imported when it is asked for."""
    body = ast.parse((ROOT / "__init__.py").read_text("utf-8")).body
    kinds = [type(node) for node in body]
    assert kinds == [ast.Expr, ast.ImportFrom, ast.If, ast.Assign, ast.FunctionDef]


# What is loaded


def loaded_by(code: str) -> set[str]:
    """The top-level modules in a fresh interpreter that has run this."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_tmrld_loads_nothing_heavy() -> None:
    new = loaded_by("import tmrld") - loaded_by("import typing")
    assert new == {"tmrld"}


def test_a_relay_loads_neither_torch_nor_rtgym() -> None:
    code = "import tmrld.relay.relay, tmrld.control.server, tmrld.node, tmrld.daemon, tmrld.settings, tmrld.cli"
    assert not loaded_by(code) & {"torch", "rtgym"}


def test_the_options_load_nothing_heavy() -> None:
    code = "import " + ", ".join(f"tmrld.{module}" for module in OPTIONS)
    assert not loaded_by(code) & {"torch", "rtgym", "websockets", "fastapi"}


def test_a_worker_engine_with_a_policy_loads_no_torch(tmp_path: Path) -> None:
    network, spec = NetworkOptions(hidden=(8,)), flavour_spec(EnvironmentOptions())
    tensors = make_algorithm(AlgorithmOptions(), network, spec, 0).policy_tensors()
    manifest = WeightsManifest("run", 1, 1, 0, spec, network.model_dump(mode="json"), "sac")
    (tmp_path / "weights").write_bytes(pack(manifest, tensors).data)
    code = f"""
import tmrld.worker.engine
from tmrld.envs.options import EnvironmentOptions
from tmrld.worker.driving import drives
for drive in drives(EnvironmentOptions(max_steps=3), {str(tmp_path / "weights")!r}, 1, 0, perturbed=True):
    assert drive.summary.steps == 3
"""
    assert "torch" not in loaded_by(code)
