"""The doctor's look at the game: its process, OpenPlanet and the plugin, window, picture, controls and track, tied together.

Each part has a module of its own, with evidence, a look and a judge.  With the simulator there is little to look at: it checks
itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tmrld.doctor import controls, course, installation, pictures, replays, telemetry, window
from tmrld.doctor.controls import Controls
from tmrld.doctor.course import Course
from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.installation import Installation
from tmrld.doctor.patient import Evidence
from tmrld.doctor.pictures import Pictures
from tmrld.doctor.replays import Replays
from tmrld.doctor.telemetry import Telemetry
from tmrld.doctor.window import Window
from tmrld.envs.options import OURS, EnvironmentOptions, RandomisationOptions
from tmrld.envs.trackmania.lidar import distances
from tmrld.envs.trackmania.windows import find
from tmrld.errors import GameError

AREA = "game"
SECONDS = 3.0
"""So long the game is watched, unless it is said."""
STANDING = 0.5
"""A car that is told to be slower than this stands."""
AT_START_M = 2.0
"""The distance since the start that a car tells that has not left it."""
DISTANCE = 1
"""Column of `Telemetry.told`."""

LONGEST_FAILURE = 500

Say = Callable[[str], None]
Part = TypeVar("Part")


class Simulated(Evidence):
    """The simulator's check of itself: by how many pixels its LIDAR differs from that of the picture that it draws, at most."""

    problem: str = ""
    lidar_differs_px: float | None = None


class GameEvidence(Evidence):
    """All that was seen of the game.  A part that was not looked at, or whose look failed, is None; ``failed`` says why, by part.

    ``options`` are those of the environment, less its ``kwargs``, which are somebody's own; ``seconds`` is how long it was to be
    watched.
    """

    options: EnvironmentOptions
    seconds: float = 0.0
    failed: dict[str, str] = Field({})
    installation: Installation | None = None
    telemetry: Telemetry | None = None
    window: Window | None = None
    pictures: Pictures | None = None
    controls: Controls | None = None
    replays: Replays | None = None
    course: Course | None = None
    simulated: Simulated | None = None


# Looking


def gather_game(
    options: EnvironmentOptions, seconds: float = SECONDS, say: Say = lambda _: None, *, drive: bool = False
) -> GameEvidence:
    """Look at the game that these options drive; takes ``seconds`` and some more, and tells ``say`` what is being looked at.

    The window gets its size, as driving would give it.  Nothing is pressed unless ``drive`` is wanted: then the car drives a little.
    ``options.track`` is a file here; the name of a track on a shelf is not looked up.
    """
    plain = options.model_copy(update={"kwargs": {}})
    if options.id not in OURS:
        return GameEvidence(options=plain)
    if options.game == "trackmania":
        return _gather(plain, seconds, say, drive=drive)
    say("the simulator, which checks itself")
    try:
        simulated, pictured = _simulate(plain)
    except Exception as error:  # whatever fails in it: that it failed is evidence
        return GameEvidence(options=plain, simulated=Simulated(problem=str(error) or type(error).__name__))
    return GameEvidence(options=plain, simulated=simulated, pictures=pictured)


