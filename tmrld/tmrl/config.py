"""TMRL's ``config.json`` as the configuration of a run: what each of its keys becomes, and why some become nothing.

`KEYS` has an entry for every key that TMRL 0.7.1 knows.  Where several of them make one setting, it is named at each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tmrld.configuration import InvalidConfig, Plain, checked, patched
from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID
from tmrld.errors import BadInput

MAX_BYTES = 2**20
OLDEST = (0, 6, 0)
"""TMRL itself reads no configuration of an older one."""
USUAL_BETAS = [0.9, 0.999]
"""Of Adam, where nobody gives any."""
OF_REDQ = ("ALG.REDQ_N", "ALG.REDQ_M", "ALG.REDQ_Q_UPDATES_PER_POLICY_UPDATE")
"""TMRL reads these for REDQSAC alone."""
SECRETS = ("PASSWORD", "WANDB_KEY")
"""Never printed."""


@dataclass(frozen=True)
class Becomes:
    """A key whose value is one of ours: ``field`` of a run's configuration, after ``convert``."""

    field: str
    convert: Callable[[Any], Any] = lambda value: value
    note: str = ""


@dataclass(frozen=True)
class Nothing:
    """A key without an equivalent, because …"""

    because: str


@dataclass(frozen=True)
class Entry:
    """What one key became: ``field`` and ``ours`` are "" and None where that is nothing; ``note`` says why, or what differs."""

    key: str
    value: Any
    field: str
    ours: Any
    note: str


@dataclass(frozen=True)
class Translation:
    """A ``config.json`` as ours: the name of its run, a merge patch over the defaults of a run, and what became of each key."""

    run_name: str
    patch: Plain
    entries: tuple[Entry, ...]

    @property
    def config(self) -> Plain:
        """The whole configuration of the run, checked."""
        return checked(self.patch)


def _flavour(name: Any) -> str:
    """As TMRL tells them apart: by how the name ends, and everything else is the full flavour."""
    text = _text("ENV.RTGYM_INTERFACE", name)
    if text.endswith("LIDARPROGRESS"):
        return LIDAR_PROGRESS_ID
    return LIDAR_ID if text.endswith("LIDAR") else FULL_ID


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{key} of config.json is {value!r}, a text was expected")
    return value


def _algorithm(name: Any) -> str:
    """Whatever is not REDQSAC is refused by TMRL, unless it is SAC."""
    names = {"SAC": "sac", "REDQSAC": "redq"}
    if (text := _text("ALG.ALGORITHM", name)) not in names:
        raise BadInput(f"ALG.ALGORITHM of config.json is {text!r}, {' or '.join(names)} was expected")
    return names[text]


def _lower(value: Any) -> Any:
    """TMRL takes the names of optimizers in letters of any size."""
    return value.lower() if isinstance(value, str) else value


def _tau(polyak: Any) -> float:
    if isinstance(polyak, bool) or not isinstance(polyak, int | float):
        raise BadInput(f"ALG.POLYAK of config.json is {polyak!r}, a number was expected")
    return round(1.0 - polyak, 12)


_NETWORK = "machines join a relay by an invite (`tmrld invite`), which has address, key and token in it"
_LOCAL = "nodes talk to their relay directly, through no port of their own"
_WANDB = "curves are on the page of the relay; nothing is sent to anybody else's server"
_BETAS = "TMRL 0.7.1 ignores this key and learns with (0.9, 0.999)"
_TOTAL = "MAX_EPOCHS × ROUNDS_PER_EPOCH × TRAINING_STEPS_PER_ROUND"

