"""Plots of the benchmarks, in one style.  Needs matplotlib, which the extra ``bench`` brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot

COLOURS = ("#2f6fb3", "#d1752a", "#3f8f55", "#8a5aa8", "#b8443f", "#5f6b73", "#b59a2b", "#38888f")


class Profile(Protocol):
    """A lap as it is drawn: metres along the track, m/s, and the brake from 0 to 1."""

    @property
    def metres(self) -> Sequence[float]: ...

    @property
    def speed(self) -> Sequence[float]: ...

    @property
    def brake(self) -> Sequence[float]: ...


def learning_curve(
    path: Path, minutes: Sequence[float], curves: Mapping[str, Sequence[float]], targets: Mapping[str, float]
) -> None:
    """A panel for each curve over the minutes of training, with its target as a dashed line."""
    figure, axes = pyplot.subplots(
        len(curves), 1, figsize=(7.0, 2.4 * len(curves)), sharex=True, layout="constrained", squeeze=False
    )
    for axis, colour, (name, values) in zip(axes[:, 0], COLOURS, curves.items(), strict=False):
        axis.plot(minutes, values, color=colour, marker="o", markersize=4)
        axis.axhline(targets[name], color="0.5", linewidth=1.0, linestyle="--")
        axis.set_ylabel(name)
        _plain(axis)
    axes[-1, 0].set_xlabel("minutes of training")
    _save(figure, path)


def curves(
    path: Path,
    lines: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    levels: Mapping[str, float],
    across: str,
    upwards: str,
) -> None:
    """Several lines (places, values) per name, in a colour each, and named levels, dashed."""
    figure, axis = pyplot.subplots(figsize=(7.0, 4.0), layout="constrained")
    for colour, (name, drawn) in zip(COLOURS, lines.items(), strict=False):
        for number, (places, values) in enumerate(drawn):
            axis.plot(places, values, color=colour, alpha=0.8, label=name if number == 0 else None)
    for name, value in levels.items():
        axis.axhline(value, color="0.5", linewidth=1.0, linestyle="--")
        axis.annotate(name, (0.01, value), xycoords=("axes fraction", "data"), va="bottom", fontsize=8, color="0.4")
    axis.legend(frameon=False, loc="upper left")
    axis.set_xlabel(across)
    axis.set_ylabel(upwards)
    _plain(axis)
    _save(figure, path)


def speed_profiles(path: Path, laps: Mapping[str, Profile]) -> None:
    """Speed and brake of some laps over the way, one above the other."""
    figure, (speeds, brakes) = pyplot.subplots(
        2, 1, figsize=(8.0, 4.6), sharex=True, layout="constrained", gridspec_kw={"height_ratios": (3, 1)}
    )
    for colour, (name, lap) in zip(COLOURS, laps.items(), strict=False):
        speeds.plot(lap.metres, [3.6 * speed for speed in lap.speed], color=colour, label=name)
        brakes.plot(lap.metres, lap.brake, color=colour)
    speeds.set_ylabel("speed, km/h")
    speeds.legend(frameon=False)
    brakes.set_ylabel("brake")
    brakes.set_xlabel("metres along the track")
    for axis in (speeds, brakes):
        _plain(axis)
    _save(figure, path)


def histograms(path: Path, panels: Mapping[str, Mapping[str, NDArray[np.float64]]], counted: str, measured: str) -> None:
    """A panel for each set of positive values, both axes logarithmic, so that the rare large ones are seen."""
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(7.0, 2.8 * len(panels)), sharex=True, layout="constrained", squeeze=False
    )
    everything = np.concatenate([values for panel in panels.values() for values in panel.values()])
    edges = np.geomspace(everything[everything > 0].min(), everything.max(), 60)
    for axis, (title, panel) in zip(axes[:, 0], panels.items(), strict=True):
        for colour, (name, values) in zip(COLOURS, panel.items(), strict=False):
            axis.hist(values, edges, histtype="step", color=colour, label=name)
        axis.set(xscale="log", yscale="log", ylabel=counted, title=title)
        _plain(axis)
    axes[0, 0].legend(frameon=False)
    axes[-1, 0].set_xlabel(measured)
    _save(figure, path)


def _plain(axis: matplotlib.axes.Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="0.92")
    axis.set_axisbelow(True)


def _save(figure: matplotlib.figure.Figure, path: Path) -> None:
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
