"""The files of the relay's shelf that a run names, opened for its training: weights to start from, demonstrations to learn from.

``files`` says where they lie on this machine, by "kind/name"; the daemon has fetched them before the engine starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tmrld.errors import BadInput
from tmrld.payloads import Array, EnvSpec
from tmrld.protocol import demonstrations
from tmrld.protocol.demonstrations import Demonstrations
from tmrld.rl.observations import image_parts
from tmrld.rl.options import NetworkOptions
from tmrld.rl.replay import Replay
from tmrld.rl.weights import open_policy
from tmrld.storage.files import read_file

Files = Mapping[str, str]

OF_THE_POLICY = ("hidden", "trunk", "gru", "activation", "log_std_min", "log_std_max")
"""The network options that make a policy what it is; `cnn` does, too, where there are images."""


def policy_to_start_from(files: Files, name: str, network: NetworkOptions, spec: EnvSpec) -> dict[str, Array]:
    """The tensors of these weights.

    Raises WeightsError for a damaged file or one that does not fit the spec, BadInput for a policy of another network than the
    run's, with the options to set.
    """
    theirs, tensors = open_policy(_read(files, "weights", name), spec)
    fields = (*OF_THE_POLICY, "cnn") if image_parts(spec) else OF_THE_POLICY
    found, wanted = theirs.model_dump(mode="json"), network.model_dump(mode="json")
    if other := [field for field in fields if found[field] != wanted[field]]:
        settings = " and ".join(f"network.{field} to {_in_words(found[field])}" for field in other)
        ours = ", ".join(_in_words(wanted[field]) for field in other)
        raise BadInput(f"the run starts from the weights '{name}', whose network is another: set {settings} (now {ours})")
    return tensors


def demonstrations_to_learn_from(files: Files, names: tuple[str, ...], spec: EnvSpec, *, linked: bool = False) -> Replay | None:
    """All transitions of these demonstrations, in this order, in a memory that none will have to leave; None for no names.

    ``linked`` is as `Replay` has it.

    Raises BadInput for a damaged file, one of other spaces than the run's, and when they need more memory than is free.
    """
    opened = [demonstrations.unpack(_read(files, "demonstrations", name)) for name in names]
    for name, found in zip(names, opened, strict=True):
        _check_fits(name, found, spec)
    sizes = [(chunk.steps, chunk.lead) for found in opened for chunk in found.chunks]
    steps = sum(steps for steps, _ in sizes)
    if not steps:
        return None
    memory = Replay(spec, steps, steps + sum(lead for _, lead in sizes), linked=linked)
    for found in opened:
        for chunk in found.chunks:
            memory.append(chunk)
    return memory


def _read(files: Files, kind: str, name: str) -> bytes:
    path = files.get(f"{kind}/{name}")
    if path is None:
        raise BadInput(
            f"the run needs the {kind} '{name}', which this trainer has not fetched: check the relay's shelf for them"
        )
    return read_file(Path(path))


def _check_fits(name: str, found: Demonstrations, spec: EnvSpec) -> None:
    """Raise BadInput, naming the first difference, unless a worker of the run could have driven this."""
    what = f"the demonstrations '{name}' (driven in {found.spec.id}) do not fit {spec.id}"
    step = "record them again in the run's environment, or leave them out of replay.demonstrations"
    theirs, ours = [part.name for part in found.spec.parts], [part.name for part in spec.parts]
    if theirs != ours:
        raise BadInput(f"{what}: they hold the parts {', '.join(theirs)}, and the run needs {', '.join(ours)}; {step}")
    for part, wanted in zip(found.spec.parts, spec.parts, strict=True):
        for quality in ("shape", "dtype", "history"):
            was, should = getattr(part, quality), getattr(wanted, quality)
            if was != should:
                raise BadInput(f"{what}: the {quality} of '{part.name}' is {was} and should be {should}; {step}")
    for quality in ("action_size", "action_buffer", "step_s"):
        was, should = getattr(found.spec, quality), getattr(spec, quality)
        if was != should:
            raise BadInput(f"{what}: {quality} is {was} and should be {should}; {step}")


def _in_words(value: Any) -> str:
    """A value as it stands in a configuration."""
    return f'"{value}"' if isinstance(value, str) else str(value)
