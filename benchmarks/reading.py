"""How well convolutions read a picture: each learns to tell the 19 beams of the LIDAR from the four frames of the full flavour.

The scripted driver, disturbed by noise that differs from episode to episode, drives the simulator's tracks from perturbed starts, so
that scenes of all kinds are there: straight ahead, askew, beside the road.  Frames come as the environment gives them, beams from the
pose of the same moment.  Every kind of ``network.cnn`` then learns on four tracks, with the same hidden layers behind it, the same
batches, learning rate and number of updates, on one thread, and is asked about two tracks that it never saw.  Errors are in pixels of
the LIDAR's window, 958 by 488, the root of the mean square over all beams.

Beside the error after all updates stands that after as much processor time as the default needs for them, and the multiply-adds of
the convolutions, for one observation of four gray or colour frames of 64 by 64.

    python benchmarks/reading.py --csv benchmarks/results/reading.csv

The results are those of this command: on both seeds the default is less far off than the others after all updates, and after an
eighth of them about as far as TMRL's is after half.  Single points scatter by some 2 pixels, now and then by 8.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from plotting import curves
from report import print_report
from torch import Generator, Tensor, nn
from torch.nn import functional
from training import keep
from turns import one_thread

from tmrld.envs.options import FULL_ID, EnvironmentOptions
from tmrld.envs.registry import describe, make
from tmrld.envs.sim.camera import PLAIN
from tmrld.envs.sim.env import SimInterface
from tmrld.envs.sim.scripted import scripted
from tmrld.envs.sim.sensors import LidarSensor
from tmrld.payloads import EnvSpec
from tmrld.rl.convolutions import LAYERS, convolutions
from tmrld.rl.images import ImageReader, readable
from tmrld.rl.layers import Linear
from tmrld.rl.networks import Trunk
from tmrld.rl.observations import image_parts
from tmrld.rl.options import NetworkOptions

LEARNED = ("short", "long", "white", "green")
HELD_OUT = ("default", "blue")
WINDOW = (958, 488)
"""The LIDAR's, TMRL's own."""
BEAMS = 19
START = {"perturb": {"offset_m": 4.0, "heading_deg": 25.0, "grip": 0.2}}
EPISODE_STEPS = 1000
OURS, TMRLS = "patches", "tmrl"
POINTS = 24
"""Errors along a learning curve."""


@dataclass(frozen=True)
class Scenes:
    """What was seen: frames (scenes, history, height, width) uint8, and beams (scenes, 19) of the same moments in pixels."""

    frames: NDArray[np.uint8]
    beams: NDArray[np.float32]

    @classmethod
    def of(cls, tracks: Sequence[str], each: int, seed: int) -> Scenes:
        """So many scenes of each track."""
        frames, beams = [], []
        for track in tracks:
            for _, (seen, measured) in zip(range(each), driven(track, seed), strict=False):
                frames.append(seen)
                beams.append(measured)
        return cls(np.stack(frames), np.stack(beams))


@dataclass(frozen=True)
class Point:
    """Where a learner stands: updates, seconds of processor time that they took, and its error on the tracks held out, in pixels."""

    updates: int
    seconds: float
    error: float


def driven(track: str, seed: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Every second step of episodes without end: the frames as the environment gives them, and the beams."""
    environment = make(EnvironmentOptions(id=FULL_ID, track=track, max_steps=EPISODE_STEPS))
    interface = environment.get_wrapper_attr("interface")
    assert isinstance(interface, SimInterface)
    lidar, rng = LidarSensor(*WINDOW), np.random.default_rng(seed)
    while True:
        observation, info = environment.reset(seed=int(rng.integers(2**31)), options=START)
        size, keeps, noise = rng.uniform(0.0, 1.0), rng.uniform(0.7, 0.98), np.zeros(3)
        ended, step = False, 0
        while not ended:
            beams = lidar.see(interface.ground(info), info["x"], info["z"], info["heading"], PLAIN)
            if step % 2 == 0:
                yield observation[3].copy(), beams
            noise = keeps * noise + np.sqrt(1.0 - keeps**2) * size * rng.standard_normal(3)
            action = np.clip(scripted((observation[0], beams[None])) + noise, -1.0, 1.0).astype(np.float32)
            observation, _, terminated, truncated, info = environment.step(action)
            ended, step = terminated or truncated, step + 1


class Reader(nn.Module):
    """A policy's way from frames to its hidden layers, and the beams behind them: (batch, …) uint8 → (batch, 19)."""

    def __init__(self, spec: EnvSpec, options: NetworkOptions, seed: int) -> None:
        super().__init__()
        generator = Generator().manual_seed(seed)
        ((self._part,), (layers,)) = image_parts(spec), convolutions(spec, options)
        self._spec = spec
        self.images = ImageReader(layers, options, None, generator)
        self.trunk = Trunk(layers[-1].size, options, generator)
        self.head = Linear(self.trunk.size, BEAMS, generator)

    def forward(self, frames: Tensor) -> Tensor:
        beams: Tensor = self.head(self.trunk(self.images(readable(self._spec, {self._part.name: frames})[self._part.name])))
        return beams


