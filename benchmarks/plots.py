"""The manual's pictures: all bundled tracks with their reward lines, speed profiles, and what `tmrld env view` shows.

    python benchmarks/plots.py

Writes docs/tracks.png, docs/speed.png and docs/view.png.  The speed profiles are those of the scripted driver and of the reference
lap in `benchmarks/results/reference_lap/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from plotting import speed_profiles

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim import drawing
from tmrld.envs.sim.drawing import SCALE
from tmrld.envs.sim.film import Film
from tmrld.envs.sim.map import TrackMap
from tmrld.envs.sim.track import Track
from tmrld.envs.sim.tracks import BUNDLED
from tmrld.payloads import Array
from tmrld.worker.filming import filmed
from tmrld.worker.pictures import write_png

ROOT = Path(__file__).parent.parent
REFERENCES = Path(__file__).parent / "results" / "reference_lap"
CELL = 400
"""Of a track in the table of tracks, in pixels."""
HEAD = 44
COLUMNS = 3
COLOURS = 64
"""Of a picture with a palette, which is a third as large as one without."""
PROFILED, VIEWED = "default", "blue"
MOMENT = 0.62
"""Of the episode that is shown: before a bridge, which is in sight."""


@dataclass(frozen=True)
class Profile:
    """A lap as `plotting.speed_profiles` draws it."""

    metres: Sequence[float]
    speed: Sequence[float]
    brake: Sequence[float]


def tracks_table(tracks: Sequence[Track]) -> Array:
    """Maps of all tracks side by side, with their names and lengths; reward lines are blue."""
    rows = -(-len(tracks) // COLUMNS)
    picture = drawing.blank(COLUMNS * CELL, rows * (CELL + HEAD), drawing.PANEL)
    draw = ImageDraw.Draw(picture)
    for place, track in enumerate(tracks):
        left, top = place % COLUMNS * CELL, place // COLUMNS * (CELL + HEAD)
        track_map = TrackMap(track, CELL, CELL)
        line = [track_map.place(x, z) for x, z in track.line[::10, [0, 2]].tolist()]
        track_map.draw_line(track_map.picture, line, [drawing.BLUE] * len(line))
        picture.paste(track_map.picture, (left * SCALE, (top + HEAD) * SCALE))
        drawing.write(draw, (left + 16, top + 32), track.name, 20)
        drawing.write(draw, (left + CELL - 16, top + 32), f"{track.length:,.0f} m", 16, drawing.DIM, "rs")
    return drawing.finished(picture)


def driven(film: Film, track: Track) -> Profile:
    """The profile of a filmed lap."""
    return Profile(
        [float(scene.info["progress"]) * track.length for scene in film.scenes],
        [scene.kmh / 3.6 for scene in film.scenes],
        [max(0.0, scene.action[1]) for scene in film.scenes],
    )


def best_driver(track: str) -> str:
    """The reference lap's actions if they were worked out, else the scripted driver."""
    actions = REFERENCES / f"{track}.csv"
    return str(actions) if actions.is_file() else "scripted"


def write_small(path: Path, picture: Array) -> None:
    """A PNG with a palette: flat colours need no more."""
    small = Image.fromarray(np.ascontiguousarray(picture)).quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="where to write them (default: docs)")
    folder: Path = parser.parse_args().folder
    write_small(folder / "tracks.png", tracks_table(list(BUNDLED.values())))

    drivers = {"scripted driver": "scripted", "reference lap": best_driver(PROFILED)}
    options = EnvironmentOptions(track=PROFILED)
    laps = {name: driven(filmed(options, driver, 0), BUNDLED[PROFILED]) for name, driver in drivers.items()}
    speed_profiles(folder / "speed.png", laps)

    film = filmed(EnvironmentOptions(track=VIEWED, max_steps=3000), best_driver(VIEWED), 0)
    write_png(folder / "view.png", film.frame(round(MOMENT * len(film))))
    for name in ("tracks", "speed", "view"):
        path = folder / f"{name}.png"
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