class _Look:
    """Looks at one part after the other; one that fails in an unexpected way leaves the others be."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.began = time.perf_counter()

    def at(self, part: str, gather: Callable[[], Part]) -> Part | None:
        """What ``gather`` has seen, or None."""
        try:
            return gather()
        except Exception as error:  # a look never ends the doctor's visit: that it failed is evidence
            self.failed[part] = f"{type(error).__name__}: {error}"[:LONGEST_FAILURE]
            return None

    def clock(self) -> float:
        """Seconds since the visit began."""
        return time.perf_counter() - self.began


def _gather(options: EnvironmentOptions, seconds: float, say: Say, *, drive: bool) -> GameEvidence:
    chosen, look = options.trackmania, _Look()
    say("the game, OpenPlanet and its plugins")
    found = look.at("installation", installation.gather_installation)
    say("the controls")
    held = look.at("controls", lambda: controls.gather_controls(chosen.controls))
    say("the track's line, and the port for replays")
    line = look.at("course", lambda: course.gather_course(options.track))
    asked = look.at(
        "replays", lambda: replays.gather_replays(chosen.telemetry_host, chosen.replay_port, wanted=chosen.save_replays)
    )
    say("the window")
    seen = look.at("window", lambda: window.gather_window(chosen.window_title, options.window))
    say("the plugin")
    listening = look.at("telemetry", lambda: telemetry.Listening(chosen.telemetry_host, chosen.telemetry_port, look.began))
    say(f"the picture, for {seconds:g} s" + (", and the car is driven" if drive else ""))
    watch = _Watch(options, look, seconds) if seen is not None and seen.area is not None else None
    if drive and held is not None and chosen.controls != "none" and seen is not None and seen.area is not None:
        tried = look.at("try", lambda: controls.try_controls(options, look.clock))
        held = held.model_copy(update={"tried": tried})
    pictured = None if watch is None else watch.end()
    if listening is not None and listening.answered:
        time.sleep(max(0.0, seconds - listening.listened_s))
    return GameEvidence(
        options=options,
        seconds=seconds,
        failed=look.failed,
        installation=found,
        telemetry=None if listening is None else look.at("telemetry", listening.heard),
        window=seen,
        pictures=pictured,
        controls=held,
        replays=asked,
        course=line,
    )


class _Watch:
    """Grabs pictures in a thread, for a while and until it is ended."""

    def __init__(self, options: EnvironmentOptions, look: _Look, seconds: float) -> None:
        self._until = look.clock() + seconds
        self._ended = threading.Event()
        self._seen: Pictures | None = None

        def going() -> bool:
            return look.clock() < self._until or not self._ended.is_set()

        def grab_all() -> None:
            self._seen = look.at("pictures", lambda: _watch(options, going, look.clock))

        self._thread = threading.Thread(target=grab_all, name="watch the game", daemon=True)
        self._thread.start()

    def end(self) -> Pictures | None:
        """What was seen, when the time is over."""
        self._ended.set()
        self._thread.join()
        return self._seen


def _watch(options: EnvironmentOptions, going: Callable[[], bool], clock: Callable[[], float]) -> Pictures:
    from tmrld.envs.trackmania.screen import WindowScreen

    try:
        game = find(options.trackmania.window_title)
    except GameError as error:
        return pictures.no_pictures(str(error))
    with contextlib.closing(game), contextlib.closing(WindowScreen(game)) as screen:
        return pictures.gather_pictures(screen.grab, options, going, clock)


def _simulate(options: EnvironmentOptions) -> tuple[Simulated, Pictures]:
    """Reset the simulator, draw what its car sees, and measure in that picture what the observation tells."""
    from tmrld.envs.registry import describe, make, newest_frames
    from tmrld.envs.sim.view import View

    plain = options.model_copy(update={"clock": "lockstep", "randomisation": RandomisationOptions()})
    environment = make(plain)
    with contextlib.closing(environment):
        observation, info = environment.reset(seed=0)
        told = newest_frames(describe(environment, plain), observation)
    picture = np.ascontiguousarray(View(plain, options.window[0]).image(info)[:, :, ::-1])
    seen = pictures.no_pictures().model_copy(update={"frames": picture[None]})
    if "lidar" not in told:
        return Simulated(), seen
    lidar = distances(picture)
    differs = float(np.abs(lidar - told["lidar"]).max())
    return Simulated(lidar_differs_px=differs), seen.model_copy(update={"lidar": lidar[None]})


def picture_with_beams(evidence: GameEvidence, most_bytes: int = pictures.MOST_JPEG_BYTES) -> bytes:
    """The last picture of the game as a JPEG, with the LIDAR's beams in it, no larger than that; b"" where there is none."""
    return b"" if evidence.pictures is None else pictures.drawn(evidence.pictures, most_bytes)


