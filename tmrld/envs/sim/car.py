"""A car on a flat world: engine, gears, tyres that saturate, brakes, grass.  Pure: no clock, no chance, no files.

The plane is seen from above: z is ahead at heading 0, x to the right, and heading grows clockwise, in radians.  So ahead is
``(x, z) = (sin heading, cos heading)``, and steering +1, as in the game, turns right and lets the heading grow.

It is a two-wheel model of unit mass (every force is an acceleration): each axle has a tyre whose side force rises with the
slip angle, peaks near 12 degrees and falls beyond (the "magic formula" of Pacejka, Tyre and Vehicle Dynamics, chapter 4, with
E = 0), and shares its grip with traction and braking (the friction circle).  So the car understeers when it is turned in too
fast, and spins when the rear is asked for too much.  The front wheels' angle enters as a small one: at full lock, below 40 km/h,
their force is up to 12 % longer than the grip.  The numbers imitate the game's car in feel, not in measure: 0 to 100 km/h
in 3.6 s, 220 km/h at most.
"""

from __future__ import annotations

from math import atan, ceil, cos, hypot, sin, sqrt

GRAVITY = 9.81

MAX_SUBSTEP_S = 0.02
"""Longest stable step of `Car.step`: side slip at walking pace decays at about 45 per second, and 2 / 45 is the limit."""

ROUNDING = 1e-6
"""Durations are told apart by so many seconds, and shares of a step: the last digits of a clock do not change what happens."""

# Shape
FRONT_M = 1.3
REAR_M = 1.3
INERTIA = 1.75
"""Yaw inertia over mass, m²."""
AXLE_LOAD = GRAVITY / 2

# Tyres
GRIP = 1.6
GRIP_GRASS = 0.55
REAR_BONUS = 1.1
"""The rear grips a little better, so that the car is stable until something else uses the rear's grip up."""
TRACTION = 0.92
"""Wheels that are driven or braked harder than this share of the grip are held back, which leaves some grip to steer with."""
TYRE_SHAPE = 1.4
TYRE_STIFFNESS = 10.0
SLIP_FLOOR = 5.0
"""Slip angles are measured as if the car drove at least this fast (m/s), which keeps them finite at rest."""

# Steering
STEER_LOCK = 0.5
STEER_SLIP = 0.12
"""Lock left at high speed beyond what the corner itself needs: enough to overdrive the front tyres."""
LOCK_OVER_SPEED = (FRONT_M + REAR_M) * GRIP * GRAVITY
"""What the corner itself needs at the limit: this over speed squared, in radians."""
STEER_RATE = 3.5
"""Radians per second at the wheels."""

# Engine, gears and brakes
TOP_SPEEDS = (11.0, 18.0, 27.0, 38.0, 50.0, 66.0)
"""Road speed of each gear at full revolutions, m/s."""
REDLINE = 10_000.0
IDLE = 1_200.0
POWER = 200.0
"""Watts per kilogram at the best revolutions."""
SHIFT_UP = 0.95
SHIFT_DOWN = 0.78
"""Shift down when the lower gear would turn at this share of the redline."""
SHIFT_S = 0.1
ENGINE_BRAKE = 0.6
FRONT_DRIVE = 0.4
FRONT_BRAKE = 0.6
BRAKE = 12.0
REVERSE = 4.0
REVERSE_SPEED = 8.0
REVERSE_DELAY_S = 0.3
"""Standing on the brake for this long engages reverse."""

# Resistance
ROLLING = 0.15
AIR = 6.6e-4
"""Per metre: deceleration over speed squared."""
GRASS_DRAG = 2.6
GRASS_DRAG_PER_SPEED = 0.32


def substeps(duration_s: float) -> tuple[int, float]:
    """Into how many equal steps to cut a duration so that each is stable, and how long each is."""
    count = max(1, ceil(duration_s / MAX_SUBSTEP_S - ROUNDING))
    return count, duration_s / count


