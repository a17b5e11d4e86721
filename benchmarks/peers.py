"""What ours is compared with: TMRL 0.7.1, Stable-Baselines3 and SBX, on inputs of the same sizes.

TMRL and Stable-Baselines3 run as their own users run them.  SBX does not: its ``train`` took 180 ms an update where its own steps,
called one after the other, took 11 (jax 0.10.2, on a processor), so the steps are what is compared with.

A peer that is not installed is said so, and its place in a report is null.  ``pip install "tmrld[bench]"`` brings all but TMRL,
which would replace other packages: ``pip install --no-deps tmrl==0.7.1``.  TMRL wants a folder ``TmrlData`` in the home folder and
downloads one otherwise, so it gets a home of its own while it is imported; its ``__init__``, which imports a whole trainer, is left
out.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tmrld.payloads import Array

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
HIDDEN = (256, 256)
LIDAR_INPUTS = 83
ACTIONS = 3
TRANSITIONS = 20_000
"""In each peer's memory.  More make TMRL's and theirs no slower, but take long to put in."""
TMRL_CONFIG: dict[str, Any] = {
    **dict.fromkeys(("RUN_NAME", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_KEY", "PASSWORD", "TLS_HOSTNAME"), "benchmark"),
    **dict.fromkeys(("CUDA_TRAINING", "CUDA_INFERENCE", "VIRTUAL_GAMEPAD", "TLS", "RESET_TRAINING", "DEBUG_MODE"), False),
    **dict.fromkeys(("LOCALHOST_WORKER", "LOCALHOST_TRAINER"), True),
    **dict.fromkeys(("PORT", "LOCAL_PORT_SERVER", "LOCAL_PORT_TRAINER", "LOCAL_PORT_WORKER"), 55555),
    **dict.fromkeys(("BUFFERS_MAXLEN", "RW_MAX_SAMPLES_PER_EPISODE", "BUFFER_SIZE", "HEADER_SIZE"), 1000),
    "PUBLIC_IP_SERVER": "127.0.0.1",
    "TLS_CREDENTIALS_DIRECTORY": "",
    "NB_WORKERS": -1,
    "SAVE_MODEL_EVERY": 0,
    "ENV": {
        "RTGYM_INTERFACE": "TM20FULL",
        "WINDOW_WIDTH": 256,
        "WINDOW_HEIGHT": 128,
        "IMG_WIDTH": 64,
        "IMG_HEIGHT": 64,
        "IMG_GRAYSCALE": True,
        "SLEEP_TIME_AT_RESET": 1.5,
        "IMG_HIST_LEN": 4,
        "RTGYM_CONFIG": {"act_buf_len": 2},
        "REWARD_CONFIG": {},
    },
    "__VERSION__": "0.6.0",
}

Update = Callable[[], object]
_missing: set[str] = set()
_homes: list[tempfile.TemporaryDirectory[str]] = []


def tmrl(module: str) -> Any:
    """A module of TMRL, or None where it is not installed."""
    spec = None if "tmrl" in _missing else find_spec("tmrl")
    if spec is None or not spec.submodule_search_locations:
        _say_absent("tmrl", "pip install --no-deps tmrl==0.7.1")
        return None
    if not _homes:
        _homes.append(tempfile.TemporaryDirectory())
        folder = Path(_homes[0].name, "TmrlData", "config")
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(TMRL_CONFIG), "utf-8")
        home = {name: os.environ.get(name) for name in ("HOME", "USERPROFILE")}
        os.environ.update(dict.fromkeys(home, _homes[0].name))
        try:
            package = types.ModuleType("tmrl")
            package.__path__ = list(spec.submodule_search_locations)
            package.__spec__ = spec
            sys.modules["tmrl"] = package
            if find_spec("pandas") is None:
                tables: Any = types.ModuleType("pandas")  # for reports that nobody asks for here
                tables.Series = tables.DataFrame = object
                tables.__spec__ = ModuleSpec("pandas", None)
                sys.modules["pandas"] = tables
            importlib.import_module("tmrl.config.config_constants")
        finally:
            for name, value in home.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
    return importlib.import_module(module)


def tmrl_lidar_memory(transitions: int, batch: int, rng: np.random.Generator) -> Any:
    """TMRL's memory of LIDAR samples, full; None where it is not installed."""
    memories = tmrl("tmrl.custom.custom_memories")
    if memories is None:
        return None
    memory = memories.MemoryTMLidar(transitions, batch, imgs_obs=4, act_buf_len=2)
    return memory.append_buffer(tmrl_lidar_samples(transitions + memory.min_samples + 1, rng))


def tmrl_lidar_samples(count: int, rng: np.random.Generator) -> Any:
    """What a worker of TMRL sends: a buffer of so many samples of one long episode."""
    actions, lidar, speed = _uniform(rng, count, ACTIONS), _uniform(rng, count, 19), _uniform(rng, count, 1)
    return types.SimpleNamespace(
        memory=[(actions[k], (speed[k], lidar[k]), np.float32(0.1), False, False, {}) for k in range(count)]
    )


def tmrl_image_memory(transitions: int, batch: int, rng: np.random.Generator) -> Any:
    """TMRL's memory of gray images, full; None where it is not installed."""
    memories = tmrl("tmrl.custom.custom_memories")
    if memories is None:
        return None
    memory = memories.MemoryTMFull(transitions, batch, imgs_obs=4, act_buf_len=2)
    count = transitions + memory.min_samples + 1
    actions, numbers = _uniform(rng, count, ACTIONS), _uniform(rng, count, 3)
    images = rng.integers(0, 256, (count, 64, 64), np.uint8)
    samples: list[Any] = [
        (actions[k], (numbers[k, :1], numbers[k, 1:2], numbers[k, 2:], images[k]), 0.1, False, False, {}) for k in range(count)
    ]
    return memory.append_buffer(types.SimpleNamespace(memory=samples))


