"""How an environment's observation becomes the inputs of a network.  The one place where values are scaled.

A network sees a dictionary of arrays.  All parts whose frames have at most one axis, then the action buffer, are one flat
float32 vector under `VECTOR`: part after part as the EnvSpec lists them, each oldest frame first, then the actions, oldest
first.  The values of a part are divided by its ``scale``; actions are in [-1, 1] already.  A part whose frames have two axes or
more is an image: it stands under its own name, in its own dtype and unscaled (its encoder divides it, on the device that runs it).

The replay memory applies `scaled` to frames as it stores them, the acting policy to observations as it gets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tmrld.errors import BadInput
from tmrld.payloads import Array, EnvSpec, PartSpec

VECTOR = "vector"
RESERVED = ("action", "reward", "terminated", "truncated", "time", "weights", "actor", VECTOR)
"""What a part may not be called: the other columns of a chunk, and the name of the flat vector."""


def vector_parts(spec: EnvSpec) -> tuple[PartSpec, ...]:
    """The parts that are flattened into the vector."""
    return tuple(part for part in spec.parts if len(part.shape) < 2)


def image_parts(spec: EnvSpec) -> tuple[PartSpec, ...]:
    """The parts that stay apart."""
    return tuple(part for part in spec.parts if len(part.shape) >= 2)


def vector_size(spec: EnvSpec) -> int:
    """Length of the flat vector: 83 for TMRL's LIDAR."""
    return sum(part.observed_size for part in vector_parts(spec)) + spec.action_buffer * spec.action_size


def frame_size(part: PartSpec) -> int:
    """How many numbers one frame of this part holds."""
    return prod(part.shape)


def scaled(part: PartSpec, frames: Array) -> Array:
    """These frames as float32 divided by the part's scale; any shape, which is kept."""
    values = frames.astype(np.float32)
    if part.scale != 1.0:
        values /= np.float32(part.scale)
    return values


def check_spec(spec: EnvSpec) -> None:
    """Raise BadInput when parts share a name or have one that means something else in a chunk, or when there is no action."""
    seen: set[str] = set()
    for part in spec.parts:
        if part.name in RESERVED or part.name.startswith(("term.", "info.")):
            raise BadInput(
                f"{spec.id} calls a part of its observation '{part.name}', which tmrld uses itself: rename that part"
            )
        if part.name in seen:
            raise BadInput(f"{spec.id} has two parts of its observation called '{part.name}': give each a name of its own")
        if not part.scale > 0.0:
            raise BadInput(f"{spec.id} divides its part '{part.name}' by {part.scale}: the scale must be above 0")
        seen.add(part.name)
    if spec.action_size < 1:
        raise BadInput(f"{spec.id} takes {spec.action_size} action values: there must be at least 1 to learn anything")


def flatten(spec: EnvSpec, observation: Sequence[Array] | Array, out: Array) -> None:
    """Write the vector of one observation into ``out`` (vector_size,) float32.

    ``observation`` is the environment's tuple: the parts, then the action buffer; or, of an environment that has a single part
    and no action buffer, that part's array itself.  Raises BadInput when it does not have the spec's sizes.
    """
    values = (observation,) if isinstance(observation, np.ndarray) else observation
    expected = len(spec.parts) + spec.action_buffer
    if len(values) != expected:
        raise BadInput(f"the observation has {len(values)} parts, {spec.id} has {expected}: parts, then the action buffer")
    start = 0
    for part, value in zip(spec.parts, values, strict=False):
        if len(part.shape) >= 2:
            continue
        size = part.observed_size
        end = start + size
        flat = np.asarray(value).reshape(-1)
        if flat.size != size:
            raise BadInput(f"'{part.name}' of the observation holds {flat.size} values, {spec.id} says {size}")
        if part.scale == 1.0:
            out[start:end] = flat
        else:
            np.divide(flat, part.scale, out=out[start:end], dtype=np.float32, casting="unsafe")
        start = end
    for action in values[len(spec.parts) :]:
        end = start + spec.action_size
        out[start:end] = action
        start = end


def flatten_many(spec: EnvSpec, observations: Sequence[Sequence[Array] | Array], out: Array) -> None:
    """`flatten` each of these observations into its row of ``out`` (observations, vector_size), some times faster.

    Raises BadInput as `flatten` does.
    """
    tuples = [(values,) if isinstance(values, np.ndarray) else values for values in observations]
    vectors = [(len(part.shape) < 2, part.observed_size, part.scale) for part in spec.parts]
    actions = [(True, spec.action_size, 1.0)] * spec.action_buffer
    start = 0
    try:
        for values, (in_vector, size, scale) in zip(zip(*tuples, strict=True), vectors + actions, strict=True):
            if not in_vector:
                continue
            end = start + size
            rows = np.array(values).reshape(len(tuples), size)
            if scale == 1.0:
                out[:, start:end] = rows
            else:
                np.divide(rows, scale, out=out[:, start:end], dtype=np.float32, casting="unsafe")
            start = end
    except ValueError:  # one of them is of another size
        for observation, row in zip(observations, out, strict=True):
            flatten(spec, observation, row)