def learned(
    reader: Reader, learn: Scenes, held_out: Scenes, updates: int, batch: int, learning_rate: float, seed: int
) -> list[Point]:
    """The learning curve of a reader; beams are learned as shares of their spread."""
    mean, spread = torch.from_numpy(learn.beams.mean(axis=0)), float(learn.beams.std())
    frames, beams = torch.from_numpy(learn.frames), (torch.from_numpy(learn.beams) - mean) / spread
    unseen, expected = torch.from_numpy(held_out.frames), torch.from_numpy(held_out.beams)
    optimizer = torch.optim.Adam(reader.parameters(), learning_rate, fused=True)
    rng = np.random.default_rng(seed)
    points, seconds = [], 0.0
    for update in range(1, updates + 1):
        start = time.process_time()
        rows = torch.from_numpy(rng.integers(0, len(frames), batch))
        loss = functional.mse_loss(reader(frames[rows]), beams[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        seconds += time.process_time() - start
        if update * POINTS % updates < POINTS:
            with torch.no_grad():
                told = torch.cat([reader(part) for part in torch.split(unseen, 100)]) * spread + mean
            points.append(Point(update, seconds, float(functional.mse_loss(told, expected).sqrt())))
    return points


def multiply_adds(spec: EnvSpec, options: NetworkOptions) -> int:
    """What the convolutions take for one observation."""
    return sum(layer.multiply_adds for layers in convolutions(spec, options) for layer in layers)


def at_time(points: Sequence[Point], seconds: float) -> float:
    """The error after so much processor time, on the straight line between the points around it."""
    return float(np.interp(seconds, [point.seconds for point in points], [point.error for point in points]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=4000, help="of each track that is learned (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=500, help="of each track that is held out (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=1500, help="of each reader (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="scenes per update (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="readers of each kind (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="where to keep all points of the curves; a plot lies beside it, as .png")
    options = parser.parse_args()
    one_thread()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    gray = spec_of(grayscale=True)
    colour = spec_of(grayscale=False)
    learn, held_out = Scenes.of(LEARNED, options.scenes, seed=0), Scenes.of(HELD_OUT, options.held_out, seed=1)
    nothing = float(np.sqrt(np.square(held_out.beams - learn.beams.mean(axis=0)).mean()))
    print(f"the mean of the learned beams is {nothing:.2f} pixels off", flush=True)
    found: dict[str, list[list[Point]]] = {cnn: [] for cnn in LAYERS}
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for cnn in LAYERS:
            reader = Reader(gray, NetworkOptions(cnn=cnn), seed)
            curve = learned(reader, learn, held_out, options.updates, options.batch, options.learning_rate, seed)
            found[cnn].append(curve)
            for point in curve:
                row = {"cnn": cnn, "seed": seed, "updates": point.updates, "seconds": round(point.seconds, 2)}
                rows.append(row | {"error_px": round(point.error, 3)})
            keep(options.csv, rows)
            print(f"{cnn:<8} seed {seed}: {curve[-1].error:6.2f} pixels after {curve[-1].seconds:6.1f} s", flush=True)
    if options.csv is not None:
        drawn = {cnn: [([p.seconds for p in each], [p.error for p in each]) for each in found[cnn]] for cnn in found}
        curves(options.csv.with_suffix(".png"), drawn, {"mean": nothing}, "seconds of processor time", "error in pixels")
    print_report("reading", results(found, nothing, gray, colour))


def spec_of(*, grayscale: bool) -> EnvSpec:
    """The full flavour's images, gray or in colour, and nothing beside them."""
    options = EnvironmentOptions(id=FULL_ID, grayscale=grayscale)
    environment = make(options)
    spec = describe(environment, options)
    environment.close()
    return replace(spec, parts=image_parts(spec), action_buffer=0)


def results(found: dict[str, list[list[Point]]], nothing: float, gray: EnvSpec, colour: EnvSpec) -> list[dict[str, Any]]:
    """Means over the seeds, as `print_report` takes them."""
    last = {cnn: statistics.fmean(curve[-1].error for curve in each) for cnn, each in found.items()}
    budgets = [curve[-1].seconds for curve in found[OURS]]
    timed = {
        cnn: statistics.fmean(at_time(curve, seconds) for curve, seconds in zip(each, budgets, strict=True))
        for cnn, each in found.items()
    }
    cost = {cnn: statistics.fmean(1e3 * curve[-1].seconds / curve[-1].updates for curve in each) for cnn, each in found.items()}
    rows = [
        ("error_px", last, "pixels", last[TMRLS], {"mean of the beams": nothing}),
        ("error_at_equal_time_px", timed, "pixels", timed[TMRLS], {}),
        ("update_ms", cost, "ms", None, {}),
    ]
    for name, spec in (("multiply_adds_gray", gray), ("multiply_adds_colour", colour)):
        counts = {cnn: float(multiply_adds(spec, NetworkOptions(cnn=cnn))) for cnn in LAYERS}
        rows.append((name, counts, "", counts[TMRLS] / 20, {"VanillaCNN's over ours": counts[TMRLS] / counts[OURS]}))
    return [
        {
            "metric": metric,
            "value": values[OURS],
            "unit": unit,
            "target": target,
            "peers": {cnn: value for cnn, value in values.items() if cnn != OURS} | others,
        }
        for metric, values, unit, target, others in rows
    ]


if __name__ == "__main__":
    main()