KEYS: dict[str, Becomes | Nothing] = {
    "__VERSION__": Nothing("it only says for which TMRL the file is"),
    "RUN_NAME": Becomes("name", note="of the run and its track, in small letters"),
    "RESET_TRAINING": Nothing("a new run always begins anew; `tmrld run clone` makes another one of the same configuration"),
    "BUFFERS_MAXLEN": Nothing("queues are bounded in bytes (worker.memory_bytes, worker.spool_bytes), and nothing is dropped"),
    "RW_MAX_SAMPLES_PER_EPISODE": Becomes("environment.max_steps", note="the smaller one of it and ep_max_length"),
    "CUDA_TRAINING": Nothing("the device is a setting of the trainer's machine: trainer.device = 'cuda' there"),
    "CUDA_INFERENCE": Nothing("policies act on the processor, which takes less than a millisecond"),
    "VIRTUAL_GAMEPAD": Becomes("environment.trackmania.controls", lambda value: "gamepad" if value else "keyboard"),
    "LOCALHOST_WORKER": Nothing(_NETWORK),
    "LOCALHOST_TRAINER": Nothing(_NETWORK),
    "PUBLIC_IP_SERVER": Nothing(_NETWORK),
    "PASSWORD": Nothing(
        "each machine has a token of its own (`tmrld token`), which can be revoked; this password is not taken over"
    ),
    "TLS": Nothing("links between machines are always encrypted"),
    "TLS_HOSTNAME": Nothing("the relay's key is pinned by the invite, whatever its name is"),
    "TLS_CREDENTIALS_DIRECTORY": Nothing("the relay makes its key and certificate itself"),
    "NB_WORKERS": Nothing("a run has as many workers as join it"),
    "WANDB_PROJECT": Nothing(_WANDB),
    "WANDB_ENTITY": Nothing(_WANDB),
    "WANDB_KEY": Nothing(f"{_WANDB}; the key is not taken over"),
    "PORT": Nothing("the relay's port is a setting of its machine: relay.port there"),
    "LOCAL_PORT_SERVER": Nothing(_LOCAL),
    "LOCAL_PORT_TRAINER": Nothing(_LOCAL),
    "LOCAL_PORT_WORKER": Nothing(_LOCAL),
    "BUFFER_SIZE": Nothing("messages have a size of their own, and are small"),
    "HEADER_SIZE": Nothing("the protocol is another one"),
    "MAX_EPOCHS": Becomes("training.max_updates", note=_TOTAL),
    "ROUNDS_PER_EPOCH": Becomes(
        "training.checkpoint_interval_updates", note="ROUNDS_PER_EPOCH × TRAINING_STEPS_PER_ROUND: an epoch"
    ),
    "TRAINING_STEPS_PER_ROUND": Becomes("training.metrics_interval_updates", note="metrics are means over a round"),
    "MAX_TRAINING_STEPS_PER_ENVIRONMENT_STEP": Becomes("algorithm.update_to_data"),
    "ENVIRONMENT_STEPS_BEFORE_TRAINING": Becomes(
        "algorithm.warm_up", lambda value: max(1, value) if type(value) is int else value
    ),
    "UPDATE_MODEL_INTERVAL": Becomes("training.weights_interval_updates"),
    "UPDATE_BUFFER_INTERVAL": Nothing("new samples are learned from as soon as they are there, between any two updates"),
    "SAVE_MODEL_EVERY": Nothing("the relay keeps the newest versions (relay.keep_weights), the best, and those that you pin"),
    "MEMORY_SIZE": Becomes("replay.capacity"),
    "BATCH_SIZE": Becomes("algorithm.batch_size"),
    "DEBUG_MODE": Nothing("nothing is hidden: all metrics are always recorded"),
    "ALG.ALGORITHM": Becomes("algorithm.name", _algorithm),
    "ALG.LEARN_ENTROPY_COEF": Becomes("algorithm.learn_alpha"),
    "ALG.LR_ACTOR": Becomes("algorithm.learning_rate_actor"),
    "ALG.LR_CRITIC": Becomes("algorithm.learning_rate_critic"),
    "ALG.LR_ENTROPY": Becomes("algorithm.learning_rate_temperature"),
    "ALG.GAMMA": Becomes("algorithm.gamma"),
    "ALG.POLYAK": Becomes("algorithm.tau", _tau, "1 - POLYAK"),
    "ALG.TARGET_ENTROPY": Becomes("algorithm.target_entropy", lambda value: "auto" if value is None else value),
    "ALG.ALPHA": Becomes("algorithm.alpha"),
    "ALG.REDQ_N": Becomes("algorithm.critics", note="TMRL 0.7.1 knows no other number than 10"),
    "ALG.REDQ_M": Becomes("algorithm.critic_subset"),
    "ALG.REDQ_Q_UPDATES_PER_POLICY_UPDATE": Becomes("algorithm.policy_interval"),
    "ALG.OPTIMIZER_ACTOR": Becomes("algorithm.optimizer_actor", _lower),
    "ALG.OPTIMIZER_CRITIC": Becomes("algorithm.optimizer_critic", _lower),
    "ALG.BETAS_ACTOR": Becomes("algorithm.betas_actor", lambda value: USUAL_BETAS if value is None else value, _BETAS),
    "ALG.BETAS_CRITIC": Becomes("algorithm.betas_critic", lambda value: USUAL_BETAS if value is None else value, _BETAS),
    "ALG.L2_ACTOR": Becomes("algorithm.weight_decay_actor", lambda value: 0.0 if value is None else value),
    "ALG.L2_CRITIC": Becomes("algorithm.weight_decay_critic", lambda value: 0.0 if value is None else value),
    "ENV.RTGYM_INTERFACE": Becomes("environment.id", _flavour),
    "ENV.WINDOW_WIDTH": Becomes("environment.window_width"),
    "ENV.WINDOW_HEIGHT": Becomes("environment.window_height"),
    "ENV.IMG_WIDTH": Becomes("environment.image_width"),
    "ENV.IMG_HEIGHT": Becomes("environment.image_height"),
    "ENV.IMG_GRAYSCALE": Becomes("environment.grayscale"),
    "ENV.SLEEP_TIME_AT_RESET": Becomes("environment.trackmania.sleep_at_reset_s"),
    "ENV.IMG_HIST_LEN": Becomes("environment.history"),
    "ENV.LINUX_X_OFFSET": Nothing("the window is found and grabbed where it is"),
    "ENV.LINUX_Y_OFFSET": Nothing("the window is found and grabbed where it is"),
    "ENV.IMG_SCALE_CHECK_ENV": Nothing("`tmrld env view` has a window that can be resized"),
    "ENV.RTGYM_CONFIG.time_step_duration": Becomes("environment.time_step_s"),
    "ENV.RTGYM_CONFIG.start_obs_capture": Becomes("environment.start_obs_capture_s"),
    "ENV.RTGYM_CONFIG.time_step_timeout_factor": Becomes("environment.timeout_factor"),
    "ENV.RTGYM_CONFIG.act_buf_len": Becomes("environment.action_buffer"),
    "ENV.RTGYM_CONFIG.reset_act_buf": Becomes("environment.reset_action_buffer"),
    "ENV.RTGYM_CONFIG.ep_max_length": Becomes(
        "environment.max_steps", note="the smaller one of it and RW_MAX_SAMPLES_PER_EPISODE"
    ),
    "ENV.RTGYM_CONFIG.benchmark": Becomes("environment.benchmark"),
    "ENV.RTGYM_CONFIG.wait_on_done": Becomes("environment.wait_on_done"),
    "ENV.RTGYM_CONFIG.act_in_obs": Nothing("an observation always has the newest actions in it, as TMRL's policies need"),
    "ENV.RTGYM_CONFIG.last_act_on_reset": Nothing("an episode's last action is never sent, which is rtgym's default"),
    "ENV.RTGYM_CONFIG.benchmark_polyak": Nothing("`tmrld env bench` measures time steps one by one"),
    "ENV.RTGYM_CONFIG.benchmark_type": Nothing("`tmrld env bench` measures time steps one by one"),
    "ENV.RTGYM_CONFIG.interface_kwargs.save_replays": Becomes("environment.trackmania.save_replays"),
    "ENV.REWARD_CONFIG.END_OF_TRACK": Becomes("environment.reward.end_of_track"),
    "ENV.REWARD_CONFIG.CONSTANT_PENALTY": Becomes("environment.reward.constant_penalty"),
    "ENV.REWARD_CONFIG.CHECK_FORWARD": Becomes("environment.reward.check_forward"),
    "ENV.REWARD_CONFIG.CHECK_BACKWARD": Becomes("environment.reward.check_backward"),
    "ENV.REWARD_CONFIG.FAILURE_COUNTDOWN": Becomes("environment.reward.failure_countdown"),
    "ENV.REWARD_CONFIG.MIN_STEPS": Becomes("environment.reward.min_steps"),
    "ENV.REWARD_CONFIG.MAX_STRAY": Becomes("environment.reward.max_stray"),
}

