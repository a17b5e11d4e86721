"""What `tmrld import-tmrl` makes of TMRL's folder."""

from __future__ import annotations

import json
import lzma
import pickle
import tomllib
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tmrl.config_json import changed
from tests.tmrl.hostile import harmful, zipped
from tmrld.cli import main
from tmrld.client import Client
from tmrld.configuration import checked
from tmrld.envs.options import LIDAR_ID
from tmrld.envs.trackmania.tracks import parse
from tmrld.errors import LinkLost, NotFound, Refused
from tmrld.local import shelf_of
from tmrld.rl.weights import unpack
from tmrld.settings import load
from tmrld.storage.shelf import Shelf

GOLDEN = Path(__file__).parent.parent / "tmrl" / "golden"
LINE = np.column_stack([np.zeros(500), np.full(500, 8.0), np.arange(500) * 0.1])
CONFIG = {
    "RUN_NAME": "My LIDAR run",
    "ENV__RTGYM_INTERFACE": "TM20LIDAR",
    "ENV__WINDOW_WIDTH": 958,
    "ENV__WINDOW_HEIGHT": 488,
}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """This machine's shelf."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_DATA", str(tmp_path / "data"))
    return shelf_of(load())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """TMRL's folder, with a line, a policy, and the trainer's copy of it."""
    root = tmp_path / "TmrlData"
    for name in ("config", "reward", "weights"):
        (root / name).mkdir(parents=True)
    configure(root)
    (root / "reward" / "reward.pkl").write_bytes(pickle.dumps(LINE))
    policy = lzma.decompress((GOLDEN / "lidar.tmod.xz").read_bytes())
    for name in ("My LIDAR run", "My LIDAR run_t"):
        (root / "weights" / f"{name}.tmod").write_bytes(policy)
    return root


def configure(root: Path, **changes: Any) -> None:
    (root / "config" / "config.json").write_text(json.dumps(changed(**{**CONFIG, **changes})), "utf-8")


class FakeRelay:
    """What there is at a relay, and the run that was made there."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], tuple[bytes, dict[str, Any]]] = {}
        self.sums: dict[tuple[str, str], str] = {}
        self.run: dict[str, Any] = {}
        self.error: Exception | None = None

    def exchange(self, method: str, path: tuple[str, ...], body: Any, query: Mapping[str, Any]) -> dict[str, Any]:
        if self.error:
            raise self.error
        if method == "PUT":
            self.files[path[0], path[1]] = body, {name: value for name, value in query.items() if value is not None}
        elif method == "POST":
            self.run = body
            return {"name": body["name"], "state": "running", "queued_position": None, "trainer": "local-trainer"}
        elif len(path) == 2:
            if (path[0], path[1]) not in self.sums:
                raise NotFound("there is none")
            return {"sha256": self.sums[path[0], path[1]]}
        return {}


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> FakeRelay:
    relay = FakeRelay()

    def exchange(_: Client, *request: Any) -> tuple[bytes, Message]:
        return json.dumps(relay.exchange(*request)).encode(), Message()

    monkeypatch.setattr(Client, "_exchange", exchange)
    return relay


@pytest.fixture
def nobody(relay: FakeRelay) -> FakeRelay:
    """No relay answers."""
    relay.error = LinkLost("no relay answers")
    return relay


