"""The game without its window: a race, the simulator's car in it, and what the plugin would tell of both.

Time comes in with every frame.  What is held acts from one frame to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tmrld.envs.sim.track import Track
from tmrld.envs.sim.world import SimWorld
from tmrld.envs.standin.inputs import NOTHING_HELD, Held, Press
from tmrld.envs.standin.race import Race
from tmrld.envs.standin.replay import Recording
from tmrld.envs.standin.scene import Viewpoint
from tmrld.envs.trackmania.telemetry import Record


class FrameTime:
    """The simulator's timing whose time is moved on by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def start(self, late: Iterator[float]) -> None:
        """A race starts at 0, and nothing is late on purpose."""
        self.now = 0.0

    def control(self) -> float:
        """Now."""
        return self.now

    def look(self) -> float:
        """Now."""
        return self.now


class Game:
    """One race after the other on one track."""

    def __init__(self, track: Track, race: Race) -> None:
        self.race = race
        self.viewpoint = Viewpoint()
        """What the window shows."""
        self._track = track
        self._time = FrameTime()
        self._world = SimWorld(lambda seed: track, self.viewpoint, self._time)
        self._held = NOTHING_HELD
        self._recording = self._recording_before = Recording(track.name)
        self._restarts = race.restarts
        self._moment = self._world.reset(None, {})
        self._distance = 0.0

    def press(self, press: Press) -> None:
        """A key or button that does something once."""
        match press:
            case Press.GIVE_UP:
                self.race.give_up()
            case Press.CONFIRM:
                self.race.confirm()
            case Press.MENU:
                self.race.toggle_menu()

    def pass_time(self, elapsed_s: float, held: Held) -> None:
        """So many seconds of the game go by; from now on this is held."""
        if self.race.restarts != self._restarts:
            self._start()
        if self.race.in_menu:
            return
        self._time.now += self.race.pass_time(elapsed_s)
        self._held = held if self.race.obeys else NOTHING_HELD
        self._world.control(self._held.gas, self._held.brake, self._held.steer)
        x, z = self._moment.x, self._moment.z
        moment = self._moment = self._world.look()
        self._distance += math.hypot(moment.x - x, moment.z - z)
        if moment.finished:
            self.race.cross_the_line()
            self._recording.lap_time_s = moment.lap_time_s
        if self._time.now > 0.0:
            self._recording.add(self._time.now, self._held, moment)

    @property
    def record(self) -> Record | None:
        """What the plugin tells at this moment: nothing while the menu is open."""
        if self.race.in_menu:
            return None
        moment, held = self._moment, self._held
        return Record(
            speed=moment.speed,
            distance=self._distance,
            x=moment.x,
            y=moment.y,
            z=moment.z,
            steer=held.steer,
            gas=held.gas,
            braking=float(held.brake > 0.0),
            finished=self.race.finished,
            gear=float(moment.gear),
            rpm=moment.rpm,
            received=0.0,
        )

    @property
    def lap_time_s(self) -> float | None:
        """Of this race, once it is finished."""
        return self._moment.lap_time_s

    @property
    def recording(self) -> Recording:
        """Of this race, or, while the car has not moved in it yet, of the one before."""
        return self._recording if len(self._recording) else self._recording_before

    def _start(self) -> None:
        """The car to the start."""
        self._restarts = self.race.restarts
        self._moment = self._world.reset(None, {})
        self._distance = 0.0
        self._recording_before = self.recording
        self._recording = Recording(self._track.name)
