"""Asks TMRL 0.7.1 itself, and writes its answers to ``tmrl.npz`` beside this file, for `tests/envs/test_compat.py`.

No part of TMRL is replaced but what reaches for the game: its window, its telemetry and its keys are scripted, and its sleep is none.
It reads settings and line from a folder ``TmrlData`` in a home that is made for it.  ``tmrl/__init__.py`` alone is not run, since it
imports PyTorch and a trainer, which have no part in this.  To make the file anew, with the packages of `tmrld[game]` installed:

    pip install --no-deps --target SOMEWHERE tmrl==0.7.1
    PYTHONPATH=SOMEWHERE python tests/envs/golden/make.py

Arrays are named ``group/name/what``:

==============  =================================================================================================================
`line/NAME`     (n, 3) float64: a line as TMRL records one from places that are told to it
`told/NAME`     (m, 3) float32: those places
`reward/…`      `compute_reward`: ``line`` (its name), ``options`` (as `OPTIONS`), ``places`` (n, 3) float32 in; ``rewards`` float64,
                ``ended`` and ``indices`` out.  -1 in ``indices``: a reset comes before that place, and nothing is out
`frames/NAME`   (n, height, width, 3) uint8: pictures of the game's window, blue first
`lidar/NAME`    (n, 19) float32: the distances in them
`interface/…`   a whole interface: ``id`` (ours), ``line``, ``options``, ``frames`` (their name), ``shown`` (which of them),
                ``records`` (n, 11) float32, ``reset`` in; ``part0``, ``part1``, …, ``rewards`` float32 and ``ended`` out
==============  =================================================================================================================
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickle
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID

FILE = Path(__file__).with_name("tmrl.npz")

OPTIONS = {
    "end_of_track": ("END_OF_TRACK", 100.0),
    "constant_penalty": ("CONSTANT_PENALTY", 0.0),
    "check_forward": ("CHECK_FORWARD", 500.0),
    "check_backward": ("CHECK_BACKWARD", 10.0),
    "failure_countdown": ("FAILURE_COUNTDOWN", 10.0),
    "min_steps": ("MIN_STEPS", 70.0),
    "max_stray": ("MAX_STRAY", 100.0),
}
"""Our names of the reward's options: TMRL's, and its defaults."""

CONFIG = {
    "__VERSION__": "0.7.1",
    "RUN_NAME": "golden",
    "BUFFERS_MAXLEN": 500_000,
    "RW_MAX_SAMPLES_PER_EPISODE": 1000,
    "CUDA_TRAINING": False,
    "CUDA_INFERENCE": False,
    "VIRTUAL_GAMEPAD": False,
    "LOCALHOST_WORKER": True,
    "LOCALHOST_TRAINER": True,
    "PUBLIC_IP_SERVER": "0.0.0.0",
    "PASSWORD": "none",
    "TLS": False,
    "TLS_HOSTNAME": "default",
    "TLS_CREDENTIALS_DIRECTORY": "",
    "NB_WORKERS": -1,
    "WANDB_PROJECT": "none",
    "WANDB_ENTITY": "none",
    "WANDB_KEY": "none",
    "PORT": 55555,
    "LOCAL_PORT_SERVER": 55556,
    "LOCAL_PORT_TRAINER": 55557,
    "LOCAL_PORT_WORKER": 55558,
    "BUFFER_SIZE": 536_870_912,
    "HEADER_SIZE": 12,
    "SAVE_MODEL_EVERY": 0,
    "ENV": {
        "RTGYM_INTERFACE": "TM20LIDAR",
        "WINDOW_WIDTH": 958,
        "WINDOW_HEIGHT": 488,
        "SLEEP_TIME_AT_RESET": 0.0,
        "IMG_HIST_LEN": 4,
        "RTGYM_CONFIG": {"act_buf_len": 2},
        "REWARD_CONFIG": dict(OPTIONS.values()),
    },
}

Arrays = dict[str, NDArray[Any]]
Places = NDArray[np.float64]
GAMES_FLOATS = 11


@dataclass
class Now:
    """What the scripted window shows and the scripted plugin tells."""

    image: NDArray[np.uint8] | None = None
    record: tuple[float, ...] = (0.0,) * GAMES_FLOATS


NOW = Now()


class ScriptedWindow:
    """Instead of TMRL's window."""

    def __init__(self, name: str) -> None:
        self.name = name

    def move_and_resize(self) -> None:
        """It has the size of its pictures."""

    def screenshot(self) -> NDArray[np.uint8]:
        """Four channels, as a screen is captured."""
        assert NOW.image is not None
        return np.dstack([NOW.image, np.full(NOW.image.shape[:2], 255, np.uint8)])


