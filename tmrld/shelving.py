"""What goes on the shelf: files are checked strictly before they do, and their facts are told.

Neither the shelf (`tmrld.storage.shelf`) nor the relay knows what its files hold: a daemon hands them `accepted`.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tmrld.envs.trackmania import tracks
from tmrld.errors import BadInput
from tmrld.protocol import demonstrations
from tmrld.rl.weights import unpack


def about(kind: str, data: bytes) -> dict[str, Any]:
    """The facts of a file of this kind.

    Tracks: ``length_m``, ``points``; weights: ``environment``, ``update``, ``run``, ``version``; demonstrations: ``environment``,
    ``track``, ``episodes``, ``transitions``, ``finished``.  Raises BadInput for one that is not as it has to be.
    """
    match kind:
        case "tracks":
            return _about_track(data)
        case "weights":
            manifest, _ = unpack(data)
            return {
                "environment": manifest.spec.id,
                "update": manifest.update,
                "run": manifest.run,
                "version": manifest.version,
            }
        case "demonstrations":
            return _about_demonstrations(data)
        case _:
            raise BadInput(f"{kind!r} is no kind of file: there are tracks, weights and demonstrations")


def accepted(kind: str, data: bytes) -> tuple[bytes, dict[str, Any]]:
    """A file as it goes on the shelf, and its facts: a line in any format that we read becomes a track.  Raises BadInput."""
    try:
        return data, about(kind, data)
    except BadInput:
        if kind != "tracks":
            raise
    data = track_file(tracks.parse(data, "the file", as_it_is=True))
    return data, about(kind, data)


def track_file(points: ArrayLike) -> bytes:
    """A line, (n, 3) in metres, as a track for the shelf.  Raises WorldError for one that is too short or not finite."""
    file = io.BytesIO()
    np.save(file, tracks.kept(points))
    return file.getvalue()


def _about_track(data: bytes) -> dict[str, Any]:
    line = tracks.parse(data, "the track", as_it_is=True)
    gaps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    if not data.startswith(b"\x93NUMPY") or (gaps > 2 * tracks.SPACING_M).any():
        raise BadInput(f"the track is not a .npy of points {tracks.SPACING_M:g} m apart: import it with `tmrld track import`")
    return {"length_m": float(gaps.sum()), "points": len(line)}


def _about_demonstrations(data: bytes) -> dict[str, Any]:
    found = demonstrations.unpack(data)
    episodes = transitions = finished = 0
    for chunk in found.chunks:
        transitions += chunk.steps
        if chunk.summary is not None:
            episodes += 1
            finished += chunk.summary.finished
    if not transitions:
        raise BadInput("the demonstrations hold no episode: record some with `tmrld env run --save`")
    return {
        "environment": found.spec.id,
        "track": found.track,
        "episodes": episodes,
        "transitions": transitions,
        "finished": finished,
    }
