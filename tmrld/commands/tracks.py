"""`tmrld track`: the simulator's tracks: those that it brings, and new ones.  Asks no relay, and needs no display."""

from __future__ import annotations

import argparse
import io
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.commands.asking import print_json, print_table
from tmrld.commands.flags import positive, whole
from tmrld.errors import BadInput, Conflict, StorageError

if TYPE_CHECKING:
    from tmrld.envs.sim.figures import Figures
    from tmrld.envs.sim.track import Track

SKETCH_ROWS = 24


def add(commands: Any) -> None:
    """Add `tmrld track` to the command line."""
    track = commands.add_parser("track", help="the simulator's tracks: new, list, show", description="The simulator's tracks.")
    actions = track.add_subparsers(required=True, metavar="ACTION")
    new = actions.add_parser("new", help="generate a track, and say under which name settings know it")
    new.add_argument("--seed", type=whole, metavar="N", help="another track for each (default: drawn)")
    new.add_argument("--length", type=positive, default=650, metavar="M", help="metres from start to finish (default: 650)")
    new.add_argument("--difficulty", default="medium", metavar="easy|medium|hard", help="how it drives (default: medium)")
    _add_output(new)
    new.set_defaults(command=_new)
    listing = actions.add_parser("list", help="the tracks that tmrld brings")
    listing.add_argument("--json", action="store_true", help="print JSON, for scripts")
    listing.set_defaults(command=_list)
    show = actions.add_parser("show", help="what a track measures, and a sketch of it")
    show.add_argument("name", metavar="NAME", help="as in the setting run.environment.track")
    _add_output(show)
    show.set_defaults(command=_show)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--line", type=Path, metavar="FILE", help="write its reward line there: x, y, z as .npy, else as text")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write a map of it there")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _new(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.sim.generator import generated

    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    return _present(generated(options.difficulty, options.length, seed), options)


def _show(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.sim.tracks import named

    return _present(named(options.name), options)


def _list(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.sim.figures import figures
    from tmrld.envs.sim.tracks import BUNDLED

    found = [figures(track) for track in BUNDLED.values()]
    if options.json:
        print_json({"items": [asdict(each) for each in found]})
        return 0
    rows = [
        (each.name, f"{each.length_m:,.0f} m", str(each.corners), _radius(each), _width(each), str(each.crossings))
        for each in found
    ]
    print_table(("track", "length", "corners", "tightest radius", "width", "crossings"), rows, "")
    return 0


def _present(track: Track, options: argparse.Namespace) -> int:
    """Figures and sketch of one track; its line into a file, if that is asked for."""
    from tmrld.envs.sim.figures import figures, sketch

    if options.png is not None:
        _write_map(track, options.png, replace=options.force)
    if options.line is not None:
        _write_line(track, options.line, replace=options.force)
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


def _write_map(track: Track, path: Path, *, replace: bool) -> None:
    """A map as a PNG.  Raises BadInput, Conflict and StorageError."""
    from tmrld.envs.sim.map import portrait
    from tmrld.worker.pictures import write_png

    if path.suffix.lower() != ".png":
        raise BadInput(f"--png {str(path)!r} does not end in .png: maps are written as PNG alone")
    if path.exists() and not replace:
        raise Conflict(f"{path} exists already: name another file with --png, or replace it with --force")
    write_png(path, portrait(track))


def _write_line(track: Track, path: Path, *, replace: bool) -> None:
    """The reward line as `tmrld.envs.trackmania.tracks.read` reads it.  Raises Conflict and StorageError."""
    import numpy as np

    if path.exists() and not replace:
        raise Conflict(f"{path} exists already: name another file with --line, or replace it with --force")
    data = io.BytesIO()
    if path.suffix == ".npy":
        np.save(data, track.line)
    else:
        np.savetxt(data, track.line, fmt="%.6f")
    partial = path.with_name(f"{path.name}.part")
    try:
        partial.write_bytes(data.getvalue())
        partial.replace(path)  # a whole file or none
    except OSError as error:
        raise StorageError(f"the line cannot be written to {path}: {error.strerror or error}") from error
