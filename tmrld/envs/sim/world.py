"""The simulator as a world to drive in: a car on its track, under the conditions of the episode.

When things happen is `timing`'s business: the car drives on from one moment to the next, whether these moments were worked out
(lockstep) or read off a clock.  So both are the same simulator: the same seed and the same actions at the same moments give the
same episode.

What the settings of randomisation change, each drawn by the episode's seed: where the car starts; its grip and power; how long a
control takes to reach the car (``latency_s``: pending controls wait in a queue, in either kind of time); late steps, which
hold the action before (drawn in lockstep only: on a clock they happen, `timing` says what follows from them); and frames that do
not arrive, so that the one before is seen again beside telemetry that is new.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from tmrld.envs.options import RandomisationOptions
from tmrld.envs.sim.camera import look_of
from tmrld.envs.sim.car import FRONT_M, REAR_M, ROUNDING, Car, substeps
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.place import Place
from tmrld.envs.sim.randomness import conditions, dropped_frames, late_steps
from tmrld.envs.sim.sensors import Sensor
from tmrld.envs.sim.timing import Timing
from tmrld.envs.sim.track import Gate, Track
from tmrld.envs.trackmania.interface import Moment
from tmrld.errors import WorldError

PIECE_S = 0.05
"""The ground under the wheels and the gates are looked at once in this time: a car moves a few metres at most."""

NEAR_M = 30.0
"""Along the track: a gate that is further away may lie above or below the car.  A car that cuts a corner passes nearer to it."""

PERTURBATIONS = {"offset_m": 0.0, "heading_deg": 0.0, "grip": 0.0}
"""What a reset may vary, each uniformly between minus and plus its value: metres to the side, degrees, share of the grip."""


class SimWorld:
    """One car on one track at a time."""

    def __init__(
        self,
        tracks: Callable[[int], Track],
        sensor: Sensor,
        timing: Timing,
        randomisation: RandomisationOptions | None = None,
    ) -> None:
        """``tracks`` gives the track of the episode with a seed."""
        self._tracks = tracks
        self._sensor = sensor
        self._timing = timing
        self._randomisation = randomisation or RandomisationOptions()
        self._enter(tracks(0))
        self._begin(0, 0.0, 0.0, 0.0)

    def reset(self, seed: int | None, options: dict[str, Any]) -> Moment:
        """To the start line of the seed's track; without a seed, as with seed 0.

        ``options["perturb"]`` varies the start further, by the seed (`PERTURBATIONS`).  Raises WorldError.
        """
        self._begin(seed or 0, *_perturbation(seed or 0, options.get("perturb")))
        return self._moment()

    def control(self, gas: float, brake: float, steer: float) -> None:
        """Drive on as before until now; the car holds these controls from here, or from when they reach it."""
        now = self._timing.control()
        self._drive_until(now)
        self._pending.append((now + self._latency_s, (gas, brake, steer)))

    def look(self) -> Moment:
        """Drive until the moment of capture, and look.  What is seen may be the same array as before."""
        self._drive_until(self._timing.look())
        if not next(self._dropped):
            self._see()
        return self._moment()

    def pause(self) -> None:
        """Between episodes the car stays where it is: only a reset matters."""

    user_drives = False
    """Nobody else has controls here."""

    def release(self) -> None:
        """Nothing outside this process is held."""

    def close(self) -> None:
        """Nothing outside this process is held."""

    def _enter(self, track: Track) -> None:
        self.track = track
        """The track of this episode."""
        self._grounds = [ground_of(track, deck) for deck in range(track.decks)]
        self._gates = track.gates

    def _begin(self, seed: int, offset_m: float, turn: float, grip: float) -> None:
        drawn = conditions(self._randomisation, seed)
        track = self._tracks(seed)
        if track is not self.track:
            self._enter(track)
        self._place = Place(track) if track.decks > 1 else None
        self._ground = self._grounds[track.deck(0.0)]
        start = self.track.pose(0.0).right(offset_m + drawn.start_offset_m)
        self._car = Car(start.x, start.z, start.heading + turn + drawn.start_heading, drawn.grip + grip, drawn.power)
        self._latency_s = drawn.latency_s
        self._dropped = dropped_frames(self._randomisation, seed)
        self.appearance = look_of(drawn)
        """How this episode looks."""
        self._controls = (0.0, 0.0, 0.0)
        self._pending: deque[tuple[float, tuple[float, float, float]]] = deque()  # controls, each with when it reaches the car
        self._next_gate = 0
        self._lap_time_s: float | None = None
        self._see()
        self._time = 0.0
        self._timing.start(late_steps(self._randomisation, seed))

    def _drive_until(self, time_s: float) -> None:
        while self._pending and self._pending[0][0] <= time_s:
            arrives, controls = self._pending.popleft()
            self._drive(arrives - self._time)
            self._time = arrives
            self._controls = controls
        self._drive(time_s - self._time)
        self._time = time_s

    def _drive(self, duration_s: float) -> None:
        """Drive on with the same controls."""
        if duration_s <= 0.0:
            return
        pieces = max(1, math.ceil(duration_s / PIECE_S - ROUNDING))
        for piece in range(pieces):
            self._drive_piece(self._time + duration_s * piece / pieces, duration_s / pieces)

    def _drive_piece(self, time_s: float, duration_s: float) -> None:
        car, on_road = self._car, self._ground.on_road
        x, z = car.x, car.z
        ahead_x, ahead_z = math.sin(car.heading), math.cos(car.heading)
        front = on_road(x + FRONT_M * ahead_x, z + FRONT_M * ahead_z)
        rear = on_road(x - REAR_M * ahead_x, z - REAR_M * ahead_z)
        count, dt = substeps(duration_s)
        gas, brake, steer = self._controls
        for _ in range(count):
            car.step(dt, gas, brake, steer, front, rear)
        if self._place is not None:
            self._place.follow(car.x, car.z)
            self._ground = self._grounds[self._place.deck]
        if self._next_gate < len(self._gates) and self._is_near(self._gates[self._next_gate]):
            share = self._gates[self._next_gate].crossed(x, z, car.x, car.z)
            if share is not None:
                self._next_gate += 1
                if self._next_gate == len(self._gates):
                    self._lap_time_s = time_s + share * duration_s

    def _is_near(self, gate: Gate) -> bool:
        """Whether the car is on the gate's part of the track, not on a bridge over it."""
        return self._place is None or abs(self._place.metres - gate.metres) < NEAR_M

    def _see(self) -> None:
        self._seen = self._sensor.see(self._ground, self._car.x, self._car.z, self._car.heading, self.appearance)

    def _moment(self) -> Moment:
        car = self._car
        return Moment(
            x=car.x,
            y=self._place.height if self._place is not None else 0.0,
            z=car.z,
            heading=car.heading,
            speed=car.speed,
            gear=car.gear,
            rpm=car.rpm,
            seen=self._seen,
            finished=self._lap_time_s is not None,
            lap_time_s=self._lap_time_s,
            next_gate_m=self._gates[self._next_gate].metres if self._next_gate < len(self._gates) else math.inf,
            held=self._controls,
        )


def _perturbation(seed: int, wanted: Any) -> tuple[float, float, float]:
    """Offset in metres, turn in radians, and change of grip, drawn by the seed."""
    if not wanted:
        return 0.0, 0.0, 0.0
    if not isinstance(wanted, dict) or not all(isinstance(value, int | float) and value >= 0 for value in wanted.values()):
        raise WorldError(
            f"perturb is {wanted!r}: it must name sizes of 0 or more, as in {{'offset_m': 2.0, 'heading_deg': 10.0, 'grip': 0.1}}"
        )
    unknown = sorted(set(wanted) - set(PERTURBATIONS))
    if unknown:
        raise WorldError(
            f"perturb names {', '.join(unknown)}, which the simulator cannot vary: it knows {', '.join(PERTURBATIONS)}"
        )
    sizes = {**PERTURBATIONS, **wanted}
    draw = np.random.default_rng(seed).uniform(-1.0, 1.0, 3).tolist()
    return draw[0] * sizes["offset_m"], draw[1] * math.radians(sizes["heading_deg"]), draw[2] * sizes["grip"]