@pytest.mark.usefixtures("nobody")
def test_line_and_policies_go_on_the_shelf(shelf: Shelf, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-tmrl", str(folder)]) == 0
    printed = capsys.readouterr().out

    assert np.array_equal(parse(shelf.read("tracks", "my-lidar-run"), "it", as_it_is=True), LINE)
    manifest, _ = unpack(shelf.read("weights", "my-lidar-run"))
    assert (manifest.spec.id, manifest.network["hidden"]) == (LIDAR_ID, [256, 256])
    assert shelf.get("weights", "my-lidar-run_t").about["environment"] == LIDAR_ID
    assert "algorithm.gamma = 0.995" in printed
    assert "a-password-of-mine" not in printed
    assert "track my-lidar-run: 50 m, 500 points" in printed
    assert "note: the run was not made on a relay: no relay answers" in printed


@pytest.mark.usefixtures("nobody")
def test_without_a_relay_the_run_is_a_settings_file(shelf: Shelf, folder: Path, relay: FakeRelay) -> None:
    assert main(["import-tmrl", str(folder)]) == 0
    settings = load(Path("my-lidar-run.toml"))
    run = settings.run

    assert (run.name, run.environment.track, run.training.start_from) == ("my-lidar-run",) * 3
    assert (run.environment.game, run.environment.compat, run.environment.id) == ("trackmania", "tmrl", LIDAR_ID)
    assert (run.algorithm.tau, run.algorithm.learning_rate_actor) == (0.005, 1e-5)
    assert run.network.hidden == (256, 256)

    relay.error = None
    assert main(["run", "new", "other", "--from", "my-lidar-run.toml", "--set", "algorithm.gamma=0.9", "--start"]) == 0
    assert relay.run["config"]["algorithm"]["gamma"] == 0.9
    del relay.run["config"]["algorithm"]["gamma"]
    written = tomllib.loads(Path("my-lidar-run.toml").read_text("utf-8"))["run"]
    assert relay.run["config"]["environment"] == written["environment"]
    assert checked(relay.run["config"])["training"] == run.training.model_dump(mode="json")


def test_the_run_is_made_on_a_relay_that_answers(
    shelf: Shelf, folder: Path, relay: FakeRelay, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-tmrl", str(folder), "--name", "mine", "--start"]) == 0

    assert relay.files["tracks", "mine"] == (shelf.read("tracks", "mine"), {"source": "imported"})
    assert relay.files["weights", "my-lidar-run"] == (shelf.read("weights", "my-lidar-run"), {})
    assert set(relay.files) == {("tracks", "mine"), ("weights", "my-lidar-run")}
    assert (relay.run["name"], relay.run["start"]) == ("mine", "now")
    assert checked(relay.run["config"])["environment"]["track"] == "mine"
    assert "mine is running" in capsys.readouterr().out
    assert not Path("mine.toml").exists()


def test_what_the_relay_has_is_not_sent_again(shelf: Shelf, folder: Path, relay: FakeRelay) -> None:
    assert main(["import-tmrl", str(folder)]) == 0
    for kind in ("tracks", "weights"):
        relay.sums[kind, "my-lidar-run"] = shelf.get(kind, "my-lidar-run").sha256
    relay.files.clear()

    assert main(["import-tmrl", str(folder)]) == 0
    assert relay.files == {}
    assert relay.run["config"]["training"]["start_from"] == "my-lidar-run"


def test_a_relay_that_refuses_is_told_and_the_file_is_written(
    shelf: Shelf, folder: Path, relay: FakeRelay, capsys: pytest.CaptureFixture[str]
) -> None:
    relay.error = Refused("the token is missing")

    assert main(["import-tmrl", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["track"]) == ("my-lidar-run.toml", "my-lidar-run")
    assert found["problems"] == ["the run was not made on a relay: the token is missing"]
    assert found["weights"] == {"My LIDAR run": "my-lidar-run", "My LIDAR run_t": "my-lidar-run_t"}
    assert {"key": "ALG.GAMMA", "value": 0.995, "field": "algorithm.gamma", "ours": 0.995, "note": ""} in found["keys"]


@pytest.mark.usefixtures("nobody")
def test_the_trainers_copy_is_taken_where_there_is_no_other(shelf: Shelf, folder: Path) -> None:
    (folder / "weights" / "My LIDAR run.tmod").unlink()

    assert main(["import-tmrl", str(folder)]) == 0
    assert load(Path("my-lidar-run.toml")).run.training.start_from == "my-lidar-run_t"


@pytest.mark.usefixtures("nobody")
def test_images_come_over_too(shelf: Shelf, folder: Path) -> None:
    configure(folder, RUN_NAME="seen", ENV__RTGYM_INTERFACE="TM20FULL", ENV__WINDOW_WIDTH=256, ENV__WINDOW_HEIGHT=128)
    (folder / "weights" / "seen.tmod").write_bytes(lzma.decompress((GOLDEN / "gray.tmod.xz").read_bytes()))

    assert main(["import-tmrl", str(folder)]) == 0
    run = load(Path("seen.toml")).run
    assert (run.training.start_from, run.network.hidden, run.network.cnn) == ("seen", (256, 512), "tmrl")


@pytest.mark.usefixtures("nobody")
def test_what_is_missing_or_of_another_kind_is_told_and_the_rest_comes_over(
    shelf: Shelf, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "reward" / "reward.pkl").unlink()
    (folder / "weights" / "evil.tmod").write_bytes(zipped(harmful(tmp_path / "hit")["os.system, protocol 2"]))
    (folder / "weights" / "images.tmod").write_bytes(lzma.decompress((GOLDEN / "gray.tmod.xz").read_bytes()))

    assert main(["import-tmrl", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    missing, evil, images = found["problems"]
    assert "record the track with `tmrld track record my-lidar-run`" in missing
    assert "evil.tmod asks for" in evil
    assert "images.tmod" in images
    assert found["track"] is None
    assert list(found["weights"]) == ["My LIDAR run", "My LIDAR run_t"]
    assert found["config"]["environment"]["track"] == "my-lidar-run"
    assert not (tmp_path / "hit").exists()


@pytest.mark.usefixtures("nobody")
def test_a_policy_that_is_missing_leaves_a_run_that_starts_at_random(
    shelf: Shelf, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (folder / "weights").iterdir():
        file.unlink()

    assert main(["import-tmrl", str(folder)]) == 0
    assert "the run starts at random" in capsys.readouterr().out
    assert load(Path("my-lidar-run.toml")).run.training.start_from == ""


@pytest.mark.usefixtures("nobody")
def test_other_things_of_the_same_names_are_replaced_only_on_demand(
    shelf: Shelf, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-tmrl", str(folder)]) == 0
    capsys.readouterr()
    assert main(["import-tmrl", str(folder)]) == 1
    assert "my-lidar-run.toml exists already" in capsys.readouterr().err
    (folder / "reward" / "reward.pkl").write_bytes(pickle.dumps(LINE[:300]))
    assert main(["import-tmrl", str(folder)]) == 1
    assert "choose another name" in capsys.readouterr().err
    assert main(["import-tmrl", str(folder), "--force"]) == 0
    assert shelf.get("tracks", "my-lidar-run").about["points"] == 300


@pytest.mark.usefixtures("shelf", "relay")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere is no folder of TMRL's"),
        (["TmrlData", "--name", "Mine"], "'Mine' cannot be the name of a run"),
    ],
)
def test_bad_input_is_said(arguments: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-tmrl", *arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("shelf", "relay")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [("[run", "is not valid TOML"), ("[relay]\nport = 1", "says nothing of a run"), (None, "cannot be read")],
)
def test_a_file_that_says_nothing_of_a_run_is_refused(
    text: str | None, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path("run.toml").write_text(text, "utf-8")

    assert main(["run", "new", "mine", "--from", "run.toml"]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("nobody", "shelf")
def test_a_line_that_is_damaged_keeps_nothing_else_away(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "reward" / "reward.pkl").write_bytes(b"no pickle at all")
    assert main(["import-tmrl", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (problem,) = found["problems"]
    assert "reward.pkl" in problem
    assert "record the track with `tmrld track record my-lidar-run`" in problem
    assert found["track"] is None
    assert list(found["weights"]) == ["My LIDAR run", "My LIDAR run_t"]
