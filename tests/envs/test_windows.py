"""The game's window: the arithmetic, and real windows on a display, with and without a window manager."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from Xlib import X

from tests.envs.plain_windows import Manager, PlainWindow
from tests.support.display import virtual_display
from tmrld.envs.trackmania import windows
from tmrld.envs.trackmania.windows import Area, GameWindow, find, nearest, settled
from tmrld.errors import GameError

PATIENCE_S = 30.0
SCREEN = Area(0, 0, 1280, 800)


@contextlib.contextmanager
def found(title: str) -> Iterator[GameWindow]:
    window = find(title)
    try:
        yield window
    finally:
        window.close()
        window.close()  # does nothing


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another program does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


places = st.integers(-3000, 3000)
sizes = st.integers(1, 1000)
areas = st.builds(Area, places, places, sizes, sizes)


@given(areas, st.builds(Area, places, places, st.integers(1000, 5000), st.integers(1000, 5000)))
def test_a_window_is_moved_onto_the_screen_by_no_more_than_needed(area: Area, screen: Area) -> None:
    moved = area.moved_onto(screen)

    assert moved.within(screen)
    assert (moved.width, moved.height) == (area.width, area.height)
    assert (moved == area) == area.within(screen)
    assert moved.left in (area.left, screen.left, screen.left + screen.width - area.width)
    assert moved.top in (area.top, screen.top, screen.top + screen.height - area.height)


@pytest.mark.parametrize("outside", [Area(-1, 0, 9, 9), Area(0, -1, 9, 9), Area(1272, 0, 9, 9), Area(0, 792, 9, 9)])
def test_one_pixel_outside_is_outside(outside: Area) -> None:
    assert not outside.within(SCREEN)
    assert Area(max(outside.left, 0), max(outside.top, 0), 8, 8).within(SCREEN)


@given(areas, areas, areas, st.tuples(*[st.integers(-50, 50)] * 4))
def test_whatever_a_frame_adds_is_made_up_for(wanted: Area, first: Area, asked: Area, frame: tuple[int, int, int, int]) -> None:
    assume(first != wanted)
    now = [first]

    def place(outer: Area) -> None:
        now[0] = Area(outer.left + frame[0], outer.top + frame[1], outer.width + frame[2], outer.height + frame[3])

    assert settled(wanted, asked, place, lambda: now[0], 0.0) == wanted


@pytest.mark.parametrize(
    ("titles", "near"),
    [
        ([], None),
        (["Terminal", "Mail"], None),
        (["Mail", "TrackMania"], "TrackMania"),
        (["Trackmania Launcher - all about the game", "Mail"], "Trackmania Launcher - all about the game"),
        (["Tackmania", "Mail"], "Tackmania"),
    ],
)
def test_the_title_that_was_meant(titles: list[str], near: str | None) -> None:
    assert nearest("Trackmania", titles) == near


def test_a_window_is_found_by_its_exact_title(display: str) -> None:
    others = PlainWindow("Trackmania Launcher", 0, 0, 300, 300), PlainWindow("trackmania", 5, 5)
    with others[0], others[1], PlainWindow("Trackmania", 40, 30), found("Trackmania") as window:
        assert window.area() == Area(40, 30, 200, 100)
        assert window.screen() == SCREEN


def test_the_largest_of_several_is_the_game(display: str) -> None:
    others = PlainWindow("Trackmania", 0, 0, 50, 50), PlainWindow("Trackmania", 9, 9, 60, 60)
    with others[0], PlainWindow("Trackmania", 40, 30), others[1], found("Trackmania") as window:
        assert window.area() == Area(40, 30, 200, 100)


def test_a_title_in_any_language_is_found(display: str) -> None:
    with PlainWindow("as old programs see it") as game:
        game.title("Трекмания ™")
        with found("Трекмания ™") as window:
            assert window.area().size == "200x100"
        with pytest.raises(GameError, match="no visible window"):
            find("as old programs see it")


def test_a_missing_window_is_named_with_one_that_was_meant(display: str) -> None:
    with pytest.raises(
        GameError, match=f"display '{display}' has the title 'Trackmania': start the game in a window, not minimised$"
    ):
        find("Trackmania")
    with PlainWindow("TrackMania"), pytest.raises(GameError, match="there is one titled 'TrackMania'"):
        find("Trackmania")


def test_a_window_that_is_not_shown_is_not_taken(display: str) -> None:
    with PlainWindow("Trackmania", shown=False), pytest.raises(GameError, match="'Trackmania' is hidden or minimised"):
        find("Trackmania")


def test_what_a_window_manager_left_behind_hides_no_window(display: str) -> None:
    with PlainWindow("Trackmania") as game:
        atom = game.display.intern_atom
        game.root.change_property(atom("_NET_CLIENT_LIST"), atom("WINDOW"), 32, [0x7FFFFF, game.root.id])
        game.sync()
        try:
            with found("Trackmania") as window:
                assert window.area() == Area(0, 0, 200, 100)
        finally:
            game.root.delete_property(atom("_NET_CLIENT_LIST"))
            game.sync()


@pytest.mark.parametrize("name", ["", ":59999", ":99999", "?"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # python-xlib leaves the socket that found no display
def test_a_display_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", name)
    says = ""
    try:
        find("Trackmania")
    except GameError as error:
        says = str(error)
    gc.collect()

    assert ("DISPLAY is not set" if name == "" else f"the display '{name}' cannot be used") in says


def test_what_a_window_is_can_be_said_without_a_display_or_its_packages() -> None:
    code = (
        "import sys; before = set(sys.modules); import tmrld.envs.trackmania.windows as windows; windows.real_pixels(); "
        "print({name.split('.')[0] for name in set(sys.modules) - before} - {'tmrld'} - sys.stdlib_module_names, "
        "[name for name in sys.modules if name.startswith('tmrld.envs.trackmania.windows_')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import tmrld.envs, gymnasium, numpy; " + code],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set() []\n"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Xlib", None)
    with pytest.raises(GameError, match=r'pip install "tmrld\[game\]"'):
        find("Trackmania")


def test_the_area_is_what_lies_within_border_and_frame(display: str) -> None:
    with PlainWindow("Trackmania", 100, 50, border=3) as game, found("Trackmania") as window:
        assert window.area() == Area(103, 53, 200, 100)
        game.put(x=20, y=10)
        assert window.area() == Area(23, 13, 200, 100)
        frame = game.frame(300, 200, 5, 24)  # the frame has a border of 2
        assert window.area() == Area(310, 229, 200, 100)
        frame.configure(x=0, y=0)
        game.sync()
        assert window.area() == Area(10, 29, 200, 100)


def test_a_window_gets_its_size_and_stays_where_it_is(display: str) -> None:
    with PlainWindow("Trackmania", 100, 50), found("Trackmania") as window:
        window.resize(958, 488)
        assert window.area() == Area(100, 50, 958, 488)
        window.resize(256, 128)
        assert window.area() == Area(100, 50, 256, 128)


def test_a_window_is_moved_onto_the_screen(display: str) -> None:
    with PlainWindow("Trackmania", 900, -30) as game, found("Trackmania") as window:
        window.resize(958, 488)
        assert window.area() == Area(322, 0, 958, 488)
        game.frame(-100, 700, 5, 24)
        window.resize(200, 100)
        assert window.area() == Area(0, 700, 200, 100)


def test_a_screen_may_be_too_small(display: str) -> None:
    with PlainWindow("Trackmania"), found("Trackmania") as window:
        with pytest.raises(GameError, match="the screen has 1280x800 pixels, too few for a window of 1920x800"):
            window.resize(1920, 800)
        assert window.area() == Area(0, 0, 200, 100)


def test_a_window_that_is_gone_says_so(display: str) -> None:
    with PlainWindow("Trackmania") as game, found("Trackmania") as window:
        game.window.destroy()
        game.sync()
        for ask in (window.area, window.is_focused, window.focus, lambda: window.resize(300, 200)):
            with pytest.raises(GameError, match="'Trackmania' was closed: start the game again"):
                ask()


def test_a_program_that_has_ended_has_closed_its_window(display: str) -> None:
    with PlainWindow("Trackmania") as game, found("Trackmania") as window:
        game.close()
        until(lambda: not answers(window.area))
        with pytest.raises(GameError, match="was closed"):
            window.area()


def answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except GameError:
        return False
    return True


def test_a_hidden_window_has_no_area(display: str) -> None:
    with PlainWindow("Trackmania") as game, found("Trackmania") as window:
        game.window.unmap()
        game.sync()
        with pytest.raises(GameError, match="hidden or minimised"):
            window.area()
        assert not window.is_focused()
        game.window.map()
        game.sync()
        assert window.area() == Area(0, 0, 200, 100)


def test_a_display_that_ends(monkeypatch: pytest.MonkeyPatch, display: str) -> None:
    with contextlib.ExitStack() as stack:
        with virtual_display(400, 300) as name:
            monkeypatch.setenv("DISPLAY", name)
            stack.enter_context(PlainWindow("Trackmania"))
            window = stack.enter_context(found("Trackmania"))
            assert window.screen() == Area(0, 0, 400, 300)
        for ask in (window.area, window.screen, window.is_focused):
            with pytest.raises(GameError, match="the display of the window 'Trackmania' was closed"):
                ask()


def test_keys_reach_the_window_in_front(display: str) -> None:
    with PlainWindow("Trackmania") as game, PlainWindow("Mail", 50, 50) as mail, found("Trackmania") as window:
        assert not window.is_focused()
        window.focus()
        assert window.is_focused()
        assert game.display.get_input_focus().focus == game.window
        assert above(game) == [mail.window.id, game.window.id]  # lowest first

        mail.window.set_input_focus(X.RevertToParent, X.CurrentTime)
        mail.sync()
        assert not window.is_focused()

        part = game.window.create_window(5, 5, 20, 20, 0, 24)
        part.map()
        part.set_input_focus(X.RevertToParent, X.CurrentTime)
        game.sync()
        assert window.is_focused()


def above(window: PlainWindow) -> list[int]:
    """The windows of the display, lowest first."""
    return [child.id for child in window.root.query_tree().children]


def test_a_window_in_a_frame_is_raised_with_it(display: str) -> None:
    with PlainWindow("Trackmania") as game, found("Trackmania") as window:
        frame = game.frame(0, 0, 5, 24)
        with PlainWindow("Mail", 50, 50) as mail:
            window.focus()
            assert above(game) == [mail.window.id, frame.id]


def test_a_window_that_cannot_be_brought_to_the_front(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "PATIENCE_S", 0.1)
    with PlainWindow("Trackmania") as game, found("Trackmania") as window:
        game.window.unmap()
        game.sync()
        with pytest.raises(GameError, match="does not come to the front"):
            window.focus()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, display: str) -> Iterator[None]:
    """A display without other tests' windows, for a window manager to rule."""
    with virtual_display(1280, 800) as name:
        monkeypatch.setenv("DISPLAY", name)
        yield


