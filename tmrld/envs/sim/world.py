"""The simulator as a world to drive in: the car on its track, in lockstep or against the wall clock.

In lockstep, time is what the driver makes of it: a control starts a time step, a look happens ``capture_s`` into it, and the next
control ends it.  So an action works on the observation that follows the next one, exactly as in real time, however fast
the steps go by.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tmrld.envs.sim.beams import Beams
from tmrld.envs.sim.car import FRONT_M, REAR_M, Car, substeps
from tmrld.envs.sim.ground import ground_of
from tmrld.envs.sim.track import Track
from tmrld.envs.trackmania.interface import Moment
from tmrld.errors import WorldError

LONGEST_GAP_S = 1.0
"""On the wall clock, a longer silence (a computer that slept) counts as this much."""

PERTURBATIONS = {"offset_m": 0.0, "heading_deg": 0.0, "grip": 0.0}
"""What a reset may vary, each uniformly between minus and plus its value: metres to the side, degrees, share of the grip."""


class SimWorld:
    """One car on one track."""

    def __init__(
        self, track: Track, beams: Beams, step_s: float, capture_s: float, clock: Callable[[], float] | None = None
    ) -> None:
        """``clock`` tells monotonic seconds; without one, the world runs in lockstep."""
        self.track = track
        self._ground = ground_of(track)
        self._gates = track.gates
        self._beams = beams
        self._step_s = step_s
        self._capture_s = capture_s
        self._clock = clock
        self._car = Car()
        self._controls = (0.0, 0.0, 0.0)
        self._time = 0.0
        self._since = 0.0  # lockstep: simulated seconds since this step's control; wall clock: when it was last looked at
        self._stepping = False
        self._next_gate = 0
        self._lap_time_s: float | None = None

    def reset(self, seed: int | None, options: dict[str, Any]) -> Moment:
        """To the start line; ``options["perturb"]`` varies the start by the seed (`PERTURBATIONS`).  Raises WorldError."""
        offset, turn, grip = _perturbation(seed, options.get("perturb"))
        start = self.track.pose(0.0).right(offset)
        self._car = Car(start.x, start.z, start.heading + turn, 1.0 + grip)
        self._controls = (0.0, 0.0, 0.0)
        self._time = 0.0
        self._stepping = False
        self._since = self._clock() if self._clock else 0.0
        self._next_gate = 0
        self._lap_time_s = None
        return self._moment()

    def control(self, gas: float, brake: float, steer: float) -> None:
        """Drive on as before until now, and hold these controls from here."""
        if self._clock:
            self._catch_up()
        elif self._stepping:
            self._advance(self._step_s - self._since)
        self._since = 0.0 if self._clock is None else self._since
        self._stepping = True
        self._controls = (gas, brake, steer)

    def look(self) -> Moment:
        """Drive until the moment of capture, and look."""
        if self._clock:
            self._catch_up()
        else:
            self._advance(self._capture_s - self._since)
            self._since = self._capture_s
        return self._moment()

    def pause(self) -> None:
        """Between episodes the car stays where it is: only a reset matters."""

    def _catch_up(self) -> None:
        assert self._clock is not None
        now = self._clock()
        self._advance(min(now - self._since, LONGEST_GAP_S))
        self._since = now

    def _advance(self, duration_s: float) -> None:
        if duration_s <= 0.0:
            return
        # The ground under the wheels and the gates are looked at once: a car moves a metre or two in this time.
        car, on_road = self._car, self._ground.on_road
        x, z = car.x, car.z
        ahead_x, ahead_z = math.sin(car.heading), math.cos(car.heading)
        front = on_road(x + FRONT_M * ahead_x, z + FRONT_M * ahead_z)
        rear = on_road(x - REAR_M * ahead_x, z - REAR_M * ahead_z)
        count, dt = substeps(duration_s)
        gas, brake, steer = self._controls
        for _ in range(count):
            car.step(dt, gas, brake, steer, front, rear)
        if self._next_gate < len(self._gates):
            share = self._gates[self._next_gate].crossed(x, z, car.x, car.z)
            if share is not None:
                self._next_gate += 1
                if self._next_gate == len(self._gates):
                    self._lap_time_s = self._time + share * duration_s
        self._time += duration_s

    def _moment(self) -> Moment:
        car = self._car
        return Moment(
            x=car.x,
            y=0.0,
            z=car.z,
            heading=car.heading,
            speed=car.speed,
            lidar=self._beams.distances(self._ground, car.x, car.z, car.heading),
            finished=self._lap_time_s is not None,
            lap_time_s=self._lap_time_s,
            next_gate_m=self._gates[self._next_gate].metres if self._next_gate < len(self._gates) else math.inf,
        )


def _perturbation(seed: int | None, wanted: Any) -> tuple[float, float, float]:
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