ABSENT = {
    "ENV.IMG_GRAYSCALE": False,
    "ENV.RTGYM_CONFIG.start_obs_capture": 0.05,
    "ENV.RTGYM_CONFIG.wait_on_done": False,
}
"""What TMRL and rtgym take where a key is absent, as far as ours differs."""

ALWAYS: dict[str, Any] = {
    "environment.game": "trackmania",
    "environment.clock": "realtime",
    "environment.compat": "tmrl",
    "algorithm.n_step": 1,
    "algorithm.policy_average": 1,
    "algorithm.policy_interval": 1,
    "algorithm.reward_scale": 1.0,
    "network.hidden": [256, 256],
    "network.activation": "relu",
    "network.cnn": "tmrl",
    "network.critic_layer_norm": False,
}
"""What TMRL does without a key for it."""


def read(data: bytes) -> Translation:
    """What the bytes of a ``config.json`` say.  Raises BadInput for what is none of TMRL's, or has values that we cannot use."""
    if len(data) > MAX_BYTES:
        raise BadInput(f"config.json has {len(data):,} bytes, one of TMRL's has a few thousand: it is another file")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"config.json is not JSON ({error}): mend it, or copy it again") from error
    if not isinstance(found, dict) or "ENV" not in found:
        raise BadInput("config.json has no entry ENV, so it is none of TMRL's: give the folder TmrlData itself")
    _check_version(found.get("__VERSION__"))
    return _translation(_flat(found))