def framed(game: PlainWindow) -> bool:
    with contextlib.suppress(GameError):
        window = find("Trackmania")
        window.close()
        return bool(game.window.query_tree().parent != game.root)
    return False


def test_a_managed_window_is_measured_moved_and_focused(alone: None) -> None:
    with Manager(), PlainWindow("Trackmania", 100, 50) as game, PlainWindow("Mail", 120, 60) as mail:
        until(lambda: framed(game) and len(above(game)) == 2)
        with found("Trackmania") as window:
            inside = (Manager.LEFT + Manager.BORDER, Manager.TOP + Manager.BORDER)
            assert window.area() == Area(100 + inside[0], 50 + inside[1], 200, 100)
            game.put(x=1200, y=750)
            until(lambda: window.area() == Area(1200 + inside[0], 750 + inside[1], 200, 100))
            window.resize(300, 150)
            assert window.area() == Area(980, 650, 300, 150)

            until(lambda: bool(mail.window.get_attributes().map_state == X.IsViewable))
            mail.window.set_input_focus(X.RevertToParent, X.CurrentTime)
            mail.sync()
            assert not window.is_focused()
            window.focus()
            assert window.is_focused()
            assert above(game)[-1] == game.window.query_tree().parent.id


def test_a_window_that_keeps_its_size_is_an_error(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "PATIENCE_S", 0.2)
    with Manager(stubborn=True), PlainWindow("Trackmania", 100, 50) as game:
        until(lambda: framed(game))
        said = pytest.raises(GameError, match="was given 300x150 pixels and keeps 200x100: turn full screen off")
        with found("Trackmania") as window, said:
            window.resize(300, 150)


