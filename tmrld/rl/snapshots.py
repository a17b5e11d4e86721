"""Modules and optimizers as named numpy arrays, and back: what a checkpoint stores of them, without pickle."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import torch
from torch import Generator, Tensor, nn

from tmrld.errors import BadInput
from tmrld.payloads import Array
from tmrld.rl.optimizers import Optimizer

log = logging.getLogger(__name__)


def to_array(tensor: Tensor) -> Array:
    """A copy of a tensor on the host."""
    return np.array(tensor.detach().cpu().numpy(), copy=True)


def fill(tensor: Tensor, arrays: Mapping[str, Array], name: str) -> None:
    """Overwrite a tensor with the array of that name.  Raises BadInput when it is missing or of another shape or dtype.

    Float64 and float32 stand for each other: which of them there is depends on the device (tmrld.rl.devices).
    """
    array = arrays.get(name)
    if array is None:
        raise BadInput(f"the checkpoint lacks '{name}': it was made by another version or with other options")
    source = torch.from_numpy(np.array(array, copy=True))
    same_type = source.dtype == tensor.dtype or {source.dtype, tensor.dtype} == {torch.float32, torch.float64}
    if source.shape != tensor.shape or not same_type:
        raise BadInput(
            f"'{name}' of the checkpoint is {source.dtype} {tuple(source.shape)}, the run needs {tensor.dtype} "
            f"{tuple(tensor.shape)}: restore it with the options that it was made with"
        )
    with torch.no_grad():
        tensor.copy_(source)


def module_arrays(prefix: str, module: nn.Module) -> dict[str, Array]:
    """The parameters and buffers of a module, as ``prefix.name``."""
    return {f"{prefix}.{name}": to_array(tensor) for name, tensor in module.state_dict().items()}


def restore_module(prefix: str, module: nn.Module, arrays: Mapping[str, Array]) -> None:
    """The inverse of `module_arrays`, in place."""
    for name, tensor in module.state_dict().items():
        fill(tensor, arrays, f"{prefix}.{name}")


def optimizer_arrays(prefix: str, optimizer: Optimizer) -> dict[str, Array]:
    """What an optimizer remembers of its parameters, as ``prefix.index.name``."""
    return {
        f"{prefix}.{index}.{name}": to_array(tensor)
        for index, memory in enumerate(optimizer.memory())
        for name, tensor in memory.items()
    }


def restore_optimizer(prefix: str, optimizer: Optimizer, arrays: Mapping[str, Array]) -> None:
    """The inverse of `optimizer_arrays`, in place: an optimizer that has not stepped when there is nothing under the prefix."""
    has_stepped = any(name.startswith(f"{prefix}.") for name in arrays)
    for index, memory in enumerate(optimizer.memory()):
        for name, tensor in memory.items():
            if has_stepped:
                fill(tensor, arrays, f"{prefix}.{index}.{name}")
            else:
                tensor.zero_()


def generator_array(generator: Generator) -> Array:
    """The state of a random generator."""
    return to_array(generator.get_state())


def restore_generator(generator: Generator, array: Array) -> None:
    """The inverse of `generator_array`.  Raises BadInput for a state of another version of torch.

    A state of another kind of device, which is of another size, seeds the generator: a run goes on wherever it is resumed, with
    other noise than it would have had.
    """
    state = torch.from_numpy(np.array(array, copy=True))
    if state.shape != generator.get_state().shape:
        log.warning(
            "the checkpoint was made on another kind of device: noise is drawn anew, so this is not the same run to the bit"
        )
        generator.manual_seed(int.from_bytes(sha256(state.numpy().tobytes()).digest()[:8], "little", signed=True))
        return
    try:
        generator.set_state(state)
    except (RuntimeError, TypeError) as error:
        raise BadInput(f"the checkpoint's random state does not fit this device or version of torch: {error}") from error