class ScriptedClient:
    """Instead of TMRL's client of the plugin."""

    def retrieve_data(self, sleep_if_empty: float = 0.01, timeout: float = 10.0) -> tuple[float, ...]:
        """The 11 numbers of a record."""
        return NOW.record


class RecordingClient(ScriptedClient):
    """Tells one place after the other, and then that the race is finished."""

    told: Iterator[NDArray[np.float32]] = iter(())

    def retrieve_data(self, sleep_if_empty: float = 0.01, timeout: float = 10.0) -> tuple[float, ...]:
        place = next(self.told, None)
        return _record(place if place is not None else np.zeros(3, np.float32), finished=place is None)


def module(name: str) -> Any:
    """A module without types."""
    return importlib.import_module(name)


class Tmrl:
    """The modules of TMRL that are asked."""

    def __init__(self, home: Path) -> None:
        """``home`` is a folder of its own."""
        data = home / "TmrlData"
        for folder in ("config", "reward", "weights", "checkpoints", "dataset"):
            (data / folder).mkdir(parents=True)
        (data / "config" / "config.json").write_text(json.dumps(CONFIG))
        os.environ["HOME"] = os.environ["USERPROFILE"] = str(home)
        found = importlib.util.find_spec("tmrl")
        if found is None or found.submodule_search_locations is None:
            raise SystemExit(
                "TMRL is not installed: pip install --no-deps --target SOMEWHERE tmrl==0.7.1, and name it in PYTHONPATH"
            )
        package = types.ModuleType("tmrl")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["tmrl"] = package
        self.config = module("tmrl.config.config_constants")
        self.rewards = module("tmrl.custom.tm.utils.compute_reward")
        self.tools = module("tmrl.custom.tm.utils.tools")
        self.record = module("tmrl.tools.record")
        self.interfaces = module("tmrl.custom.tm.tm_gym_interfaces")
        self.interfaces.WindowInterface = ScriptedWindow
        self.interfaces.TM2020OpenPlanetClient = ScriptedClient
        self.interfaces.apply_control = self.interfaces.keyres = lambda *_: None
        self.record.TM2020OpenPlanetClient = RecordingClient

    def recorded(self, places: NDArray[np.float32]) -> Places:
        """The line that TMRL makes of these places."""
        RecordingClient.told = iter(places)
        self.record.record_reward_dist(path_reward=self.config.REWARD_PATH)
        line: Places = pickle.loads(Path(self.config.REWARD_PATH).read_bytes())
        return line

    def use(self, line: Places, options: NDArray[np.float64]) -> None:
        """From now on this is the line, and these are the options."""
        Path(self.config.REWARD_PATH).write_bytes(pickle.dumps(line))
        for (theirs, _), value in zip(OPTIONS.values(), options.tolist(), strict=True):
            self.config.REWARD_CONFIG[theirs] = int(value) if value == int(value) else value

    def judge(self) -> Any:
        """A reward function with what is in use."""
        config = self.config.REWARD_CONFIG
        return self.rewards.RewardFunction(
            self.config.REWARD_PATH,
            nb_obs_forward=config["CHECK_FORWARD"],
            nb_obs_backward=config["CHECK_BACKWARD"],
            nb_zero_rew_before_failure=config["FAILURE_COUNTDOWN"],
            min_nb_steps_before_failure=config["MIN_STEPS"],
            max_dist_from_traj=config["MAX_STRAY"],
        )


