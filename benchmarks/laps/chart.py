"""A reference lap as a picture: the road with the line in the colour of its speed, and speed and pedals over the way."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from matplotlib.collections import LineCollection

from laps.drive import Lap, places_of
from laps.quasi_steady import SteadyLap
from laps.road import Road
from tmrld.envs.sim.track import BORDER_M


def draw(road: Road, lap: Lap, steady: SteadyLap, path: Path) -> None:
    """Write the picture as PNG.  ``steady`` has a speed at each of the road's nodes."""
    track = road.track
    speed = np.hypot(lap.states[:, 3], lap.states[:, 4]) * 3.6
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8.0, 9.0), layout="constrained", gridspec_kw={"height_ratios": (3, 1)}
    )
    s = np.arange(-track.run_in, track.length + track.run_out, 1.0)
    x, z, heading = track.centre(s)
    for reach, colour in ((track.half_width(s) + BORDER_M, "0.2"), (track.half_width(s), "0.85")):
        right = x + reach * np.cos(heading), z - reach * np.sin(heading)
        left = x - reach * np.cos(heading), z + reach * np.sin(heading)
        above.fill(np.append(right[0], left[0][::-1]), np.append(right[1], left[1][::-1]), color=colour, linewidth=0)
    points = lap.states[:, :2]
    line = LineCollection(list(np.stack([points[:-1], points[1:]], axis=1)), cmap="turbo", linewidths=2.0)
    line.set_array(speed[1:])
    above.add_collection(line)
    figure.colorbar(line, ax=above, label="speed, km/h", shrink=0.6)
    above.set_aspect("equal")
    above.set_axis_off()
    above.set_title(f"{track.name}: {lap.lap_time_s:.2f} s")
    places = places_of(track, lap.states)
    below.plot(places, speed, color="#2f6fb3", label="replayed lap")
    below.plot(road.s, steady.speed * 3.6, color="#d1752a", linewidth=1.0, label="quasi-steady")
    below.fill_between(places[:-1], 0.0, 20.0 * lap.actions[:, 1], color="#8a5aa8", linewidth=0, label="brake")
    below.set_xlabel("metres along the track")
    below.set_ylabel("km/h")
    below.legend(frameon=False, ncols=3)
    below.grid(color="0.92")
    below.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
