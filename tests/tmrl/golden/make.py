"""Asks the policies of TMRL 0.7.1 themselves, and writes their files and their answers beside this file, for `tests/tmrl`.

The policies are TMRL's classes, saved by TMRL; observations go through TMRL's preprocessors.  Their weights are random, and rounded
to multiples of 1/256 so that the files compress well; those of the first layer are small where observations are large, as in a policy
that has learned to look at them.  ``tmrl/__init__.py`` is not run, since it imports a trainer.  To make the files anew:

    pip install --no-deps --target SOMEWHERE tmrl==0.7.1
    PYTHONPATH=SOMEWHERE python -m tests.tmrl.golden.make

``NAME.tmod.xz`` is a policy's file, compressed; ``actions.npz`` has, of each NAME:

================  ===============================================================================================================
``NAME/part0`` …  the observations' parts as an environment gives them, (n, …); speed, …, then the two newest actions
``NAME/32``       (n, 3) float32: what TMRL does
``NAME/64``       (n, 3) float64: what it would do in 64 bits
================  ===============================================================================================================
"""

from __future__ import annotations

import importlib
import json
import lzma
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from tests.envs.golden.make import CONFIG

FOLDER = Path(__file__).parent
OBSERVATIONS = 24
STEP = 256
COLOURED = 5
"""Axes of a batch of images in colour."""

Array = NDArray[Any]


def made() -> None:
    """Write all files."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "TmrlData")
        (folder / "config").mkdir(parents=True)
        (folder / "config" / "config.json").write_text(json.dumps(CONFIG), "utf-8")
        os.environ["HOME"] = os.environ["USERPROFILE"] = home
        package = types.ModuleType("tmrl")
        package.__path__ = [str(Path(path, "tmrl")) for path in sys.path if Path(path, "tmrl", "actor.py").is_file()]
        sys.modules["tmrl"] = package
        tables = types.ModuleType("pandas")  # for results, which nobody asks for here
        tables.Series = tables.DataFrame = object  # type: ignore[attr-defined]
        sys.modules["pandas"] = tables
        models = importlib.import_module("tmrl.custom.custom_models")
        before = importlib.import_module("tmrl.custom.tm.tm_preprocessors")
        rng = np.random.default_rng(71)
        kinds = {
            "lidar": ("SquashedGaussianMLPActor", before.obs_preprocessor_tm_lidar_act_in_obs, lidar(rng)),
            "progress": ("SquashedGaussianMLPActor", before.obs_preprocessor_tm_lidar_progress_act_in_obs, progress(rng)),
            "gray": ("SquashedGaussianVanillaCNNActor", before.obs_preprocessor_tm_act_in_obs, full(rng, (4, 64, 64))),
            "colour": (
                "SquashedGaussianVanillaColorCNNActor",
                before.obs_preprocessor_tm_act_in_obs,
                full(rng, (4, 64, 64, 3)),
            ),
        }
        answers: dict[str, Array] = {}
        for name, (cls, preprocess, parts) in kinds.items():
            torch.manual_seed(len(name))
            space = spaces.Tuple([spaces.Box(-np.inf, np.inf, part.shape[1:]) for part in parts])
            actor = getattr(models, cls)(space_of(preprocess, space), spaces.Box(-1.0, 1.0, (3,)))
            rounded(actor)
            if name != "colour":  # it has the tensors of gray
                actor.save(Path(home, "policy.tmod"))
                (FOLDER / f"{name}.tmod.xz").write_bytes(lzma.compress(Path(home, "policy.tmod").read_bytes(), preset=9))
                kept = actor.state_dict()
            else:
                actor.load_state_dict(kept)
            for bits, kind in ((32, torch.float32), (64, torch.float64)):
                answers[f"{name}/{bits}"] = acted(actor.type(kind), preprocess, parts, kind)
            answers |= {f"{name}/part{k}": part for k, part in enumerate(parts)}
            print(name, np.abs(answers[f"{name}/32"] - answers[f"{name}/64"]).max(), np.abs(answers[f"{name}/64"]).mean())
        np.savez_compressed(FOLDER / "actions.npz", allow_pickle=False, **answers)


def rounded(actor: torch.nn.Module) -> None:
    """Weights that compress, and a first layer that is not deafened by distances in pixels."""
    with torch.no_grad():
        for name, tensor in actor.named_parameters():
            tensor.mul_(4.0 if "layer" in name else 1.0)
            tensor.copy_((tensor * STEP).round() / STEP)
            if name == "net.0.weight":
                tensor.div_(64.0)


def acted(actor: Any, preprocess: Any, parts: list[Array], kind: torch.dtype) -> Array:
    """What the policy does without exploring, one observation after the other, as a worker of TMRL asks it."""
    actions = []
    for row in zip(*parts, strict=True):
        if kind is torch.float64:
            row = tuple(value if value.dtype == np.uint8 else value.astype(np.float64) for value in row)
        seen = [torch.as_tensor(np.asarray(value)).to(kind)[None] for value in preprocess(row)]
        if seen[-3].ndim == COLOURED:
            # TMRL's policy for colour explores even when it is not to: its mean is asked for instead, of the colour that it sees.
            seen[-3] = importlib.import_module("tmrl.custom.custom_models").remove_colors(seen[-3])
            with torch.no_grad():
                actions.append(torch.tanh(actor.mu_layer(actor.net(seen)))[0].numpy())
        else:
            actions.append(actor.act(tuple(seen), test=True))
    return np.array(actions)


def space_of(preprocess: Any, space: spaces.Tuple[Any]) -> spaces.Tuple[Any]:
    """The space of what enters the network."""
    seen = preprocess(tuple(np.zeros(each.shape, np.float32) for each in space))
    return spaces.Tuple([spaces.Box(-np.inf, np.inf, np.shape(each)) for each in seen])


def actions(rng: np.random.Generator) -> list[Array]:
    return [rng.uniform(-1, 1, (OBSERVATIONS, 3)).astype(np.float32) for _ in range(2)]


def speeds(rng: np.random.Generator) -> Array:
    return rng.uniform(0, 90, (OBSERVATIONS, 1)).astype(np.float32)


def beams(rng: np.random.Generator) -> Array:
    return rng.integers(0, 600, (OBSERVATIONS, 4, 19)).astype(np.float32)


def lidar(rng: np.random.Generator) -> list[Array]:
    return [speeds(rng), beams(rng), *actions(rng)]


def progress(rng: np.random.Generator) -> list[Array]:
    return [speeds(rng), rng.uniform(0, 1, (OBSERVATIONS, 1)).astype(np.float32), beams(rng), *actions(rng)]


def full(rng: np.random.Generator, shape: tuple[int, ...]) -> list[Array]:
    """Images of a few shades and edges, which compress."""
    gear = rng.integers(0, 7, (OBSERVATIONS, 1)).astype(np.float32)
    rpm = rng.uniform(0, 11_000, (OBSERVATIONS, 1)).astype(np.float32)
    coarse = rng.integers(0, 256, (OBSERVATIONS, shape[0], 8, 8, *shape[3:]))
    images = coarse.repeat(8, axis=2).repeat(8, axis=3).astype(np.uint8)
    return [speeds(rng), gear, rpm, images, *actions(rng)]


if __name__ == "__main__":
    made()
