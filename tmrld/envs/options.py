"""Which world to drive in, and how: the ``environment`` group of a run.  Imports nothing heavy.

The defaults are TMRL's (its ``ENV`` entry of ``config.json``), except that the simulator in lockstep is the world.
"""

from __future__ import annotations

import difflib
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from tmrld.applies import new_run, restart
from tmrld.errors import WorldError

FULL_ID = "tmrld/TM20Full-v0"
"""TrackMania's full flavour: speed, gear, rpm, 4 images and the last two actions."""
LIDAR_ID = "tmrld/TM20Lidar-v0"
"""TrackMania's LIDAR flavour: speed, 4 x 19 distances and the last two actions."""
LIDAR_PROGRESS_ID = "tmrld/TM20LidarProgress-v0"
"""The LIDAR flavour that also sees how much of the track lies behind."""
OURS = (FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID)

IMAGE_WINDOW = (256, 128)
"""TMRL's window for images: width and height in pixels."""
LIDAR_WINDOW = (958, 488)
"""TMRL's window for the LIDAR."""


def names_a_file(track: str) -> bool:
    """Whether this is the path of a file with the line of a track, and not a name."""
    return PurePath(track).suffix.lower() in (".npy", ".txt", ".csv")


class RewardOptions(BaseModel):
    """What a run pays for.  1.0 is 10 metres of new ground; the line's points lie 0.1 m apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    end_of_track: float = Field(
        10.0,
        description="Paid once, for crossing the finish line (TMRL: END_OF_TRACK, 100).  A large prize outweighs all that the road "
        "pays, and makes for careful, slow driving.",
        json_schema_extra=restart(),
    )
    constant_penalty: float = Field(
        0.0,
        description="Added to every step's reward; negative punishes time (TMRL: CONSTANT_PENALTY).",
        json_schema_extra=restart(),
    )
    check_forward: int = Field(
        500,
        ge=1,
        le=100_000,
        description="Longest cut that still pays, in points of 0.1 m; a longer jump earns nothing (TMRL: CHECK_FORWARD).",
        json_schema_extra=restart("0.1 m"),
    )
    check_backward: int = Field(
        10,
        ge=0,
        le=100_000,
        description="How far back one step may move the place on the line, in points of 0.1 m (TMRL: CHECK_BACKWARD).",
        json_schema_extra=restart("0.1 m"),
    )
    failure_countdown: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="More consecutive steps than this without new ground end the episode (TMRL: FAILURE_COUNTDOWN).",
        json_schema_extra=restart("steps"),
    )
    min_steps: int = Field(
        70,
        ge=0,
        le=1_000_000,
        description="Steps at the start that are not counted as such (TMRL: MIN_STEPS).",
        json_schema_extra=restart("steps"),
    )
    max_stray: float = Field(
        100.0,
        gt=0,
        le=100_000,
        description="The episode ends this many metres away from the line (TMRL: MAX_STRAY).",
        json_schema_extra=restart("m"),
    )


class RandomisationOptions(BaseModel):
    """What differs from episode to episode in the simulator, drawn by the episode's seed; everything is off at 0.

    A policy that met all of this is robust where the simulator and the world differ (domain randomisation, arXiv 1710.06537).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start_offset_m: float = Field(
        0.0, ge=0, le=6, description="Largest offset of the start to either side, in metres.", json_schema_extra=restart("m")
    )
    start_heading_deg: float = Field(
        0.0,
        ge=0,
        le=90,
        description="Largest error of the initial heading to either side, in degrees.",
        json_schema_extra=restart("°"),
    )
    grip: float = Field(
        0.0, ge=0, le=0.5, description="Largest relative change of the tyres' grip, up or down.", json_schema_extra=restart()
    )
    power: float = Field(
        0.0, ge=0, le=0.5, description="Largest relative change of the engine's power, up or down.", json_schema_extra=restart()
    )
    latency_s: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Longest time from sending an action until the car obeys, in seconds; drawn from 0 up for each episode.",
        json_schema_extra=restart("s"),
    )
    late_step: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of lockstep's time steps that last longer, by up to one more: the action before is held meanwhile.",
        json_schema_extra=restart(),
    )
    frame_drop: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="Share of time steps at which the screen still shows the frame before; the telemetry is new.",
        json_schema_extra=restart(),
    )
    brightness: float = Field(
        0.0,
        ge=0,
        le=0.4,
        description="Largest relative change of the screen's brightness, up or down.",
        json_schema_extra=restart(),
    )
    border_level: int = Field(
        0,
        ge=0,
        le=35,
        description="How much brighter the road's black border may be, in levels of 255 for each of red, green and blue.",
        json_schema_extra=restart("levels"),
    )
    camera_height: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Largest relative change of the camera's height, up or down.",
        json_schema_extra=restart(),
    )