def test_a_window_that_does_not_move_is_an_error(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "PATIENCE_S", 0.2)
    with Manager(stubborn=True), PlainWindow("Trackmania", -100, 50) as game:
        until(lambda: framed(game))
        said = pytest.raises(GameError, match=r"lies off the screen \(1280x800\), at -91, 75, and it does not move")
        with found("Trackmania") as window, said:
            window.resize(200, 100)


# The whole desktop


def titles(found: list[windows.Listed]) -> list[str]:
    return [each.title for each in found]


def test_the_desktop_is_listed_from_the_front_to_the_back(display: str) -> None:
    with PlainWindow("below", 10, 20, 300, 200), PlainWindow("above", 50, 60, 100, 80), PlainWindow("hidden", shown=False):
        found = {each.title: each for each in windows.desktop()}
        listed = titles(windows.desktop())
        assert listed.index("above") < listed.index("below")
        assert found["below"].area == Area(10, 20, 300, 200)
        assert found["below"].outer.overlap(found["above"].outer) == 100 * 80
        assert (found["above"].shown, found["hidden"].shown) == (True, False)
        assert (found["above"].dpi, found["above"].awareness) == (None, None)


def test_a_window_in_a_frame_is_listed_once_with_its_frame_around_it(display: str) -> None:
    with Manager(), PlainWindow("Trackmania", 100, 100):
        until(lambda: any(each.title == "Trackmania" and each.shown for each in windows.desktop()))
        (listed,) = [each for each in windows.desktop() if each.title == "Trackmania"]
        assert (listed.area.width, listed.area.height) == (200, 100)
        assert listed.outer.left + Manager.BORDER + Manager.LEFT == listed.area.left
        assert listed.outer.top + Manager.BORDER + Manager.TOP == listed.area.top
        assert listed.area.within(listed.outer)


@given(areas, areas)
def test_what_two_areas_share_is_the_same_from_both_sides(one: Area, other: Area) -> None:
    assert one.overlap(other) == other.overlap(one) <= min(one.width * one.height, other.width * other.height)
    assert one.overlap(one) == one.width * one.height
