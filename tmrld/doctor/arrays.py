"""Arrays as evidence: type and shape are checked when they come from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator

MOST_BYTES = 1 << 28
"""Of one array: more than any look takes."""


def _array_of(dtype: type[np.generic], *shape: int) -> Callable[[Any], NDArray[Any]]:
    """Lets an array of that type and shape pass; -1 is any length.  Raises ValueError."""

    def check(value: Any) -> NDArray[Any]:
        if not isinstance(value, np.ndarray) or value.dtype != dtype or value.nbytes > MOST_BYTES:
            raise ValueError(f"must be an array of {np.dtype(dtype)}, no larger than {MOST_BYTES >> 20} MiB")
        if value.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, value.shape, strict=True)):
            raise ValueError(f"has the shape {value.shape}, expected {shape}, where -1 is any")
        return value

    return check


Frames = Annotated[NDArray[np.uint8], PlainValidator(_array_of(np.uint8, -1, -1, -1, 3))]
"""Pictures of one size: (n, height, width, 3), blue first."""
Distances = Annotated[NDArray[np.float32], PlainValidator(_array_of(np.float32, -1, 19))]
"""What the LIDAR measured in each of n pictures: (n, 19), in pixels."""
Told = Annotated[NDArray[np.float64], PlainValidator(_array_of(np.float64, -1, 12))]
"""n records of the plugin: (n, 12), the 11 numbers as they came, and the time at which each came, in seconds."""
Points = Annotated[NDArray[np.float64], PlainValidator(_array_of(np.float64, -1, 3))]
"""A line of n points: (n, 3), in metres."""
