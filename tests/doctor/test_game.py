"""The doctor's look at the game as a whole: the simulator, a stand-in for the game, and machines on which nothing is there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.doctor.looks import by_code, free_port, record, telling
from tests.support.standin import StandIn, standing_in
from tests.support.x11 import Game
from tmrld.doctor import installation
from tmrld.doctor.game import GameEvidence, Simulated, gather_game, judge_game, picture_with_beams
from tmrld.envs.options import FULL_ID, OURS, EnvironmentOptions, RandomisationOptions, TrackmaniaOptions
from tmrld.envs.sim.tracks import SHORT

AS_FAST_AS_IT_IS = {"capture-slow", "capture-too-slow", "telemetry-slow", "telemetry-too-slow", "plugin-stops"}
"""What may be said where other tests run beside: these look at how much time there is."""


def codes(seen: GameEvidence) -> set[str]:
    return set(by_code(judge_game(seen))) - AS_FAST_AS_IT_IS


# The simulator


@pytest.mark.parametrize("id", OURS)
def test_the_simulator_checks_itself_and_needs_nothing_else(id: str) -> None:
    said: list[str] = []
    seen = gather_game(EnvironmentOptions(id=id), say=said.append)
    assert {each.state for each in judge_game(seen)} == {"ok"}
    assert said == ["the simulator, which checks itself"]
    assert (seen.window, seen.telemetry, seen.controls) == (None, None, None)
    with Image.open(io.BytesIO(picture_with_beams(seen))) as image:
        assert image.size == EnvironmentOptions(id=id).window


@pytest.mark.parametrize("track", ["medium-650-any", "easy-200-3"])
def test_generated_tracks_and_varied_looks_check_as_well(track: str) -> None:
    looks = RandomisationOptions(brightness=0.3, border_level=20, camera_height=0.3)
    assert codes(gather_game(EnvironmentOptions(track=track, randomisation=looks))) == set()


def test_a_simulator_that_does_not_start_says_why() -> None:
    broken = EnvironmentOptions().model_copy(update={"track": "no-such-track"})
    found = by_code(judge_game(gather_game(broken)))
    assert "no-such-track" in found["sim-fails"].text


def test_a_lidar_that_differs_from_its_picture_is_told() -> None:
    seen = GameEvidence(options=EnvironmentOptions(), simulated=Simulated(lidar_differs_px=3.0))
    assert "3 pixels" in by_code(judge_game(seen))["sim-lidar-differs"].text


def test_of_an_environment_of_one_s_own_nothing_is_known_and_nothing_kept() -> None:
    seen = gather_game(EnvironmentOptions(id="Pendulum-v1", kwargs={"password": "secret"}))
    (found,) = judge_game(seen)
    assert found.state == "ok"
    assert "tmrld env check Pendulum-v1" in found.text
    assert "secret" not in seen.model_dump_json()


# The game, for which something stands in


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lines") / "short.npy"
    np.save(path, SHORT.line)
    return path


@pytest.fixture(scope="module")
def stand_in(display: str) -> Iterator[StandIn]:
    with standing_in("--track", "short", "--countdown", "0.2") as game:
        yield game


def options(line: Path, port: int, **trackmania: object) -> EnvironmentOptions:
    chosen = TrackmaniaOptions.model_validate(
        {"controls": "keyboard", "telemetry_port": port, "sleep_at_reset_s": 0.5, **trackmania}
    )
    return EnvironmentOptions(game="trackmania", clock="realtime", track=str(line), trackmania=chosen)


def test_nothing_is_wrong_with_the_stand_in(stand_in: StandIn, line: Path) -> None:
    stand_in.focus()
    ready = stand_in.ready
    seen = gather_game(options(line, ready["telemetry_port"], save_replays=True, replay_port=ready["replay_port"]), 1.0)
    assert seen.failed == {}
    assert codes(seen) == set()
    areas = {each.area for each in judge_game(seen)}
    assert areas == {"game", "plugin", "window", "picture", "controls", "replays", "track"}


def test_evidence_is_judged_alike_when_it_is_read_again(stand_in: StandIn, line: Path) -> None:
    seen = gather_game(options(line, stand_in.ready["telemetry_port"]), 0.5)
    again = GameEvidence.model_validate(seen.model_dump())
    assert judge_game(again) == judge_game(seen)
    assert picture_with_beams(again) == picture_with_beams(seen) != b""


def test_the_stand_in_s_window_is_made_fit_for_images(stand_in: StandIn, line: Path) -> None:
    wanted = options(line, stand_in.ready["telemetry_port"]).model_copy(update={"id": FULL_ID})
    seen = gather_game(wanted, 0.3)
    assert codes(seen) <= {"window-behind"}
    assert seen.pictures is not None
    assert seen.pictures.size == (256, 128)


@pytest.mark.slow
def test_the_stand_in_is_driven_where_that_is_wanted(stand_in: StandIn, line: Path) -> None:
    seen = gather_game(options(line, stand_in.ready["telemetry_port"]), 1.0, drive=True)
    assert codes(seen) == set()
    said = [each.text for each in judge_game(seen)]
    assert "the race began anew, the car obeyed the gas, and came back to the start" in said
    assert any("the speed fits the car's movement" in text for text in said)


@pytest.mark.slow
def test_a_stand_in_in_its_menu_is_silent(display: str, line: Path) -> None:
    with standing_in("--track", "short", "--title", "Trackmania in a menu", "--menu") as game:
        seen = gather_game(options(line, game.ready["telemetry_port"], window_title="Trackmania in a menu"), 0.5)
    assert "plugin-silent" in codes(seen)


def test_nothing_is_pressed_unless_it_is_wanted(display: str, line: Path) -> None:
    game = Game("A game that notes keys")
    try:
        with telling(record) as plugin:
            seen = gather_game(options(line, plugin.port, window_title="A game that notes keys"), 0.3)
        assert seen.controls is not None
        assert seen.controls.tried is None
        assert game.told() == []
    finally:
        game.close()


def test_what_is_not_there_is_not_watched(display: str, tmp_path: Path) -> None:
    for_days = 1e6
    seen = gather_game(options(tmp_path / "missing.npy", free_port(), window_title="There is no such window"), for_days)
    assert {"track-missing", "window-missing", "plugin-port-closed"} <= codes(seen)
    assert picture_with_beams(seen) == b""


def test_a_look_that_fails_leaves_the_others(display: str, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> installation.Installation:
        raise RuntimeError("no processes today")

    monkeypatch.setattr(installation, "gather_installation", fail)
    seen = gather_game(options(line, free_port(), window_title="There is no such window"), 0.1)
    found = by_code(judge_game(seen))
    assert "no processes today" in found["look-failed"].text
    assert "plugin-port-closed" in found


def test_what_was_not_looked_at_is_not_judged() -> None:
    assert judge_game(GameEvidence(options=EnvironmentOptions(game="trackmania", clock="realtime"))) == []