class TrackmaniaOptions(BaseModel):
    """How TrackMania 2020 itself is seen and driven; the simulator has no use for any of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    controls: Literal["gamepad", "keyboard", "none"] = Field(
        "gamepad",
        description="gamepad: a virtual XBox 360 pad, with analog triggers and stick; keyboard: arrows, on Windows W A S D, on or "
        "off; none: a person drives (TMRL: VIRTUAL_GAMEPAD).",
        json_schema_extra=restart(),
    )
    sleep_at_reset_s: float = Field(
        1.5,
        ge=0,
        le=60,
        description="How long a reset waits until the race has begun, in seconds (TMRL: SLEEP_TIME_AT_RESET).",
        json_schema_extra=restart("s"),
    )
    save_replays: bool = Field(
        False,
        description="Whether the game saves a replay of every episode (TMRL: save_replays); needs the plugin for it.",
        json_schema_extra=restart(),
    )
    window_title: str = Field(
        "Trackmania",
        min_length=1,
        max_length=200,
        description="Title of the game's window, exactly.",
        json_schema_extra=restart(),
    )
    telemetry_host: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=253,
        description="Where the plugin in the game listens.",
        json_schema_extra=restart(),
    )
    telemetry_port: int = Field(
        9000, ge=1, le=65535, description="Port of the plugin that tells speed and place.", json_schema_extra=restart()
    )
    replay_port: int = Field(
        10000, ge=1, le=65535, description="Port of the plugin that saves replays.", json_schema_extra=restart()
    )
    telemetry_stall_s: float = Field(
        1.0,
        gt=0,
        le=60,
        description="A silence of the plugin longer than this, in seconds, is an error (TMRL: 10).",
        json_schema_extra=restart("s"),
    )
    speed_unit: Literal["m/s", "km/h"] = Field(
        "m/s", description="The unit in which the plugin tells the speed.", json_schema_extra=restart()
    )
    hand_back_s: float = Field(
        5.0,
        ge=0,
        le=3600,
        description="A key that a person presses stops the policy, which drives again when none was touched for this long, in "
        "seconds.",
        json_schema_extra=restart("s"),
    )


class EnvironmentOptions(BaseModel):
    """The world of a run: TrackMania, its simulator, or any Gymnasium environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(
        LIDAR_ID,
        min_length=1,
        max_length=200,
        description="A Gymnasium id, or module:attribute for an own environment, a function that makes one, or an rtgym interface.",
        json_schema_extra=new_run(),
    )
    kwargs: dict[str, Any] = Field(
        {},
        description="Keyword arguments for an environment that is not ours; ours take the settings below.",
        json_schema_extra=new_run(),
    )
    game: Literal["sim", "trackmania"] = Field(
        "sim", description="The embedded simulator, or the real game.", json_schema_extra=restart()
    )
    clock: Literal["lockstep", "realtime"] = Field(
        "lockstep",
        validate_default=True,
        description="lockstep: the simulator waits for the driver and runs as fast as it can; realtime: the wall clock.",
        json_schema_extra=restart(),
    )
    compat: Literal["none", "tmrl"] = Field(
        "none",
        description="tmrl: observation and reward are those of TMRL 0.7.1 to the last bit, faults included, for policies that were "
        "trained there; reward.end_of_track = 100 belongs to it.",
        json_schema_extra=new_run(),
    )
    track: str = Field(
        "default",
        min_length=1,
        max_length=1000,
        description="Name of the track to drive.  The simulator brings those of `tmrld track list`, and generates others by "
        "difficulty, length and seed, as in medium-650-17; medium-650-any is another one for each episode.  For the game, one on the "
        "relay's shelf, or the path of a file on the worker's machine with its line: .npy, or text with x, y, z per line.",
        json_schema_extra=restart(),
    )
    history: int = Field(
        4,
        ge=1,
        le=64,
        description="How many frames an observation stacks (TMRL: IMG_HIST_LEN).",
        json_schema_extra=new_run("frames"),
    )
    action_buffer: int = Field(
        2,
        ge=1,
        le=64,
        description="How many past actions an observation shows (rtgym: act_buf_len).",
        json_schema_extra=new_run("actions"),
    )
    time_step_s: float = Field(
        0.05,
        gt=0,
        le=10,
        description="Length of a time step in seconds (rtgym: time_step_duration).",
        json_schema_extra=new_run("s"),
    )
    start_obs_capture_s: float = Field(
        0.04,
        ge=0,
        le=10,
        description="When in the time step the observation is captured, in seconds (rtgym: start_obs_capture).",
        json_schema_extra=restart("s"),
    )
    timeout_factor: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="Time steps that a late step may take before the clock restarts (rtgym: time_step_timeout_factor).",
        json_schema_extra=restart("time steps"),
    )
    max_steps: int = Field(
        1000,
        ge=1,
        le=100_000_000,
        description="Episodes are truncated after this many steps (rtgym: ep_max_length).",
        json_schema_extra=restart("steps"),
    )
    reset_action_buffer: bool = Field(
        True,
        description="Whether an episode begins with an empty buffer of actions (rtgym: reset_act_buf).",
        json_schema_extra=new_run(),
    )
    wait_on_done: bool = Field(
        True,
        description="Whether the world pauses at the end of an episode (rtgym: wait_on_done).",
        json_schema_extra=restart(),
    )
    benchmark: bool = Field(
        False, description="Whether rtgym measures how long its steps take (rtgym: benchmark).", json_schema_extra=restart()
    )
    window_width: Annotated[int, Field(ge=64, le=7680)] | Literal["auto"] = Field(
        "auto",
        description="Width of the game's window in pixels; auto is 256 for images, 958 for the LIDAR (TMRL: WINDOW_WIDTH).",
        json_schema_extra=new_run("px"),
    )
    window_height: Annotated[int, Field(ge=64, le=4320)] | Literal["auto"] = Field(
        "auto",
        description="Height of the game's window in pixels; auto is 128 for images, 488 for the LIDAR (TMRL: WINDOW_HEIGHT).",
        json_schema_extra=new_run("px"),
    )
    image_width: int = Field(
        64,
        ge=8,
        le=1024,
        description="Width of the images of the full flavour, in pixels (TMRL: IMG_WIDTH).",
        json_schema_extra=new_run("px"),
    )
    image_height: int = Field(
        64,
        ge=8,
        le=1024,
        description="Height of the images of the full flavour, in pixels (TMRL: IMG_HEIGHT).",
        json_schema_extra=new_run("px"),
    )
    grayscale: bool = Field(
        True,
        description="Whether the images of the full flavour are gray, not RGB (TMRL: IMG_GRAYSCALE).",
        json_schema_extra=new_run(),
    )
    reward: RewardOptions = Field(default_factory=RewardOptions, description="What is paid, and when an episode ends.")
    trackmania: TrackmaniaOptions = Field(
        default_factory=TrackmaniaOptions, description="How TrackMania 2020 itself is seen and driven."
    )
    randomisation: RandomisationOptions = Field(
        default_factory=RandomisationOptions, description="What differs from episode to episode in the simulator."
    )

    @field_validator("clock")
    @classmethod
    def _keeps_time(cls, clock: str, others: ValidationInfo) -> str:
        """The game waits for nobody."""
        if clock == "lockstep" and others.data.get("game") == "trackmania" and others.data.get("id") in OURS:
            raise ValueError("the game waits for no driver: set it to 'realtime', or game to 'sim'")
        return clock

    @field_validator("randomisation")
    @classmethod
    def _is_possible(cls, randomisation: RandomisationOptions, others: ValidationInfo) -> RandomisationOptions:
        """The game is what it is."""
        wanted = [name for name, value in randomisation if value]
        if wanted and others.data.get("game") == "trackmania":
            raise ValueError(f"{', '.join(wanted)}: only the simulator varies this: set it to 0, or game to 'sim'")
        return randomisation

    @property
    def window(self) -> tuple[int, int]:
        """Width and height of the game's window in pixels."""
        width, height = IMAGE_WINDOW if self.id == FULL_ID else LIDAR_WINDOW
        return (
            width if self.window_width == "auto" else self.window_width,
            height if self.window_height == "auto" else self.window_height,
        )

    @field_validator("id")
    @classmethod
    def _is_ours(cls, id: str) -> str:
        """A name in our name space is one of ours; any other is the worker's to find."""
        if id.startswith("tmrld/") and id not in OURS:
            near = difflib.get_close_matches(id, OURS, 1, cutoff=0.0)[0]
            raise ValueError(f"there is no environment of that name: did you mean {near!r}?")
        return id

    @field_validator("track")
    @classmethod
    def _is_there(cls, track: str, others: ValidationInfo) -> str:
        """The simulator's tracks are known here; the game's are the worker's to find."""
        if others.data.get("game") == "sim" and others.data.get("id") in OURS:
            from tmrld.envs.sim.tracks import check

            try:
                check(track)
            except WorldError as error:
                raise ValueError(str(error)) from None
        return track