def _translation(flat: Mapping[str, Any]) -> Translation:
    """``flat`` has a value for each dotted key."""
    known = {**{key: value for key, value in ABSENT.items() if key not in flat}, **flat}
    fields: dict[str, Any] = dict(ALWAYS)
    run_name = _text("RUN_NAME", flat.get("RUN_NAME", "tmrl"))
    for key, value in known.items():
        match _meaning(key, known.get("ALG.ALGORITHM")):
            case Becomes(field, convert) if key != "RUN_NAME":
                fields[field] = convert(value)
            case _:
                pass
    fields.update(_made_of_several(flat))
    patch: Plain = {}
    for field, value in fields.items():
        patch = patched(patch, _nested(field, value))
    try:
        checked(patch)
    except InvalidConfig as error:
        raise BadInput(f"config.json has values that tmrld cannot use: {error}") from None
    entries = tuple(
        _entry(key, value, _meaning(key, known.get("ALG.ALGORITHM")), {**fields, "name": run_name}, absent=key not in flat)
        for key, value in known.items()
    )
    always = tuple(Entry("", None, field, value, "TMRL does so without a key for it") for field, value in ALWAYS.items())
    return Translation(run_name, patch, entries + always)


def _meaning(key: str, algorithm: Any) -> Becomes | Nothing | None:
    """What a key becomes with this algorithm; None where it is none of TMRL's."""
    if key in OF_REDQ and algorithm != "REDQSAC":
        return Nothing("TMRL reads it for REDQSAC alone")
    return KEYS.get(key)


def _made_of_several(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that more than one key makes."""
    fields: dict[str, Any] = {}
    keys = ("RW_MAX_SAMPLES_PER_EPISODE", "ENV.RTGYM_CONFIG.ep_max_length")
    if steps := [_whole(key, flat[key]) for key in keys if flat.get(key, math.inf) != math.inf]:
        fields["environment.max_steps"] = min(steps)
    per_round, per_epoch, epochs = (
        _whole(key, flat[key]) if key in flat else 0 for key in ("TRAINING_STEPS_PER_ROUND", "ROUNDS_PER_EPOCH", "MAX_EPOCHS")
    )
    if per_round and per_epoch:
        fields["training.checkpoint_interval_updates"] = per_round * per_epoch
        fields["training.max_updates"] = per_round * per_epoch * epochs
    return fields


def _whole(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 2**53 or value != int(value):
        raise BadInput(f"{key} of config.json is {value!r}, a whole number from 1 up was expected")
    return int(value)


def _entry(key: str, value: Any, meaning: Becomes | Nothing | None, fields: Mapping[str, Any], *, absent: bool) -> Entry:
    shown = "(secret)" if key.rpartition(".")[2] in SECRETS and value else value
    match meaning:
        case Becomes(field, _, note):
            if absent:
                note = "absent, so as TMRL and rtgym have it then"
            return Entry(key, shown, field, fields.get(field), note)
        case Nothing(because):
            return Entry(key, shown, "", None, because)
    return Entry(key, "(not shown)", "", None, "no key of TMRL 0.7.1, so nothing is known of it")


def _flat(found: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value under its dotted key; groups are those that `KEYS` has."""
    flat: dict[str, Any] = {}
    for name, value in found.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in KEYS and any(each.startswith(f"{key}.") for each in KEYS):
            flat |= _flat(value, f"{key}.")
        else:
            flat[key] = value
    return flat


def _nested(field: str, value: Any) -> Plain:
    tree: Any = value
    for name in reversed(field.split(".")):
        tree = {name: tree}
    assert isinstance(tree, dict)
    return tree


def _check_version(version: Any) -> None:
    try:
        number = tuple(int(part) for part in str(version).split(".")[:3])
    except ValueError:
        number = ()
    if number < OLDEST:
        raise BadInput(
            f"config.json is of TMRL {version or '(unknown)'}, this reads those from {'.'.join(map(str, OLDEST))} on: install TMRL "
            "anew, which brings a newer one, and put your values there"
        )