def options(**changed: float) -> NDArray[np.float64]:
    """TMRL's defaults, with changes, in the order of `OPTIONS`."""
    return np.array([changed.get(ours, default) for ours, (_, default) in OPTIONS.items()])


def _record(
    place: NDArray[np.float32], *, speed: float = 0.0, gear: float = 1.0, rpm: float = 0.0, finished: bool = False
) -> tuple[float, ...]:
    return (speed, 0.0, *map(float, place), 0.0, 0.0, 0.0, float(finished), gear, rpm)


# Where cars are told to have been


def told_places() -> dict[str, NDArray[np.float32]]:
    """What a line is recorded from: a drive over hills, an eight with a bridge, and a straight of round numbers."""
    along = np.arange(0.0, 220.0, 0.9)
    winding = np.column_stack([700 + 25 * np.sin(along / 30), 40 + 4 * np.sin(along / 45), 800 + 0.8 * along])
    t = np.linspace(-0.45 * np.pi, 1.45 * np.pi, 280)
    deck = 8 * np.exp(-(((t - np.pi) / 0.6) ** 2))
    eight = np.column_stack([500 + 45 * np.sin(t), 10 + deck, 500 + 45 * np.sin(t) * np.cos(t)])
    return {"winding": winding.astype(np.float32), "eight": eight.astype(np.float32)}


def straight() -> Places:
    """Every sum and square on it is exact, so that distances really are equal where they should be."""
    return np.column_stack([np.full(3200, 8.0), np.full(3200, 2.0), np.arange(3200) * 0.125])


def drives(line: Places, chance: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float64], Places]]:
    """Ways to drive along a line: name, options, places.  A row of nan stands for a reset."""
    last = len(line) - 1

    def at(*parts: Any, noise: float = 0.0) -> Places:
        indices = np.clip(np.concatenate([np.atleast_1d(part) for part in parts]), 0, last).astype(int)
        places: Places = line[indices] + noise * chance.normal(0.0, 1.0, (len(indices), 3))
        return places

    reset = np.full((1, 3), np.nan)
    lap = np.arange(0, last + 40, 13)
    yield "lap", options(), np.concatenate([at(lap, noise=0.4), reset, at(lap, noise=2.0)])
    yield "exact lap", options(), at(lap)
    yield "in between", options(), (line[:-1:9] + line[1::9]) / 2
    yield "cuts", options(), at([0, 450, 460, 950, 1000, 1000, 1700, 1650, last], noise=0.2)
    yield "short sight", options(check_forward=7, check_backward=3), at(np.arange(0, 900, 5), [1200, 1201, 880, 890], noise=0.2)
    yield "no look back", options(check_backward=0, check_forward=1), at([0, 1, 2, 3, 3, 2, 2, 1, 9, 0, 0, 4])
    yield "back and forth", options(), at([200, *[180, 200] * 60])
    yield "way back", options(), at(np.arange(0, 900, 20), np.arange(900, -60, -20), noise=0.1)
    yield "still", options(), at(np.zeros(90))
    yield "still, impatient", options(min_steps=3, failure_countdown=0), at(np.zeros(5), [30], np.full(4, 30), [40, 40, 40])
    away = at(np.arange(300, 700, 20), noise=0.1)
    away[:, 0] += np.concatenate([np.linspace(0, 160, 10), np.linspace(160, 0, 10)])
    yield "astray", options(min_steps=5, failure_countdown=40), away
    yield "astray, soon", options(max_stray=3.5, min_steps=5, failure_countdown=40), away
    somewhere = chance.integers(0, last + 1, 60)
    yield "anywhere", options(min_steps=0, failure_countdown=5), at(somewhere, noise=5.0)


