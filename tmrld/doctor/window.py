"""The game's window: whether it is there, where, how large, and what lies before it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from pydantic import Field

from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.patient import Evidence
from tmrld.envs.trackmania import windows
from tmrld.envs.trackmania.windows import Area, GameWindow, Listed
from tmrld.errors import GameError

AREA = "window"
MOST_TITLES = 5
UNSCALED_DPI = 96
COVERED = 0.01
"""A smaller share of the window that is covered is a corner or a shadow."""

Box = tuple[int, int, int, int]
"""Left, top, width, height."""


class Window(Evidence):
    """The window of the title ``title``, and what was asked of it.

    ``problem`` says why no windows could be looked for.  ``shown`` and ``hidden`` count windows of exactly that title, ``similar``
    are other titles like it.  ``before`` is its client area as it was found, ``area`` what it is after it was given the size
    ``wanted``, and ``kept`` says why it is not as wanted.  ``covers`` are the windows before it, with the share of it that each
    hides.  ``in_front`` tells whether keys reach it; ``dpi`` and ``awareness`` as `Listed` has them.
    """

    system: str
    display: str
    wayland: bool
    title: str
    wanted: tuple[int, int]
    problem: str = ""
    shown: int = 0
    hidden: int = 0
    similar: list[str] = Field([])
    screen: Box | None = None
    before: Box | None = None
    area: Box | None = None
    kept: str = ""
    covers: list[tuple[str, float]] = Field([])
    in_front: bool | None = None
    dpi: int | None = None
    awareness: int | None = None


# Looking


def gather_window(title: str, wanted: tuple[int, int]) -> Window:
    """Find the window, give it its size as driving would, and look what is before it."""
    display = os.environ.get("DISPLAY", "")
    wayland = bool(os.environ.get("WAYLAND_DISPLAY")) or os.environ.get("XDG_SESSION_TYPE") == "wayland"
    seen = Window(system=sys.platform, display=display, wayland=wayland, title=title, wanted=wanted)
    found: dict[str, object] = {}
    try:
        found |= counted(windows.desktop(), title)
        if found["shown"]:
            with contextlib.closing(windows.find(title)) as window:
                found |= _looked_at(window, title, wanted)
    except GameError as error:
        found["problem"] = str(error)
    return seen.model_copy(update=found)


def _looked_at(window: GameWindow, title: str, wanted: tuple[int, int]) -> dict[str, object]:
    """As far as it is there for long enough."""
    found: dict[str, object] = {}
    with contextlib.suppress(GameError):
        found |= {"screen": _box(window.screen()), "before": _box(window.area())}
        try:
            window.resize(*wanted)
        except GameError as error:
            found["kept"] = str(error)
        area = window.area()
        found |= {"in_front": window.is_focused(), "covers": covering(windows.desktop(), title, area), "area": _box(area)}
    return found


def counted(listed: list[Listed], title: str) -> dict[str, object]:
    """What a look at the whole desktop tells of the windows of that title."""
    exact = [each for each in listed if each.title == title]
    shown = [each for each in exact if each.shown]
    game = max(shown, key=lambda each: each.area.width * each.area.height, default=None)
    others = list({each.title for each in listed if each.shown and each.title and each.title != title})
    similar: list[str] = []
    while len(similar) < MOST_TITLES and (near := windows.nearest(title, others)) is not None:
        similar.append(near)
        others.remove(near)
    return {
        "shown": len(shown),
        "hidden": len(exact) - len(shown),
        "similar": similar,
        "dpi": game.dpi if game else None,
        "awareness": game.awareness if game else None,
    }


def covering(listed: list[Listed], title: str, area: Area) -> list[tuple[str, float]]:
    """The windows before the game's, which has that client area, each with the share of it that it hides; from the front."""
    covers = []
    for each in listed:
        if each.title == title and each.shown and each.area == area:
            break
        share = each.outer.overlap(area) / max(1, area.width * area.height) if each.shown else 0.0
        if share >= COVERED:
            covers.append((each.title or "a window without a title", round(share, 3)))
    else:
        return []  # the game's own was not among them: nothing is known of before and behind
    return covers[:MOST_TITLES]


def _box(area: Area) -> Box:
    return area.left, area.top, area.width, area.height


# Judging

CODES = frozenset(
    {
        "display-missing",
        "display-unusable",
        "session-wayland",
        "window-missing",
        "window-another-title",
        "window-hidden",
        "window-several",
        "window-gone",
        "window-keeps-size",
        "window-screen-too-small",
        "window-off-screen",
        "window-covered",
        "window-behind",
        "window-scaled",
    }
)


