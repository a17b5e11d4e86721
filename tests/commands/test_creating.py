"""`tmrld new league-entry`: the project that it writes works, passes its own tests, and is scored by the league's rules."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.test_evaluating import learned
from tmrld.cli import main
from tmrld.commands.creating import checked_team, package_name
from tmrld.errors import BadInput
from tmrld.payloads import EnvSpec, PartSpec

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entry, as it is written."""
    folder = tmp_path_factory.mktemp("entries") / "fast"
    assert main(["new", "league-entry", str(folder), "--name", "Fast & Slow"]) == 0
    return folder


def ran(folder: Path, *words: str) -> str:
    """What a Python program prints in this folder, where tmrld is installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TMRLD_")}
    environment = kept | {"PYTHONPATH": str(ROOT), "TMRLD_DATA": str(folder.parent / "data"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_entry_is_called_as_its_team(entry: Path) -> None:
    files = {
        path.relative_to(entry).as_posix() for path in entry.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert files == {
        *(".gitignore", "README.md", "evaluate.py", "pyproject.toml", "tests/test_entry.py", "tmrld.toml"),
        *(f"fast_slow/{name}" for name in ("__init__.py", "imitate.py", "policy.py", "weights.json", "world.py")),
    }
    for path in entry.rglob("*.*"):
        assert not re.search("@[A-Z]+@", path.read_text("utf-8")), path
    assert (entry / "README.md").read_text("utf-8").startswith("# Fast & Slow\n")
    assert 'name = "fast-slow"' in (entry / "pyproject.toml").read_text("utf-8")


def test_its_own_tests_pass(entry: Path) -> None:
    said = ran(entry, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert "6 passed" in said


def test_it_is_scored_by_the_leagues_rules(entry: Path) -> None:
    answer = json.loads(ran(entry, "evaluate.py", "--track", "short", "--json").splitlines()[-1])
    (track,) = answer["tracks"]
    assert (answer["protocol"], track["track"], track["game"]) == ("tmrl-league", "short", "sim")
    assert track["weights"]["name"] == "Fast & Slow"
    assert (len(track["league"]["times_s"]), track["league"]["eliminated"]) == (10, False)
    assert track["remarks"][0] == "not TrackMania: the league's rules, driven in a stand-in"
    assert not any("view" in remark for remark in track["remarks"])


def test_other_tracks_and_flags_are_handed_on(entry: Path) -> None:
    plain = ("evaluate.py", "--protocol", "plain", "--episodes", "1")
    assert ran(entry, *plain).splitlines()[-1].split()[:4] == ["default", "1", "of", "1"]
    said = ran(entry, *plain, "--track", "short", "--track", "white")
    assert [line.split()[:4] for line in said.splitlines()[-2:]] == [[name, "1", "of", "1"] for name in ("short", "white")]


def test_weights_that_tmrld_has_learned_take_the_numbers_place(entry: Path) -> None:
    spec = EnvSpec("fast_slow.world:make", (PartSpec("observation", (39,)),), action_size=3, default_action=(0.0,) * 3)
    learned_here = entry / "fast_slow" / "weights.safetensors"
    learned_here.write_bytes(learned(spec, spec.observation_size))
    try:
        said = ran(entry, "evaluate.py", "--protocol", "plain", "--episodes", "1", "--track", "short")
        assert said.splitlines()[-1].split()[:4] == ["short", "0", "of", "1"]
    finally:
        learned_here.unlink()


def test_its_world_is_one_that_can_be_learned_in(entry: Path) -> None:
    said = ran(entry, "-m", "tmrld", "env", "check", "fast_slow.world:make", "--steps", "60")
    assert "all is well" in said


def test_a_tidy_project_is_written(entry: Path) -> None:
    rules = ["--isolated", "--select", "E,F,W,I,UP,B,C4,SIM,RUF", "--line-length", "128", "--no-cache"]
    ran(entry, "-m", "ruff", "check", *rules, ".")
    ran(entry, "-m", "ruff", "format", "--isolated", "--line-length", "128", "--no-cache", "--check", ".")


# What is refused


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep this")
    assert main(["new", "league-entry", str(tmp_path), "--name", "fast"]) == 1
    assert f"{tmp_path} is not empty: nothing was written" in capsys.readouterr().err
    assert main(["new", "league-entry", str(tmp_path / "mine.txt")]) == 1
    assert "is a file: name a folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled_under_its_own_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "swift"
    folder.mkdir()
    assert main(["new", "league-entry", str(folder)]) == 0
    assert "has an entry of swift, whose policy drives already" in capsys.readouterr().out
    assert (folder / "swift" / "policy.py").is_file()


@pytest.mark.parametrize("name", ["", " fast", "fast ", 'say "hi"', "back\\slash", "two\nlines", "x" * 61, "@TEAM@", "_"])
def test_names_that_would_break_something_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name of an entry"):
        checked_team(name)


@pytest.mark.parametrize(
    ("team", "package"),
    [
        ("Fast & Slow", "fast_slow"),
        ("9 lives", "entry_9_lives"),
        ("Élan", "lan"),
        ("車", "entry"),
        ("numpy", "numpy_entry"),
        ("class", "class_entry"),
        ("json", "json_entry"),
    ],
)
def test_packages_are_called_as_python_can_import_them(team: str, package: str) -> None:
    assert package_name(checked_team(team)) == package
