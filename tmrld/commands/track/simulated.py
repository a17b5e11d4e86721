"""`tmrld track new`, and what is shown of the simulator's tracks.  Asks no relay, and needs no display."""

from __future__ import annotations

import argparse
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.commands.asking import print_json, print_table
from tmrld.commands.flags import positive, whole
from tmrld.commands.track.files import write_line, write_map

if TYPE_CHECKING:
    from tmrld.envs.sim.figures import Figures
    from tmrld.envs.sim.track import Track

SKETCH_ROWS = 24


def add(actions: Any) -> None:
    """Add `new`."""
    new = actions.add_parser("new", help="generate a track of the simulator, and say under which name settings know it")
    new.add_argument("--seed", type=whole, metavar="N", help="another track for each (default: drawn)")
    new.add_argument("--length", type=positive, default=650, metavar="M", help="metres from start to finish (default: 650)")
    new.add_argument("--difficulty", default="medium", metavar="easy|medium|hard", help="how it drives (default: medium)")
    add_output(new)
    new.set_defaults(command=_new)


def add_output(parser: argparse.ArgumentParser) -> None:
    """What else is made of a track that is shown."""
    parser.add_argument("--line", type=Path, metavar="FILE", help="write its reward line there: x, y, z as .npy, else as text")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write a map of it there")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _new(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.sim.generator import generated

    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    return present(generated(options.difficulty, options.length, seed), options)


def rows() -> list[Figures]:
    """The tracks that the simulator brings, in figures."""
    from tmrld.envs.sim.figures import figures
    from tmrld.envs.sim.tracks import BUNDLED

    return [figures(track) for track in BUNDLED.values()]


def print_rows(found: list[Figures]) -> None:
    """The same as a table."""
    columns = ("track", "length", "corners", "tightest radius", "width", "crossings")
    cells = [
        (each.name, f"{each.length_m:,.0f} m", str(each.corners), _radius(each), _width(each), str(each.crossings))
        for each in found
    ]
    print_table(columns, cells, "")


def present(track: Track, options: argparse.Namespace) -> int:
    """Figures and sketch of one track; its line into a file, if that is asked for."""
    from tmrld.envs.sim.figures import figures, sketch

    if options.png is not None:
        from tmrld.envs.sim.map import portrait

        write_map(portrait(track), options.png, replace=options.force)
    if options.line is not None:
        write_line(track.line, options.line, "--line", replace=options.force)
    found = figures(track)
    if options.json:
        print_json(asdict(found))
        return 0
    corners = f"{found.corners} corner{'s' * (found.corners != 1)}"
    crossings = f", crosses itself {found.crossings} time{'s' * (found.crossings != 1)}" if found.crossings else ""
    print(
        f"{found.name}: {found.length_m:,.0f} m, {corners}, tightest radius {_radius(found)}, {_width(found)} wide{crossings}"
    )
    simulator = "to drive it"
    if options.line is not None:
        print(f"its line is in {options.line}: for the game or `tmrld sim`, set run.environment.track to that path")
        simulator = "to drive it in the simulator"
    if options.png is not None:
        print(f"its map is in {options.png}")
    print(f"{simulator}, set run.environment.track = {found.name!r}")
    print()
    print(sketch(track, min(shutil.get_terminal_size().columns, 100), SKETCH_ROWS))
    return 0


def _radius(figures: Figures) -> str:
    return "–" if figures.tightest_radius_m is None else f"{figures.tightest_radius_m:.0f} m"


def _width(figures: Figures) -> str:
    narrowest, widest = f"{figures.narrowest_m:g}", f"{figures.widest_m:g}"
    return f"{widest} m" if narrowest == widest else f"{narrowest} to {widest} m"
