"""Grabbing a real window: exactly its client area, wherever it is moved, and an error as soon as that cannot be seen."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import mss
import numpy as np
import pytest
from mss.exception import ScreenShotError
from numpy.typing import NDArray

from tests.envs.plain_windows import PlainWindow
from tests.support.display import virtual_display
from tmrld.envs.trackmania import screen
from tmrld.envs.trackmania.screen import WindowScreen
from tmrld.envs.trackmania.windows import Area, find
from tmrld.errors import GameError

PATIENCE_S = 30.0
PICTURE = np.random.default_rng(0).integers(0, 256, (100, 200, 4)).astype(np.uint8)


class StillWindow:
    """Says where it is without being there."""

    def __init__(self, *areas: Area, size: tuple[int, int] = (1280, 800)) -> None:
        self._areas = list(areas)
        self._size = size

    def area(self) -> Area:
        return self._areas.pop(0) if len(self._areas) > 1 else self._areas[0]

    def screen(self) -> Area:
        return Area(0, 0, *self._size)

    def resize(self, width: int, height: int) -> None: ...

    def focus(self) -> None: ...

    def is_focused(self) -> bool:
        return True

    def close(self) -> None: ...


@contextlib.contextmanager
def seeing(title: str = "Trackmania") -> Iterator[WindowScreen]:
    """The screen of the window of that title."""
    window = find(title)
    seen = WindowScreen(window)
    try:
        yield seen
    finally:
        seen.close()
        seen.close()  # does nothing
        window.close()


@pytest.fixture
def game(display: str) -> Iterator[PlainWindow]:
    with PlainWindow("Trackmania", 100, 50) as game:
        game.paint(PICTURE)
        yield game


def shows(seen: WindowScreen, picture: NDArray[np.uint8]) -> bool:
    """Whether the window shows it, to the last bit of blue, green and red."""
    return bool(np.array_equal(seen.grab()[:, :, :3], picture[:, :, :3]))


def until_error(grab: Callable[[], object]) -> str:
    """What is said when it does not go on for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            grab()
        except GameError as error:
            return str(error)
        time.sleep(0.01)
    pytest.fail("nothing was said")


def test_the_client_area_is_grabbed_and_nothing_else(game: PlainWindow) -> None:
    with seeing() as seen:
        image = seen.grab()
        assert image.shape == (100, 200, 4)
        assert image.dtype == np.uint8
        assert np.array_equal(image[:, :, :3], PICTURE[:, :, :3])


def test_a_frame_and_a_border_are_left_out(display: str) -> None:
    with PlainWindow("Trackmania", 100, 50, border=3) as game:
        game.frame(40, 60, 5, 24)
        game.paint(PICTURE)
        with seeing() as seen:
            assert shows(seen, PICTURE)


def test_a_picture_stays_as_it_was_taken(game: PlainWindow) -> None:
    with seeing() as seen:
        before = seen.grab()
        game.paint(PICTURE[::-1])
        assert shows(seen, PICTURE[::-1])
        assert np.array_equal(before[:, :, :3], PICTURE[:, :, :3])


def test_a_window_that_is_moved_is_followed(game: PlainWindow) -> None:
    with seeing() as seen:
        assert shows(seen, PICTURE)
        game.put(x=800, y=600)
        game.paint(PICTURE)
        deadline = time.monotonic() + PATIENCE_S
        while not shows(seen, PICTURE):
            assert time.monotonic() < deadline, "it is not followed"


def test_what_covers_the_window_is_grabbed_with_it(game: PlainWindow) -> None:
    with PlainWindow("Mail", 150, 50, 50, 100) as mail:
        mail.paint(np.zeros((100, 50, 4), np.uint8))
        covered = PICTURE.copy()
        covered[:, 50:100] = 0
        with seeing() as seen:
            assert shows(seen, covered)


def test_a_window_that_changes_its_size_is_an_error(game: PlainWindow) -> None:
    with seeing() as seen:
        seen.grab()
        game.put(width=220, height=90)
        assert "has 220x90 pixels now, and had 200x100" in until_error(seen.grab)


@pytest.mark.parametrize("place", [(-1, 50), (100, -1), (1081, 50), (100, 701)])
def test_a_window_that_lies_partly_off_the_screen_is_an_error(game: PlainWindow, place: tuple[int, int]) -> None:
    with seeing() as seen:
        seen.grab()
        game.put(x=place[0], y=place[1])
        said = until_error(seen.grab)
        assert f"lies off the screen (1280x800): its 200x100 pixels begin at {place[0]}, {place[1]}" in said


