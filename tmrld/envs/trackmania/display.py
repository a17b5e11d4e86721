"""The game's own settings for its screen: a window or the whole screen, and the window's size.

The game reads them when it starts, from ``Documents/Trackmania/Config/Default.json``, and writes that file anew when it ends: a
change only lasts while the game is not running.  The names of these settings are those that people's programs use; Nadeo, who
makes the game, has not documented them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmrld.errors import GameError

WINDOWED = "windowed"
"""The other modes are ``fullscreen`` and ``windowedfull``, a window without a frame that covers the screen."""
FOLDERS = ("Trackmania", "Trackmania2020")
"""The game's folder among a user's documents; the second is there where an older TrackMania has the first."""
_BLOCK = "Display"
_MODE, _SIZE = "DisplayMode", "ScreenSizeWin"


@dataclass(frozen=True)
class Display:
    """How the game shows itself."""

    file: Path
    mode: str
    size: tuple[int, int] | None
    """Of the window, width and height in pixels."""

    @property
    def is_window(self) -> bool:
        """Whether it is a window that can be given a size."""
        return self.mode == WINDOWED


def config_file(documents: Path) -> Path | None:
    """The file with these settings, if the game has ever been started."""
    for folder in FOLDERS:
        file = documents / folder / "Config" / "Default.json"
        if file.is_file():
            return file
    return None


def parse(file: Path, text: str) -> Display:
    """What the file says.  Raises GameError when it is not as expected."""
    values = _values(file, text)
    found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", values[_SIZE])
    return Display(file, values[_MODE], (int(found[1]), int(found[2])) if found else None)


def windowed(file: Path, text: str, width: int, height: int) -> str:
    """The same text, in which the game shows itself in a window of that size.  Raises GameError when it is not as expected."""
    _values(file, text)
    changed = text
    wanted = {_MODE: WINDOWED, _SIZE: f"{width}x{height}"}
    for name, value in wanted.items():
        block = re.search(rf'"{_BLOCK}"\s*:\s*\{{', changed)
        assert block is not None, "it was there just now"
        place = re.compile(rf'("{name}"\s*:\s*)"[^"]*"').search(changed, block.end())
        if place is not None:
            changed = f'{changed[: place.start()]}{place[1]}"{value}"{changed[place.end() :]}'
    expected = json.loads(text.removeprefix("\ufeff"))
    expected[_BLOCK].update(wanted)
    if json.loads(changed.removeprefix("\ufeff")) != expected:  # the settings lie in another order than ever seen
        raise _unexpected(file, "its settings of the screen are not where they should be")
    return changed


def _values(file: Path, text: str) -> dict[str, str]:
    try:
        block: Any = json.loads(text.removeprefix("\ufeff"))[_BLOCK]
        values = {name: block[name] for name in (_MODE, _SIZE)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _unexpected(file, str(error) if isinstance(error, ValueError) else f"it has no {_BLOCK}.{error}") from error
    if not all(isinstance(value, str) for value in values.values()):
        raise _unexpected(file, f"{_MODE} and {_SIZE} are no texts")
    return values


def _unexpected(file: Path, reason: str) -> GameError:
    return GameError(
        f"the game's settings in {file} are not understood ({reason}): set the display mode to a window in the game, "
        "Settings, Video"
    )