def tmrl_update(kind: str, batch: int, rng: np.random.Generator) -> Update | None:
    """An update of TMRL, its batch included: of its ``lidar`` MLP, its ``redq`` ensemble of these, or its ``images`` CNN."""
    algorithms, models = tmrl("tmrl.custom.custom_algorithms"), tmrl("tmrl.custom.custom_models")
    if algorithms is None:
        return None
    seen, acted = spaces.Tuple([_box(*size) for size in _tmrl_sizes(kind)]), _box(ACTIONS)
    if kind == "redq":
        # with a temperature that is learned, TMRL fails at the first update without one of the policy
        agent = algorithms.REDQSACAgent(seen, acted, "cpu", q_updates_per_policy_update=20, learn_entropy_coef=False)
    else:
        model = models.VanillaCNNActorCritic if kind == "images" else models.MLPActorCritic
        agent = algorithms.SpinupSacAgent(seen, acted, "cpu", model)
    memory = tmrl_image_memory(2000, batch, rng) if kind == "images" else tmrl_lidar_memory(TRANSITIONS, batch, rng)
    return lambda: agent.train(memory.sample())


def tmrl_act(kind: str) -> Update | None:
    """TMRL's policy of ``lidar`` or ``images``, choosing an action as its worker does; None where it is not installed."""
    models = tmrl("tmrl.custom.custom_models")
    if models is None:
        return None
    sizes = _tmrl_sizes(kind)
    policy = models.SquashedGaussianVanillaCNNActor if kind == "images" else models.SquashedGaussianMLPActor
    actor = policy(spaces.Tuple([_box(*size) for size in sizes]), _box(ACTIONS)).to_device("cpu")
    observation = tuple(np.full(size, 0.5, np.float32) for size in sizes)
    return lambda: actor.act_(observation)


def baselines_update(package: str, batch: int, rng: np.random.Generator) -> Update | None:
    """An update of the SAC of ``stable_baselines3`` or ``sbx``, its batch included."""
    os.environ.setdefault("XLA_FLAGS", ONE_THREAD)
    if find_spec(package) is None or find_spec("stable_baselines3") is None:
        _say_absent(package, 'pip install "tmrld[bench]"')
        return None
    module, logging = importlib.import_module(package), importlib.import_module("stable_baselines3.common.logger")
    model = module.SAC(
        "MlpPolicy",
        _Nothing(),
        batch_size=batch,
        buffer_size=TRANSITIONS,
        policy_kwargs={"net_arch": list(HIDDEN)},
        device="cpu",
    )
    model.set_logger(logging.Logger(None, []))
    seen, actions = _uniform(rng, TRANSITIONS, LIDAR_INPUTS), _uniform(rng, TRANSITIONS, ACTIONS)
    for k in range(TRANSITIONS):
        following = seen[(k + 1) % TRANSITIONS]
        model.replay_buffer.add(seen[k][None], following[None], actions[k][None], np.full(1, 0.1), np.zeros(1, bool), [{}])
    if package == "sbx":
        return _sbx_update(model, batch)
    return lambda: model.train(1, batch)


def _sbx_update(model: Any, batch: int) -> Update:
    """What SBX's ``train`` does, step by step: within the loop around them, XLA takes some fifteen times as long on a processor."""

    def update() -> list[float]:
        drawn = model.replay_buffer.sample(batch)
        seen, action, following = drawn.observations.numpy(), drawn.actions.numpy(), drawn.next_observations.numpy()
        reward, done = drawn.rewards.numpy().flatten(), drawn.dones.numpy().flatten()
        discount = np.full(batch, model.gamma, np.float32)
        policy = model.policy
        policy.qf_state, (critic_loss, alpha), model.key = model.update_critic(
            policy.actor_state,
            policy.qf_state,
            model.ent_coef_state,
            seen,
            action,
            following,
            reward,
            done,
            discount,
            model.key,
        )
        policy.qf_state = model.soft_update(model.tau, policy.qf_state)
        policy.actor_state, policy.qf_state, model.ent_coef_state, actor_loss, alpha_loss, model.key = (
            model.update_actor_and_temperature(
                policy.actor_state, policy.qf_state, model.ent_coef_state, seen, model.target_entropy, model.key
            )
        )
        return [value.item() for value in (critic_loss, alpha, actor_loss, alpha_loss)]

    return update


class _Nothing(gymnasium.Env[Array, Array]):
    """The spaces alone."""

    observation_space = spaces.Box(-np.inf, np.inf, (LIDAR_INPUTS,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        return np.zeros(LIDAR_INPUTS, np.float32), {}


def _tmrl_sizes(kind: str) -> tuple[tuple[int, ...], ...]:
    """What TMRL's networks see, part after part."""
    if kind == "images":
        return ((1,), (1,), (1,), (4, 64, 64), (ACTIONS,), (ACTIONS,))
    return ((1,), (4 * 19,), (ACTIONS,), (ACTIONS,))


def _box(*shape: int) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, shape, np.float32)


def _uniform(rng: np.random.Generator, *shape: int) -> Array:
    return rng.uniform(-1.0, 1.0, shape).astype(np.float32)


def _say_absent(package: str, remedy: str) -> None:
    """Say once that it is not there."""
    if package not in _missing:
        _missing.add(package)
        print(f"{package} is not installed here, so it is not compared with: {remedy}", file=sys.stderr)