# Judging

CODES = frozenset({"look-failed", "sim-fails", "sim-lidar-differs"}).union(
    *(part.CODES for part in (installation, telemetry, window, pictures, controls, replays, course))
)
"""Of everything that can be wrong with the game."""


def judge_game(evidence: GameEvidence) -> list[Diagnosis]:
    """What is wrong, what should be known, and what is well: in the order in which one would look."""
    return list(_judge(evidence))


def _judge(seen: GameEvidence) -> Iterator[Diagnosis]:
    options = seen.options
    for part, why in seen.failed.items():
        yield note(
            AREA,
            part,
            f"the look at this failed ({why})",
            "please tell the authors of tmrld, with the report of `tmrld doctor --record FILE`",
            code="look-failed",
        )
    if options.id not in OURS:
        yield ok(AREA, "environment", f"{options.id} is not of tmrld: `tmrld env check {options.id}` looks whether it works")
        return
    if options.game == "sim":
        yield from _judge_simulator(seen)
        return
    told = np.zeros((0, telemetry.TIME + 1)) if seen.telemetry is None else seen.telemetry.told
    talks = seen.telemetry is not None and telemetry.talks(seen.telemetry)
    told = told if talks else told[:0]
    start = _at_start(told)
    pictured = seen.pictures or pictures.no_pictures()
    if seen.installation is not None:
        chosen = options.trackmania
        wish = installation.Wish(chosen.telemetry_port, chosen.replay_port, replays=chosen.save_replays, talks=talks)
        yield from installation.judge_installation(seen.installation, wish)
    if seen.telemetry is not None:
        yield from telemetry.judge_telemetry(
            seen.telemetry,
            time_step_s=options.time_step_s,
            speed_unit=options.trackmania.speed_unit,
            picture_moves=pictures.moving_picture(pictured),
        )
    if seen.window is not None:
        yield from window.judge_window(seen.window, pictures=pictures.visible(pictured))
    if seen.pictures is not None:
        moves = seen.telemetry.moves() if seen.telemetry is not None and talks else np.zeros(0)
        yield from pictures.judge_pictures(seen.pictures, options, moves=moves, at_start=start)
    if seen.controls is not None:
        yield from controls.judge_controls(seen.controls, told)
    if seen.replays is not None:
        yield from replays.judge_replays(seen.replays)
    if seen.course is not None:
        yield from course.judge_course(seen.course, told, options.reward, at_start=start)


def _at_start(told: NDArray[np.float64]) -> bool:
    """Whether the car stood at the start all the time."""
    return bool(len(told)) and bool(
        (np.abs(told[:, telemetry.SPEED]) < STANDING).all() and (told[:, DISTANCE] < AT_START_M).all()
    )


def _judge_simulator(seen: GameEvidence) -> Iterator[Diagnosis]:
    yield ok(AREA, "simulator", 'game is "sim": it needs no TrackMania, OpenPlanet, window, gamepad or keys')
    if seen.simulated is None:
        return
    if seen.simulated.problem:
        yield wrong(
            AREA,
            "simulator",
            f"the simulator does not start: {seen.simulated.problem}",
            "what it says; `tmrld track list` has the tracks that there are",
            code="sim-fails",
        )
    if seen.simulated.lidar_differs_px:
        yield wrong(
            AREA,
            "simulator",
            f"its LIDAR differs from the picture that it draws by up to {seen.simulated.lidar_differs_px:g} pixels, and should "
            "not",
            "pip install --force-reinstall tmrld; if it stays so, please tell the authors of tmrld",
            code="sim-lidar-differs",
        )
    elif seen.simulated.lidar_differs_px is not None:
        yield ok(AREA, "simulator", "its LIDAR is that of the picture that it draws, to the pixel")
    if seen.pictures is not None:
        yield from pictures.judge_pictures(seen.pictures, seen.options, moves=np.zeros(0), at_start=False)