class Car:
    """One car's state.  ``vx`` and ``vz`` are its velocity in the world's axes (m/s), ``spin`` its yaw rate (rad/s, clockwise)."""

    __slots__ = (
        "_axle_grip",
        "_brake_held",
        "_power",
        "_shifting",
        "gear",
        "heading",
        "rpm",
        "spin",
        "steer",
        "vx",
        "vz",
        "x",
        "z",
    )

    def __init__(self, x: float = 0.0, z: float = 0.0, heading: float = 0.0, grip: float = 1.0, power: float = 1.0) -> None:
        """``grip`` and ``power`` are shares of what the car has on a dry road."""
        self.x, self.z, self.heading = x, z, heading
        self.vx = self.vz = self.spin = 0.0
        self.steer = 0.0  # angle of the front wheels, radians
        self.gear = 1  # 0 is reverse
        self.rpm = IDLE
        self._axle_grip = AXLE_LOAD * grip
        self._power = POWER * power
        self._shifting = 0.0
        self._brake_held = 0.0

    @property
    def speed(self) -> float:
        """How fast it moves, whichever way it points, m/s."""
        return hypot(self.vx, self.vz)

    def step(
        self, dt: float, gas: float, brake: float, steer: float, front_on_road: bool = True, rear_on_road: bool = True
    ) -> None:
        """Drive for ``dt`` seconds, at most `MAX_SUBSTEP_S`.  ``gas`` and ``brake``: 0 to 1; ``steer``: -1 to 1."""
        heading, spin, vx, vz = self.heading, self.spin, self.vx, self.vz
        ahead_x, ahead_z = sin(heading), cos(heading)
        along = vx * ahead_x + vz * ahead_z
        side = vx * ahead_z - vz * ahead_x  # to the right
        speed_squared = vx * vx + vz * vz

        # The wheels turn towards the wanted angle, which shrinks with speed.
        lock = min(STEER_LOCK, STEER_SLIP + LOCK_OVER_SPEED / max(speed_squared, 25.0))
        turn = steer * lock - self.steer
        limit = STEER_RATE * dt
        angle = self.steer = self.steer + (limit if turn > limit else -limit if turn < -limit else turn)

        drive, braking = self._pedals(dt, gas, brake, along)
        # Brakes slow the car down, and never turn it round within a step.
        braking = min(braking, abs(along) / dt)
        if along < 0.0:
            braking = -braking

        # Traction and brakes, within what the tyres can pass on.
        front_grip = self._axle_grip * (GRIP if front_on_road else GRIP_GRASS)
        rear_grip = self._axle_grip * REAR_BONUS * (GRIP if rear_on_road else GRIP_GRASS)
        front_push = drive * FRONT_DRIVE - braking * FRONT_BRAKE
        limit = TRACTION * front_grip
        front_push = limit if front_push > limit else -limit if front_push < -limit else front_push
        rear_push = drive * (1.0 - FRONT_DRIVE) - braking * (1.0 - FRONT_BRAKE)
        limit = TRACTION * rear_grip
        rear_push = limit if rear_push > limit else -limit if rear_push < -limit else rear_push

        # Side forces from slip (the tangent of the slip angle), within what that leaves of the grip.
        pace = max(abs(along), SLIP_FLOOR)
        front_slip = (side + FRONT_M * spin - along * angle) / pace
        rear_slip = (side - REAR_M * spin) / pace
        front_side = -sin(TYRE_SHAPE * atan(TYRE_STIFFNESS * front_slip)) * sqrt(
            front_grip * front_grip - front_push * front_push
        )
        rear_side = -sin(TYRE_SHAPE * atan(TYRE_STIFFNESS * rear_slip)) * sqrt(rear_grip * rear_grip - rear_push * rear_push)

        push = front_push + rear_push - front_side * angle
        sideways = front_side + rear_side
        vx += (push * ahead_x + sideways * ahead_z) * dt
        vz += (push * ahead_z - sideways * ahead_x) * dt

        # Air and ground resist the motion itself.
        resistance = AIR * speed_squared + ROLLING
        if not (front_on_road and rear_on_road):
            share = 1.0 if front_on_road == rear_on_road else 0.5
            resistance += share * (GRASS_DRAG + GRASS_DRAG_PER_SPEED * sqrt(speed_squared))
        left = sqrt(vx * vx + vz * vz)
        keep = 1.0 - resistance * dt / left if left > resistance * dt else 0.0
        self.vx = vx = vx * keep
        self.vz = vz = vz * keep
        self.spin = spin = spin + (FRONT_M * front_side - REAR_M * rear_side) / INERTIA * dt
        self.heading = heading + spin * dt
        self.x += vx * dt
        self.z += vz * dt

    def _pedals(self, dt: float, gas: float, brake: float, along: float) -> tuple[float, float]:
        """What the pedals make of the gearbox: (drive, braking) as accelerations; braking is never negative."""
        if self.gear == 0:
            if gas > brake or (brake == 0.0 and along > -0.5):
                self.gear = 1
            else:
                self.rpm = IDLE + (REDLINE - IDLE) * min(1.0, -along / REVERSE_SPEED)
                return (-REVERSE * brake if along > -REVERSE_SPEED else 0.0), ENGINE_BRAKE * (brake == 0.0)
        standing = brake > max(gas, 0.1) and along < 0.5
        self._brake_held = self._brake_held + dt if standing else 0.0
        if self._brake_held > REVERSE_DELAY_S - ROUNDING:
            self.gear, self._brake_held = 0, 0.0
            return 0.0, 0.0

        gear = self.gear
        if self._shifting > ROUNDING:
            self._shifting -= dt
        elif along > SHIFT_UP * TOP_SPEEDS[gear - 1] and gear < len(TOP_SPEEDS):
            gear = self.gear = gear + 1
            self._shifting = SHIFT_S
        elif gear > 1 and along < SHIFT_DOWN * TOP_SPEEDS[gear - 2]:
            gear = self.gear = gear - 1
            self._shifting = SHIFT_S
        top = TOP_SPEEDS[gear - 1]
        turning = along / top if along > 0.0 else 0.0
        idle = IDLE + 2_000.0 * gas
        self.rpm = idle if turning * REDLINE < idle else min(turning, 1.02) * REDLINE

        drive = 0.0
        if gas > 0.0 and self._shifting <= ROUNDING and turning < 1.0:
            drive = gas * self._power / top * (1.0 - 1.6 * (turning - 0.65) ** 2)  # most torque at 65 % of the redline
        braking = BRAKE * brake * brake * (1.0 - 0.5 * gas)  # a progressive pedal; the engine pulls against it
        if gas == 0.0 and along > 0.0:
            braking += ENGINE_BRAKE
        return drive, braking
