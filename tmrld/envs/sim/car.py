"""A car on a flat world: engine, gears, tyres that saturate, brakes, grass.  Pure: no clock, no chance, no files.

The plane is seen from above: z is ahead at heading 0, x to the right, and heading grows clockwise, in radians.  So ahead is
``(x, z) = (sin heading, cos heading)``, and steering +1, as in the game, turns right and lets the heading grow.

It is a two-wheel model of unit mass (every force is an acceleration): each axle has a tyre whose side force rises with the slip angle,
peaks near 12 degrees and falls beyond (the "magic formula" of Pacejka, Tyre and Vehicle Dynamics, chapter 4, with E = 0), and shares its
grip with traction and braking (the friction circle).  So the car understeers when it is turned in too fast, and spins when the rear is asked
for too much.  The numbers imitate the game's car in feel, not in measure: 0 to 100 km/h in 3 s, 216 km/h at most.
"""

from __future__ import annotations

from math import atan, ceil, copysign, cos, hypot, sin, sqrt

GRAVITY = 9.81

MAX_SUBSTEP_S = 0.02
"""Longest stable step of `Car.step`: side slip at walking pace decays at about 45 per second, and 2 / 45 is the limit."""

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
    count = max(1, ceil(duration_s / MAX_SUBSTEP_S - 1e-9))
    return count, duration_s / count


class Car:
    """One car's state.  ``vx`` and ``vz`` are its velocity in the world's axes (m/s), ``spin`` its yaw rate (rad/s, clockwise)."""

    __slots__ = ("gear", "grip", "heading", "rpm", "spin", "steer", "vx", "vz", "x", "z", "_brake_held", "_shifting")

    def __init__(self, x: float = 0.0, z: float = 0.0, heading: float = 0.0, grip: float = 1.0) -> None:
        self.x, self.z, self.heading = x, z, heading
        self.vx = self.vz = self.spin = 0.0
        self.steer = 0.0  # angle of the front wheels, radians
        self.gear = 1  # 0 is reverse
        self.rpm = IDLE
        self.grip = grip
        self._shifting = 0.0
        self._brake_held = 0.0

    @property
    def speed(self) -> float:
        """How fast it moves, whichever way it points, m/s."""
        return hypot(self.vx, self.vz)

    def step(self, dt: float, gas: float, brake: float, steer: float, front_on_road: bool = True, rear_on_road: bool = True) -> None:
        """Drive for ``dt`` seconds, at most `MAX_SUBSTEP_S`.  ``gas`` and ``brake``: 0 to 1 (less counts as 0); ``steer``: -1 to 1."""
        gas = max(gas, 0.0)
        brake = max(brake, 0.0)
        ahead_x, ahead_z = sin(self.heading), cos(self.heading)
        along = self.vx * ahead_x + self.vz * ahead_z
        side = self.vx * ahead_z - self.vz * ahead_x  # to the right
        speed = hypot(along, side)
        spin = self.spin

        # The wheels turn towards the wanted angle, which shrinks with speed.
        lock = min(STEER_LOCK, STEER_SLIP + (FRONT_M + REAR_M) * GRIP * GRAVITY / max(speed * speed, 25.0))
        turn = steer * lock - self.steer
        self.steer += max(-STEER_RATE * dt, min(STEER_RATE * dt, turn))

        drive, braking = self._pedals(dt, gas, brake, along)

        front_grip = AXLE_LOAD * self.grip * (GRIP if front_on_road else GRIP_GRASS)
        rear_grip = AXLE_LOAD * self.grip * REAR_BONUS * (GRIP if rear_on_road else GRIP_GRASS)
        # Brakes and rolling slow the car down, and never turn it round within a step.
        hold = abs(along) / dt
        front_braking = min(braking * FRONT_BRAKE, hold)
        rear_braking = min(braking * (1.0 - FRONT_BRAKE), hold - front_braking)
        front_push = _within(drive * FRONT_DRIVE - copysign(front_braking, along), front_grip)
        rear_push = _within(drive * (1.0 - FRONT_DRIVE) - copysign(rear_braking, along), rear_grip)

        # Side forces from slip angles, within what traction leaves of the grip.
        pace = max(abs(along), SLIP_FLOOR)
        front_slip = atan((side + FRONT_M * spin - along * self.steer) / pace)
        rear_slip = atan((side - REAR_M * spin) / pace)
        front_side = -sin(TYRE_SHAPE * atan(TYRE_STIFFNESS * front_slip)) * sqrt(max(0.0, front_grip * front_grip - front_push * front_push))
        rear_side = -sin(TYRE_SHAPE * atan(TYRE_STIFFNESS * rear_slip)) * sqrt(max(0.0, rear_grip * rear_grip - rear_push * rear_push))

        push = front_push + rear_push - front_side * self.steer
        sideways = front_side + rear_side
        vx = self.vx + (push * ahead_x + sideways * ahead_z) * dt
        vz = self.vz + (push * ahead_z - sideways * ahead_x) * dt

        # Air and ground resist the motion itself.
        resistance = AIR * speed * speed + ROLLING
        grass = (not front_on_road) * 0.5 + (not rear_on_road) * 0.5
        if grass:
            resistance += grass * (GRASS_DRAG + GRASS_DRAG_PER_SPEED * speed)
        left = hypot(vx, vz)
        keep = max(0.0, 1.0 - resistance * dt / left) if left > 1e-9 else 0.0
        self.vx = vx * keep
        self.vz = vz * keep
        self.spin = spin + (FRONT_M * front_side - REAR_M * rear_side) / INERTIA * dt
        self.heading += self.spin * dt
        self.x += self.vx * dt
        self.z += self.vz * dt

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
        if self._brake_held > REVERSE_DELAY_S:
            self.gear, self._brake_held = 0, 0.0
            return 0.0, 0.0

        top = TOP_SPEEDS[self.gear - 1]
        turning = max(along, 0.0) / top
        self._shifting = max(0.0, self._shifting - dt)
        if self._shifting == 0.0:
            if turning > SHIFT_UP and self.gear < len(TOP_SPEEDS):
                self.gear += 1
                self._shifting = SHIFT_S
            elif self.gear > 1 and along < SHIFT_DOWN * TOP_SPEEDS[self.gear - 2]:
                self.gear -= 1
                self._shifting = SHIFT_S
            top = TOP_SPEEDS[self.gear - 1]
            turning = max(along, 0.0) / top
        self.rpm = max(IDLE + 0.2 * gas * REDLINE * (turning < 0.1), min(turning, 1.02) * REDLINE)

        drive = 0.0
        if gas and self._shifting == 0.0 and turning < 1.0:
            drive = gas * POWER / top * (1.0 - 1.6 * (turning - 0.65) ** 2)  # most torque at 65 % of the redline
        braking = BRAKE * brake * brake * (1.0 - 0.5 * gas)  # a progressive pedal; the engine pulls against it
        if gas == 0.0 and along > 0.0:
            braking += ENGINE_BRAKE
        return drive, braking


def _within(force: float, limit: float) -> float:
    """The force that the tyres can pass on."""
    limit *= TRACTION
    return max(-limit, min(limit, force))
