"""Whether the algorithms learn as well as their papers say: Gymnasium's MuJoCo tasks, by this project's algorithm and replay memory.

    python benchmarks/mujoco_tasks.py --task Hopper --algorithm sac --seed 0

Steps are driven with the policy of a weights file, as a worker does it, and reach the replay memory in chunks of 50; then as many
updates follow as the algorithm makes per step.  Every 5,000 steps the deterministic policy drives 10 episodes on an environment of
its own.  What comes out is one CSV per task, algorithm and seed in ``benchmarks/results/mujoco``, and the plot of all that lie there.

A run can be stopped at any moment: it goes on from its last finished episodes when it is started again, bit for bit as if it had
not been stopped.  What it goes on from lies in ``--state``.

Hyper-parameters are those of the algorithm's paper (`PAPER`, `RECIPES`), and so are the networks: the layer norm that critics have by
default is left out where the paper has none.  What remains of our own is that inputs are normalised.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from plotting import curves
from report import print_report
from training import keep
from turns import one_thread

from tmrld.payloads import Array, Chunk, EnvSpec, PartSpec
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.inference import Actor
from tmrld.rl.options import ALGORITHMS, AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Replay
from tmrld.storage.files import pack_arrays, read_file, unpack_arrays, write_atomic

RESULTS = Path(__file__).parent / "results" / "mujoco"
VERSION = "v5"
CHUNK_STEPS = 50
EVALUATE_EVERY = 5_000
EPISODES = 10
SAVE_EVERY = 5_000

PAPER = AlgorithmOptions(
    gamma=0.99,
    tau=0.005,
    learning_rate_actor=3e-4,
    learning_rate_critic=3e-4,
    learning_rate_temperature=3e-4,
    alpha=1.0,
    target_entropy="auto",
    n_step=1,
    update_to_data=1.0,
    warm_up=5_000,
    policy_average=1,
)
OF_REDQ = {"update_to_data": 20.0, "policy_interval": 20}
RECIPES: dict[str, dict[str, Any]] = {
    "sac": {},
    "redq": OF_REDQ,
    "droq": OF_REDQ,
    "tqc": {},
    "crossq": {
        "learning_rate_actor": 1e-3,
        "learning_rate_critic": 1e-3,
        "policy_interval": 3,
        "betas_actor": (0.5, 0.999),
        "betas_critic": (0.5, 0.999),
    },
}
PUBLISHED = {
    ("Hopper", "sac", 100_000): (1103.0, 368.0),
    ("HalfCheetah", "sac", 100_000): (6156.0, 700.0),
    ("Hopper", "redq", 100_000): (2750.0, 922.0),
    ("Hopper", "redq", 50_000): (2485.0, 1035.0),
}
"""Mean and standard deviation of returns over ten seeds (REDQ, arXiv 2101.05982, tables 1 and 3, on version 4 of the tasks)."""


class Run:
    """One training: `step_episode` until it has driven its steps; `save` and `restore` between episodes."""

    def __init__(self, task: str, algorithm: str, seed: int, steps: int) -> None:
        self.task, self.name, self.seed = task, algorithm, seed
        self.driven = 0
        self.episode = 0
        self.rows: list[dict[str, Any]] = []
        self._env = gymnasium.make(f"{task}-{VERSION}")
        self._spec = spec_of(self._env)
        self._options = PAPER.model_copy(update={"name": algorithm, **RECIPES[algorithm]})
        wide = (2048, 2048) if algorithm == "crossq" else ()
        self._network = NetworkOptions(hidden=(256, 256), hidden_critic=wide, critic_layer_norm=False)
        self._algorithm = make_algorithm(self._options, self._network, self._spec, seed)
        self._replay = Replay(self._spec, steps, rows=2 * steps + CHUNK_STEPS)
        self._drawing = np.random.default_rng([seed, 1])
        self._chunks: list[Chunk] = []
        """All that the memory has taken in."""

    def drive_episode(self, limit: int) -> None:
        """One episode, or as much of it as there is until ``limit`` steps; learning goes on after each chunk."""
        rng = np.random.default_rng([self.seed, 2, self.episode])
        observation, _ = self._env.reset(seed=int(rng.integers(2**31)))
        rows = [self._row(observation, np.zeros(self._spec.action_size, np.float32), 0.0, False, False)]
        first, actor, ended = 0, self._actor(), False
        while not ended and self.driven < limit:
            if self.driven < self._options.warm_up:
                action = rng.uniform(-1.0, 1.0, self._spec.action_size).astype(np.float32)
            else:
                action = actor.act(rows[-1]["observation"], deterministic=False, rng=rng)
            observation, reward, terminated, truncated, _ = self._env.step(action)
            ended = terminated or truncated
            rows.append(self._row(observation, action, float(reward), terminated, truncated))
            self.driven += 1
            if len(rows) > CHUNK_STEPS or ended or self.driven == limit:
                self._take_in({name: np.stack([row[name] for row in rows]) for name in rows[0]}, first)
                first, rows = first + len(rows) - 1, rows[-1:]
                self._learn()
                actor = self._actor()
            if self.driven % EVALUATE_EVERY == 0:
                self._evaluate()
        self.episode += 1

    def save(self, path: Path) -> None:
        """Keep all that the run goes on from."""
        arrays, values = self._algorithm.state()
        arrays = {f"algorithm.{name}": array for name, array in arrays.items()}
        for name in self._chunks[0].columns:
            arrays[f"columns.{name}"] = np.concatenate([chunk.columns[name] for chunk in self._chunks])
        arrays["steps"] = np.array([chunk.steps for chunk in self._chunks])
        arrays["first"] = np.array([chunk.first_step for chunk in self._chunks])
        facts = {
            "run": [self.task, self.name, self.seed],
            "driven": self.driven,
            "episode": self.episode,
            "rows": self.rows,
            "algorithm": values,
            "drawing": self._drawing.bit_generator.state,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, pack_arrays(arrays, {"run": json.dumps(facts)}))

    def restore(self, path: Path) -> None:
        """Go on from what `save` kept."""
        arrays, metadata = unpack_arrays(read_file(path), str(path))
        facts = json.loads(metadata["run"])
        if facts["run"] != [self.task, self.name, self.seed]:
            raise SystemExit(f"{path} is of another run, {facts['run']}: name another file with --state")
        self._algorithm.restore(_under("algorithm.", arrays), facts["algorithm"])
        self._drawing.bit_generator.state = facts["drawing"]
        self.driven, self.episode, self.rows = facts["driven"], facts["episode"], facts["rows"]
        columns, start = _under("columns.", arrays), 0
        for steps, first in zip(arrays["steps"].tolist(), arrays["first"].tolist(), strict=True):
            end = start + steps + 1
            self._take_in({name: array[start:end] for name, array in columns.items()}, first)
            start = end

    def _take_in(self, columns: dict[str, Array], first: int) -> None:
        """A chunk before which so many steps of its episode went."""
        chunk = Chunk("", "", "", 0, "", first, len(columns["reward"]) - 1, 1, "", "train", "", columns)
        self._chunks.append(chunk)
        self._replay.append(chunk)

    def _learn(self) -> None:
        """As many updates as the steps that were driven since the warm-up ask for."""
        due = int((self.driven - self._options.warm_up) * self._options.update_to_data)
        while self._algorithm.updates < due:
            self._algorithm.update(self._replay.sample(self._options.batch_size, self._drawing))

    def _evaluate(self) -> None:
        """Drive with the deterministic policy, and note the returns."""
        returns = [self._return_of(number) for number in range(EPISODES)]
        stats = self._algorithm.stats()
        row = {
            "steps": self.driven,
            "updates": self._algorithm.updates,
            "return_mean": round(statistics.fmean(returns), 1),
            "return_std": round(statistics.pstdev(returns), 1),
            "q": round(stats.get("q", 0.0), 2),
            "entropy": round(stats.get("entropy", 0.0), 3),
        }
        self.rows.append(row)
        print(f"{self.driven:>8,} steps  {row['return_mean']:>8,.0f} ± {row['return_std']:<7,.0f}", flush=True)

    def _return_of(self, number: int) -> float:
        """Of one episode of an environment of its own."""
        env, actor, rng = gymnasium.make(f"{self.task}-{VERSION}"), self._actor(), np.random.default_rng(0)
        observation, _ = env.reset(seed=1_000_000 + 1000 * self.seed + number)
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(
                actor.act(observation.astype(np.float32), deterministic=True, rng=rng)
            )
            total += float(reward)
            ended = terminated or truncated
        env.close()
        return total

    def _actor(self) -> Actor:
        """What drives: the policy as it is now."""
        return Actor(self._spec, self._network, self._algorithm.policy_tensors())

    def _row(self, observation: Array, action: Array, reward: float, terminated: bool, truncated: bool) -> dict[str, Array]:
        return {
            "observation": observation.astype(np.float32),
            "action": action,
            "reward": np.asarray(reward, np.float32),
            "terminated": np.asarray(terminated, np.uint8),
            "truncated": np.asarray(truncated, np.uint8),
        }


def spec_of(env: gymnasium.Env[Any, Any]) -> EnvSpec:
    """The spaces of a task, whose actions lie in [-1, 1]."""
    shape, actions = env.observation_space.shape, env.action_space
    if not shape or not isinstance(actions, gymnasium.spaces.Box) or not np.all(np.abs(actions.high) == 1.0):
        raise SystemExit("only tasks with a vector to see and actions between -1 and 1 can be driven here, such as Hopper")
    size = actions.shape[0]
    name = env.spec.id if env.spec is not None else "MuJoCo"
    return EnvSpec(name, (PartSpec("observation", shape),), action_size=size, default_action=(0.0,) * size)


def _under(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def results() -> Iterator[tuple[str, str, list[dict[str, str]]]]:
    """Task, algorithm and rows of each CSV that is there."""
    for path in sorted(RESULTS.glob("*-*-*.csv")):
        task, algorithm, _ = path.stem.split("-")
        with path.open(newline="") as file:
            yield task, algorithm, list(csv.DictReader(file))


def plot() -> None:
    """One picture per task, of all that lies there."""
    tasks: dict[str, dict[str, list[tuple[list[float], list[float]]]]] = {}
    for task, algorithm, rows in results():
        line = [float(row["steps"]) for row in rows], [float(row["return_mean"]) for row in rows]
        tasks.setdefault(task, {}).setdefault(algorithm, []).append(line)
    for task, lines in tasks.items():
        levels = {
            f"published, {algorithm} at {steps:,}": mean
            for (of, algorithm, steps), (mean, _) in PUBLISHED.items()
            if of == task and algorithm in lines
        }
        curves(
            RESULTS / f"{task}.png", lines, levels, "environment steps", f"return of the deterministic policy, {task}-{VERSION}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="Hopper", help="Hopper, HalfCheetah, … (default: %(default)s)")
    parser.add_argument("--algorithm", choices=[name for name in ALGORITHMS if name in RECIPES], default="sac")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100_000, help="of the environment (default: %(default)s)")
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir(), "tmrld-mujoco"), help="folder to go on from")
    options = parser.parse_args()
    one_thread()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    name = f"{options.task}-{options.algorithm}-{options.seed}"
    state = options.state / f"{name}.state"
    run = Run(options.task, options.algorithm, options.seed, options.steps)
    if state.exists():
        run.restore(state)
        print(f"going on after {run.driven:,} steps")
    saved = run.driven
    RESULTS.mkdir(parents=True, exist_ok=True)
    while run.driven < options.steps:
        run.drive_episode(options.steps)
        if run.rows:
            keep(RESULTS / f"{name}.csv", run.rows)
        if run.driven - saved >= SAVE_EVERY or run.driven == options.steps:
            run.save(state)
            saved = run.driven
    plot()
    reached = run.rows[-1]["return_mean"]
    mean, deviation = PUBLISHED.get((options.task, options.algorithm, run.driven), (None, None))
    print_report(
        "mujoco_tasks",
        [
            {
                "metric": f"{options.task}_{options.algorithm}_return",
                "value": reached,
                "unit": "",
                "target": None if mean is None or deviation is None else mean - deviation,
                "peers": {} if mean is None else {"published mean": mean, "published deviation": deviation},
            }
        ],
    )


if __name__ == "__main__":
    main()
