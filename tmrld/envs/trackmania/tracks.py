"""Reading a recorded line: N × 3 points (x, y up, z, in metres), 0.1 m apart after `resampled`.

Two formats are understood: NumPy's ``.npy`` (never pickled objects) and text, three numbers a line, parted by commas or blanks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmrld.envs.options import names_a_file
from tmrld.errors import WorldError
from tmrld.npy import MAGIC, read_npy

SPACING_M = 0.1
MIN_POINTS = 3
"""After resampling; TMRL falls back to a dummy line of two points, which trains nothing."""
MAX_POINTS = 1_000_000
"""100 km: a longer line is a mistake in its unit."""
FARTHEST_M = 1e9
"""No point lies further from the origin: the length of such a line would be no number."""


def name_of(track: str) -> str:
    """What a track is called: the name of its file, if it is one, without ending and folder."""
    return Path(track).stem if names_a_file(track) else track


def read(path: Path, *, as_it_is: bool = False) -> NDArray[np.float64]:
    """The line stored at ``path``, resampled unless wanted ``as_it_is``: (n, 3).

    Raises WorldError when it is missing, damaged or too short.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WorldError(
            f"the reward line {path} cannot be read ({error.strerror}): docs/trackmania.md says how to get one"
        ) from error
    return parse(data, str(path), as_it_is=as_it_is)


def parse(data: bytes, source: str, *, as_it_is: bool = False) -> NDArray[np.float64]:
    """The line held in ``data``, resampled unless wanted ``as_it_is``: (n, 3); ``source`` names it in errors.  Raises WorldError."""
    try:
        if data.startswith(MAGIC):
            points = read_npy(data)
        else:
            rows = [row for row in data.decode("utf-8").replace(",", " ").splitlines() if row.partition("#")[0].strip()]
            points = np.loadtxt(rows, ndmin=2) if rows else np.zeros((0, 3))
        points = np.asarray(points, np.float64)
    except (ValueError, TypeError) as error:
        raise WorldError(f"{source} is not a line of points (x, y, z as text, or a .npy file): {error}") from error
    line = resampled(points, source)
    return points if as_it_is else line


def kept(points: ArrayLike, source: str = "the line") -> NDArray[np.float64]:
    """The line as tracks are kept: its own points where they lie as they should, which TMRL's do, and `resampled` otherwise.

    Raises WorldError as `resampled` does.
    """
    line = resampled(points, source)
    own = np.asarray(points, np.float64)
    gaps = np.linalg.norm(np.diff(own, axis=0), axis=1)
    lies_well = gaps.max() < 1.6 * SPACING_M and abs(float(np.median(gaps)) / SPACING_M - 1.0) < 0.01
    return own if lies_well else line


def resampled(points: ArrayLike, source: str = "the line") -> NDArray[np.float64]:
    """Points every `SPACING_M` along the polyline through ``points`` (n, 3), its last point included: (m, 3).

    Raises WorldError unless the points are finite, (n, 3), and at least 0.2 m long together.
    """
    line = np.asarray(points, np.float64)
    if line.ndim != 2 or line.shape[1] != 3:
        raise WorldError(
            f"{source} must hold points of three numbers (x, y, z), not an array of shape {line.shape}: record it again"
        )
    if not (np.abs(line) <= FARTHEST_M).all():
        raise WorldError(
            f"{source} holds points that are no places of a map (x, y and z must be numbers of at most {FARTHEST_M:,.0f} m): record "
            "it again"
        )
    reached = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]) if len(line) else np.zeros(1)
    length = float(reached[-1])
    count = int(round(length / SPACING_M, 6)) + 1
    if count < MIN_POINTS:
        raise WorldError(
            f"{source} is too short: {len(line)} points over {length:.2f} m, at least {(MIN_POINTS - 1) * SPACING_M:.1f} m "
            "are needed: record a whole lap"
        )
    if count > MAX_POINTS:
        raise WorldError(
            f"{source} is {length / 1000:.0f} km long, at most {MAX_POINTS * SPACING_M / 1000:.0f} km are accepted: "
            "is its unit metres?"
        )
    along = np.arange(count) * SPACING_M
    if length - along[-1] > SPACING_M / 2:
        along = np.append(along, length)
    else:
        along[-1] = length
    return np.column_stack([np.interp(along, reached, line[:, axis]) for axis in range(3)])