def test_a_window_that_is_hidden_is_an_error(game: PlainWindow) -> None:
    with seeing() as seen:
        seen.grab()
        game.window.unmap()
        game.sync()
        assert "hidden or minimised" in until_error(seen.grab)
        game.window.map()
        game.paint(PICTURE)
        assert shows(seen, PICTURE)


def test_a_window_that_is_closed_is_an_error(game: PlainWindow) -> None:
    with seeing() as seen:
        seen.grab()
        game.window.destroy()
        game.sync()
        assert "'Trackmania' was closed" in until_error(seen.grab)


def test_a_display_that_ends_is_an_error(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as stack:
        with virtual_display(400, 300) as name:
            monkeypatch.setenv("DISPLAY", name)
            stack.enter_context(PlainWindow("Trackmania"))
            seen = stack.enter_context(seeing())
            seen.grab()
        with pytest.raises(GameError, match="display of the window 'Trackmania' was closed"):
            seen.grab()


def test_a_grab_that_fails_asks_where_the_window_is_now(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "LOOK_S", 3600.0)
    wrong, right = Area(1200, 700, 200, 150), Area(10, 20, 200, 150)
    seen = WindowScreen(StillWindow(wrong, right, size=(4000, 4000)))
    assert seen.grab().shape == (150, 200, 4)
    seen.close()


def test_a_grab_that_goes_on_failing_is_an_error(display: str) -> None:
    seen = WindowScreen(StillWindow(Area(1200, 700, 200, 150), size=(4000, 4000)))
    with pytest.raises(GameError, match="the screen cannot be grabbed at"):
        seen.grab()
    seen.close()


def test_any_thread_may_grab(game: PlainWindow) -> None:
    with seeing() as seen:
        assert shows(seen, PICTURE)
        told: list[bool] = []
        other = threading.Thread(target=lambda: told.append(shows(seen, PICTURE)))
        other.start()
        other.join()
        assert told == [True]
        assert shows(seen, PICTURE)


def test_without_a_display_nothing_can_be_grabbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    seen = WindowScreen(StillWindow(Area(0, 0, 10, 10)))
    with pytest.raises(GameError, match=r"the screen cannot be grabbed \(.*\$DISPLAY.*X11 session"):
        seen.grab()
    seen.close()


@pytest.mark.parametrize("sign", [("XDG_SESSION_TYPE", "wayland"), ("WAYLAND_DISPLAY", "wayland-0")])
def test_a_wayland_session_shows_only_black(game: PlainWindow, sign: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*sign)
    with seeing() as seen:
        game.paint(np.zeros_like(PICTURE))
        with pytest.raises(GameError, match="Wayland"):
            seen.grab()
        game.paint(PICTURE)  # an X11 display of its own, in a Wayland session
        assert shows(seen, PICTURE)
        game.paint(np.zeros_like(PICTURE))
        assert not seen.grab()[:, :, :3].any()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mss", None)
    with pytest.raises(GameError, match=r'pip install "tmrld\[game\]"'):
        WindowScreen(StillWindow(Area(0, 0, 10, 10))).grab()


def test_what_grabs_is_made_and_used_within_real_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows it would take others; here only where they are asked for can be seen."""
    within = False
    done: list[str] = []

    @contextlib.contextmanager
    def pixels() -> Iterator[None]:
        nonlocal within
        assert not within
        within = True
        try:
            yield
        finally:
            within = False

    def see(what: str) -> None:
        assert within, what
        done.append(what)

    class Grabber:
        def __init__(self) -> None:
            see("make")

        def grab(self, box: dict[str, int]) -> SimpleNamespace:
            see("grab")
            if done.count("grab") == 2:
                raise ScreenShotError("the screen has another size now")
            return SimpleNamespace(raw=bytearray(box["width"] * box["height"] * 4))

        def close(self) -> None: ...

    monkeypatch.setattr(screen, "real_pixels", pixels)
    monkeypatch.setattr(mss, "MSS", Grabber)
    seen = WindowScreen(StillWindow(Area(0, 0, 20, 10)))
    for _ in range(3):
        assert seen.grab().shape == (10, 20, 4)
    seen.close()

    assert done == ["make", "grab", "grab", "make", "grab", "grab"]
