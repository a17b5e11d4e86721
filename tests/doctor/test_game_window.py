"""The game's window: missing, called otherwise, hidden, too large, covered; with real windows on a display without a screen."""

from __future__ import annotations

import gc

import pytest

from tests.doctor.looks import by_code, until
from tests.envs.plain_windows import Manager, PlainWindow
from tmrld.doctor import window
from tmrld.doctor.diagnosis import Diagnosis
from tmrld.doctor.window import Window, gather_window, judge_window
from tmrld.envs.trackmania import windows
from tmrld.envs.trackmania.windows import Area
from tmrld.envs.trackmania.windows_x11 import find_x11
from tmrld.errors import GameError

TITLE = "Trackmania"
SIZE = (200, 100)


def judged(seen: Window, *, pictures: bool = True) -> dict[str, Diagnosis]:
    return by_code(judge_window(seen, pictures=pictures))


def found(wanted: tuple[int, int] = SIZE, *, but_focus: bool = True) -> set[str]:
    """The codes of a look; where nothing manages windows, none is in front."""
    return set(judged(gather_window(TITLE, wanted))) - ({"window-behind"} if but_focus else set())


def test_a_window_as_wanted_is_well(display: str) -> None:
    with PlainWindow(TITLE, 40, 30) as game:
        game.window.set_input_focus(1, 0)
        game.sync()
        assert found(but_focus=False) == set()


def test_it_gets_the_size_that_driving_gives_it(display: str) -> None:
    with PlainWindow(TITLE, 40, 30, 333, 222):
        seen = gather_window(TITLE, (300, 150))
        assert (seen.before, seen.area, seen.kept) == ((40, 30, 333, 222), (40, 30, 300, 150), "")


def test_there_is_no_window(display: str) -> None:
    with PlainWindow("Mail"):
        assert found() == {"window-missing"}


def test_a_window_is_called_otherwise(display: str) -> None:
    with PlainWindow("Trackmania Launcher"), PlainWindow("Mail"), PlainWindow("TrackMania"):
        seen = gather_window(TITLE, SIZE)
    assert sorted(seen.similar) == ["TrackMania", "Trackmania Launcher"]
    assert judged(seen)["window-another-title"].mend.startswith(
        "if that is the game: set trackmania.window_title = 'TrackMania'"
    )


def test_a_hidden_window_is_there_and_not_seen(display: str) -> None:
    with PlainWindow(TITLE, shown=False):
        assert found() == {"window-hidden"}


def test_several_windows_have_the_title(display: str) -> None:
    with PlainWindow(TITLE, 500, 400, 50, 50), PlainWindow(TITLE, 40, 30):
        seen = gather_window(TITLE, SIZE)
    assert judged(seen)["window-several"].state == "note"
    assert seen.area == (40, 30, *SIZE)


def test_a_window_that_keeps_its_size(display: str) -> None:
    with Manager(stubborn=True), PlainWindow(TITLE, 100, 50):
        until(lambda: any(each.title == TITLE and each.shown for each in windows.desktop()), "it is managed")
        told = judged(gather_window(TITLE, (300, 150)))
    assert "given 300x150 pixels, and keeps 200x100" in told["window-keeps-size"].text


def test_a_screen_that_is_too_small(display: str) -> None:
    with PlainWindow(TITLE):
        assert found((2000, 1000)) == {"window-screen-too-small"}


def test_a_window_that_stays_off_the_screen(display: str) -> None:
    with Manager(stubborn=True), PlainWindow(TITLE, -100, 50):
        until(lambda: any(each.title == TITLE and each.shown for each in windows.desktop()), "it is managed")
        assert found() == {"window-off-screen"}


def test_what_covers_it_is_named_with_its_share(display: str) -> None:
    with (
        PlainWindow("below", 40, 30),
        PlainWindow(TITLE, 40, 30),
        PlainWindow("Chat", 140, 30, 100, 100),
        PlainWindow("far", 600, 30),
    ):
        told = judged(gather_window(TITLE, SIZE))
    assert "'Chat' (50%)" in told["window-covered"].text
    assert "below" not in told["window-covered"].text
    assert "far" not in told["window-covered"].text


def test_its_own_frame_covers_nothing(display: str) -> None:
    with Manager(), PlainWindow(TITLE, 100, 50):
        until(lambda: any(each.title == TITLE and each.shown for each in windows.desktop()), "it is managed")
        assert "window-covered" not in found()


def test_another_window_is_in_front(display: str) -> None:
    with PlainWindow(TITLE, 40, 30), PlainWindow("Terminal", 600, 400) as terminal:
        terminal.window.set_input_focus(1, 0)
        terminal.sync()
        assert found(but_focus=False) == {"window-behind"}


def test_a_window_that_goes_meanwhile(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game = PlainWindow(TITLE, 40, 30)

    def find(title: str) -> windows.GameWindow:
        held = find_x11(title)
        game.close()
        return held

    monkeypatch.setattr(windows, "find", find)
    assert found() == {"window-gone"}


def test_without_a_display_there_is_nothing_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("XDG_SESSION_TYPE", "tty")
    assert found() == {"display-missing"}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # python-xlib leaves the socket that found no display
def test_a_display_that_is_not_there(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":59999")
    told = found()
    gc.collect()
    assert told == {"display-unusable"}


def test_wayland_shows_nobody_anything(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    seen = gather_window(TITLE, SIZE)
    assert set(judged(seen, pictures=False)) == {"session-wayland", "window-missing"}
    with PlainWindow(TITLE):  # on an X11 display of its own, beside
        assert "session-wayland" not in judged(gather_window(TITLE, SIZE), pictures=True)


@pytest.mark.parametrize(
    ("dpi", "awareness", "wrong"), [(144, 0, True), (96, 0, False), (144, 1, False), (144, 2, False), (None, None, False)]
)
def test_a_picture_that_windows_blows_up(dpi: int | None, awareness: int | None, wrong: bool) -> None:
    area = Area(0, 0, *SIZE)
    listed = [windows.Listed(TITLE, area, area, True, dpi, awareness)]
    plain = {"system": "win32", "display": "", "wayland": False, "title": TITLE, "wanted": SIZE}
    place = {"screen": (0, 0, 1920, 1080), "area": (0, 0, *SIZE), "in_front": True}
    told = judged(Window.model_validate(plain | place | window.counted(listed, TITLE)))
    assert set(told) == ({"window-scaled"} if wrong else set())
    if wrong:
        assert "150%" in told["window-scaled"].text


def test_a_list_without_the_game_tells_nothing_of_covers() -> None:
    area = Area(0, 0, *SIZE)
    assert window.covering([windows.Listed("Chat", area, area, True)], TITLE, area) == []


def test_whatever_a_window_says_is_no_end_of_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[windows.Listed]:
        raise GameError("the display refuses")

    monkeypatch.setattr(windows, "desktop", refuse)
    assert gather_window(TITLE, SIZE).problem == "the display refuses"