def reward_arrays(tmrl: Tmrl, lines: dict[str, Places]) -> Arrays:
    """`compute_reward` for every drive on every line."""
    arrays: Arrays = {}
    chance = np.random.default_rng(71)
    for name, line in lines.items():
        for drive, chosen, exact in drives(line, chance):
            places = exact.astype(np.float32)
            tmrl.use(line, chosen)
            judge = tmrl.judge()
            rows = []
            for place in places:
                if np.isnan(place).any():
                    judge.reset()
                    rows.append((0.0, False, -1))
                else:
                    rows.append((*judge.compute_reward(np.array([*map(float, place)])), judge.cur_idx))
            rewards, ended, indices = zip(*rows, strict=True)
            arrays |= {
                f"reward/{name}: {drive}/line": np.array(name),
                f"reward/{name}: {drive}/options": chosen,
                f"reward/{name}: {drive}/places": places,
                f"reward/{name}: {drive}/rewards": np.array(rewards, np.float64),
                f"reward/{name}: {drive}/ended": np.array(ended, bool),
                f"reward/{name}: {drive}/indices": np.array(indices, np.int64),
            }
    return arrays


# What the window shows


def road(width: int, height: int, chance: np.random.Generator) -> NDArray[np.uint8]:
    """Something like a road between black borders, with things on it that are nearly black."""
    import cv2  # as TMRL does, but not where only the names of this module are wanted

    image = np.full((height, width, 3), (190, 150, 110), np.uint8)
    image[height // 3 :] = (60, 120, 70)
    top, bend = height // 3, chance.uniform(-0.4, 0.4) * width
    share = np.linspace(0.0, 1.0, 30)
    rows = top + share * (height - top)
    middle = width / 2 + bend * (1 - share) ** 2
    half = width * (0.03 + chance.uniform(0.2, 0.6) * share)
    for more, colour in ((1.15, (20, 25, 30)), (1.0, (105, 105, 108))):
        left, right = np.column_stack([middle - more * half, rows]), np.column_stack([middle + more * half, rows])
        cv2.fillPoly(image, [np.concatenate([left, right[::-1]]).astype(np.int32)], colour)
    for _ in range(4):
        corner = chance.integers(0, (width, height), 2)
        level = tuple(int(value) for value in chance.integers(50, 60, 3))
        cv2.rectangle(image, corner.tolist(), (corner + chance.integers(5, 40, 2)).tolist(), level, -1)
    return image


def frames() -> dict[str, NDArray[np.uint8]]:
    """Pictures by the size of their window; the last ones are black, without any black, and at the threshold's two sides."""
    found = {}
    chance = np.random.default_rng(20)
    for name, width, height, roads in (("large", 958, 488, 6), ("small", 256, 128, 10), ("odd", 321, 203, 3)):
        pictures = [road(width, height, chance) for _ in range(roads)]
        pictures += [np.full((height, width, 3), level, np.uint8) for level in (0, 255, 54, 55)]
        found[name] = np.array(pictures)
    noise = chance.integers(50, 58, (2, 128, 256, 3)).astype(np.uint8)
    found["small"] = np.concatenate([found["small"], noise])
    return found


def lidar_arrays(tmrl: Tmrl, pictures: dict[str, NDArray[np.uint8]]) -> Arrays:
    """`Lidar.lidar_20` for every picture."""
    arrays: Arrays = {}
    for name, images in pictures.items():
        lidar = tmrl.tools.Lidar(images[0])
        arrays[f"frames/{name}"] = images
        arrays[f"lidar/{name}"] = np.array([lidar.lidar_20(image) for image in images])
    return arrays


# Whole interfaces


def interface_arrays(tmrl: Tmrl, lines: dict[str, Places], pictures: dict[str, NDArray[np.uint8]]) -> Arrays:
    """A few episodes of every interface: to the finish, standing still, and astray."""
    theirs = tmrl.interfaces
    asked: list[tuple[str, str, str, Callable[[], Any]]] = [
        ("lidar", LIDAR_ID, "large", lambda: theirs.TM2020InterfaceLidar(img_hist_len=4)),
        ("lidar, short memory", LIDAR_ID, "odd", lambda: theirs.TM2020InterfaceLidar(img_hist_len=2)),
        ("progress", LIDAR_PROGRESS_ID, "large", lambda: theirs.TM2020InterfaceLidarProgress(img_hist_len=4)),
        ("gray", FULL_ID, "small", lambda: theirs.TM2020Interface(4, gamepad=False, grayscale=True, resize_to=(64, 64))),
        ("colours", FULL_ID, "small", lambda: theirs.TM2020Interface(2, gamepad=False, grayscale=False, resize_to=(40, 24))),
    ]
    arrays: Arrays = {}
    for name, id, window, interface in asked:
        line = "eight" if name == "progress" else "winding"
        chosen = options(constant_penalty=-0.03, end_of_track=100.5, min_steps=12, failure_countdown=6)
        tmrl.use(lines[line], chosen)
        chance = np.random.default_rng(len(name))
        records, reset = episodes(lines[line], chance)
        shown = chance.integers(0, len(pictures[window]), len(records))
        arrays |= {
            f"interface/{name}/id": np.array(id),
            f"interface/{name}/line": np.array(line),
            f"interface/{name}/options": chosen,
            f"interface/{name}/frames": np.array(window),
            f"interface/{name}/shown": shown,
            f"interface/{name}/records": records,
            f"interface/{name}/reset": reset,
        }
        for what, answers in answered(interface(), pictures[window][shown], records, reset).items():
            arrays[f"interface/{name}/{what}"] = answers
    return arrays


def episodes(line: Places, chance: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Records of the plugin, and before which of them there is a reset."""
    last = len(line) - 1
    records, reset = [], []
    for indices, noise, side in (
        (np.append(np.arange(0, last, 47), last), 0.2, 0.0),
        (np.zeros(25, int), 0.0, 0.0),
        (np.concatenate([np.arange(0, 500, 60), [900, 1500, 1480, 1460, 1500]]), 0.2, 0.0),
        (np.arange(0, 1400, 70), 0.2, 9.0),
    ):
        for step, index in enumerate(indices):
            place = (line[index] + noise * chance.normal(0.0, 1.0, 3) + (side * step, 0.0, 0.0)).astype(np.float32)
            speed, gear, rpm = chance.uniform(0.0, 1100.0), float(chance.integers(0, 7)), chance.uniform(0.0, 11_000.0)
            finished = index == last and step > 0
            records.append(_record(place, speed=speed, gear=gear, rpm=rpm, finished=finished))
            reset.append(step == 0)
    return np.array(records, np.float32), np.array(reset)


def answered(interface: Any, images: NDArray[np.uint8], records: NDArray[np.float32], reset: NDArray[np.bool_]) -> Arrays:
    """What an interface makes of it; a reset has no reward and no end, which are written as 0."""
    observations, rewards, ended = [], [], []
    for image, record, anew in zip(images, records, reset, strict=True):
        NOW.image, NOW.record = image, tuple(map(float, record))
        if anew:
            (observation, _), reward, end = interface.reset(), np.float32(0.0), False
        else:
            observation, reward, end, _ = interface.get_obs_rew_terminated_info()
        observations.append([np.array(part) for part in observation])
        rewards.append(reward)
        ended.append(end)
    arrays: Arrays = {f"part{i}": np.array(part) for i, part in enumerate(zip(*observations, strict=True))}
    return arrays | {"rewards": np.array(rewards), "ended": np.array(ended, bool)}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        tmrl = Tmrl(Path(home))
        told = told_places()
        lines = {name: tmrl.recorded(places) for name, places in told.items()}
        lines["straight"] = straight()
        pictures = frames()
        arrays: dict[str, Any] = {f"told/{name}": places for name, places in told.items()}
        arrays |= {f"line/{name}": line for name, line in lines.items()}
        arrays |= reward_arrays(tmrl, lines)
        arrays |= lidar_arrays(tmrl, pictures)
        arrays |= interface_arrays(tmrl, lines, pictures)
    np.savez_compressed(FILE, **arrays)
    print(f"{FILE}: {len(arrays)} arrays, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
