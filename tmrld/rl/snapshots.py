"""Modules and optimizers as named numpy arrays, and back: what a checkpoint stores of them, without pickle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Generator, Tensor, nn

from tmrld.errors import BadInput
from tmrld.payloads import Array
from tmrld.rl.optimizers import Optimizer


def to_array(tensor: Tensor) -> Array:
    """A copy of a tensor on the host."""
    return np.array(tensor.detach().cpu().numpy(), copy=True)


def fill(tensor: Tensor, arrays: Mapping[str, Array], name: str) -> None:
    """Overwrite a tensor with the array of that name.  Raises BadInput when it is missing or of another shape or dtype."""
    array = arrays.get(name)
    if array is None:
        raise BadInput(f"the checkpoint lacks '{name}': it was made by another version or with other options")
    source = torch.from_numpy(np.array(array, copy=True))
    if source.shape != tensor.shape or source.dtype != tensor.dtype:
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
    """The inverse of `generator_array`.  Raises BadInput for a state of another kind of device or version of torch."""
    try:
        generator.set_state(torch.from_numpy(np.array(array, copy=True)))
    except (RuntimeError, TypeError) as error:
        raise BadInput(f"the checkpoint's random state does not fit this device or version of torch: {error}") from error