def judge_window(seen: Window, *, pictures: bool) -> Iterator[Diagnosis]:
    """``pictures`` says that pictures of it came which are not black: then the session lets itself be seen."""
    if seen.wayland and seen.system == "linux" and not pictures:
        yield wrong(
            AREA,
            "session",
            "this is a Wayland session, in which no program sees the windows of others, or presses keys in them",
            "log in to an X11 session (at the login screen, often called Xorg), or start game and tmrld on an X11 display of "
            "their own "
            "(Xvfb, or Xephyr)",
            code="session-wayland",
        )
    if seen.problem:
        yield _judge_problem(seen)
    elif not seen.shown:
        yield _judge_absence(seen)
    elif seen.screen is None or seen.area is None:
        yield wrong(
            AREA,
            "window",
            f"the window {seen.title!r} was closed meanwhile",
            "start the game again, and look again",
            code="window-gone",
        )
    else:
        yield from _judge_place(seen, Area(*seen.area), Area(*seen.screen))


def _judge_problem(seen: Window) -> Diagnosis:
    if seen.system == "linux" and not seen.display:
        return wrong(
            AREA,
            "display",
            "there is no X11 display (DISPLAY is not set), on which the game's window could be looked for",
            "start tmrld on the desktop where the game runs; from another terminal there: export DISPLAY=:0",
            code="display-missing",
        )
    return wrong(
        AREA,
        "display",
        seen.problem,
        "set DISPLAY to that of the desktop where the game runs, and let programs use it: xhost +si:localuser:$USER"
        if seen.system == "linux"
        else "sign in to the desktop on which the game runs, and start tmrld there",
        code="display-unusable",
    )


def _judge_absence(seen: Window) -> Diagnosis:
    if seen.hidden:
        return wrong(
            AREA,
            "window",
            f"the window {seen.title!r} is hidden or minimised",
            "bring it back: it must stay on the screen while it is driven",
            code="window-hidden",
        )
    if seen.similar:
        named = ", ".join(map(repr, seen.similar))
        return wrong(
            AREA,
            "window",
            f"no window has exactly the title {seen.title!r}; there is {named}",
            f"if that is the game: set trackmania.window_title = {seen.similar[0]!r}; else start the game in a window",
            code="window-another-title",
        )
    return wrong(
        AREA,
        "window",
        f"no window has the title {seen.title!r}",
        "start the game in a window, not full screen, on this desktop",
        code="window-missing",
    )


def _judge_place(seen: Window, area: Area, screen: Area) -> Iterator[Diagnosis]:
    if seen.shown > 1:
        yield note(
            AREA,
            "window",
            f"{seen.shown} windows have the title {seen.title!r}: the largest is taken for the game's",
            "close the others (a folder or a browser's tab may be named so), or a second game",
            code="window-several",
        )
    width, height = seen.wanted
    if (area.width, area.height) != (width, height):
        yield _judge_size(seen, area, screen)
    elif not area.within(screen):
        yield wrong(
            AREA,
            "place",
            f"a part of the window lies off the screen: its {area.size} pixels begin at {area.left}, {area.top}, the screen has "
            f"{screen.size}",
            "move it onto the screen",
            code="window-off-screen",
        )
    else:
        yield ok(AREA, "size", f"{area.size} pixels at {area.left}, {area.top} of a screen of {screen.size}, as wanted")
    if seen.covers:
        named = ", ".join(f"{title!r} ({share:.0%})" for title, share in seen.covers)
        yield wrong(
            AREA,
            "cover",
            f"the window is covered by {named}: what covers it is seen in its place",
            "move those away from it, or bring the game to the front (click into it)",
            code="window-covered",
        )
    if seen.dpi not in (None, UNSCALED_DPI) and seen.awareness == 0:
        yield wrong(
            AREA,
            "scaling",
            f"Windows scales the game to {seen.dpi / UNSCALED_DPI:.0%}, for the game does not know of scaling: its picture is "
            "blown up, and "
            "not as tmrld's policies know it",
            "set the monitor to 100 % (Windows: Settings, System, Display, Scale); or, in the properties of Trackmania.exe, "
            "Compatibility, "
            "Change high DPI settings, override the scaling: Application",
            code="window-scaled",
        )
    if seen.in_front is False:
        yield note(
            AREA,
            "focus",
            "another window than the game's is in front now: keys would go there",
            "nothing now: tmrld brings the game to the front when it drives. Then leave it there",
            code="window-behind",
        )


def _judge_size(seen: Window, area: Area, screen: Area) -> Diagnosis:
    width, height = seen.wanted
    if width > screen.width or height > screen.height:
        return wrong(
            AREA,
            "size",
            f"the screen has {screen.size} pixels, too few for a window of {width}x{height}",
            "use a larger screen or a higher resolution; or set environment.window_width and environment.window_height "
            "(policies are "
            "trained for one size)",
            code="window-screen-too-small",
        )
    return wrong(
        AREA,
        "size",
        f"the window was given {width}x{height} pixels, and keeps {area.size}",
        "in the game's display settings choose a window, not full screen or borderless; and let it be neither maximised nor "
        "tiled",
        code="window-keeps-size",
    )
