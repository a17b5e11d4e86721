"""What a learning algorithm offers to the training loop, and how one is made from its name.

An algorithm of your own is a class with these methods and the constructor ``(options, network, spec, seed, device)``; its name in
the options is ``module:attribute``.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Protocol, cast, runtime_checkable

from tmrld.errors import BadInput
from tmrld.payloads import Array, EnvSpec
from tmrld.rl.options import ALGORITHMS, AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Batch

OFFERED = ("options", "updates", "update", "stats", "policy_tensors", "state", "restore", "set_options")


class Algorithm(Protocol):
    """Learns a policy from batches.  Single-threaded: call its methods from one thread, one at a time."""

    options: AlgorithmOptions
    updates: int
    """How many times `update` was called since the run began, restored with the rest."""

    def update(self, batch: Batch) -> None:
        """One step of learning.  Measurements stay on the device until `stats`."""
        ...

    def stats(self) -> dict[str, float]:
        """The means of its measurements since the last call (empty when there was no update), read from the device once."""
        ...

    def policy_tensors(self) -> dict[str, Array]:
        """Copies of all that is needed to act: the tensors of a Weights file."""
        ...

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Everything that training goes on from: copies of arrays by name, and JSON-able values.

        Networks, optimizers, temperature, random states, counters, and the measurements not yet taken.
        """
        ...

    def restore(self, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
        """The inverse of `state`: on a CPU, training goes on bit for bit as it would have.

        Raises BadInput for the state of another algorithm or other options; the algorithm must then be thrown away.
        """
        ...

    def set_options(self, options: AlgorithmOptions) -> None:
        """Use other options from the next update on; what the optimizers remember stays.

        Raises BadInput for a change that needs a new run.
        """
        ...


@runtime_checkable
class StartsFromWeights(Protocol):
    """What an algorithm offers besides if a run of it can start from weights."""

    def start_from(self, tensors: Mapping[str, Array]) -> None:
        """Begin as the policy with these tensors, as `Algorithm.policy_tensors` gives them; called before the first update."""
        ...


@runtime_checkable
class BringsAhead(Protocol):
    """What an algorithm offers besides if a batch can come to its device while the update before it runs."""

    def bring(self, batch: Batch) -> Any:
        """What its `update` takes instead of this batch; another thread calls it, also while `update` runs."""
        ...


@runtime_checkable
class TellsErrors(Protocol):
    """What an algorithm offers besides if it can learn from a prioritised memory (tmrld.rl.priorities).

    It heeds `Batch.weights`: they are factors on what each transition adds to the critics' loss.
    """

    def errors(self) -> Array:
        """How far the critics were off for each transition of the last batch with weights: (batch,) float32, at least 0."""
        ...


def make_algorithm(
    options: AlgorithmOptions, network: NetworkOptions, spec: EnvSpec, seed: int, device: str = "cpu"
) -> Algorithm:
    """The algorithm that ``options.name`` names, with fresh networks drawn from ``seed``.

    Raises BadInput for a class of one's own that is not where its name says, with the nearest name there.
    """
    algorithm = _resolve(options.name)(options, network, spec, seed, device)
    if lacking := [name for name in OFFERED if not hasattr(algorithm, name)]:
        raise BadInput(f"'{options.name}' is no learning algorithm: it lacks {', '.join(lacking)} (see tmrld.rl.algorithm)")
    return cast(Algorithm, algorithm)


def _resolve(name: str) -> Any:
    """The class behind a name of ours or a ``module:attribute``."""
    module_name, _, attribute = ALGORITHMS.get(name, name).partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise BadInput(f"the algorithm '{name}' cannot be imported: {error}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        near = get_close_matches(attribute, dir(module), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "check the name behind the colon"
        raise BadInput(f"the module {module_name} has no class '{attribute}': {hint}")
    return cast(Any, found)
