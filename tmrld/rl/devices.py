"""What differs between the devices that tensors live on: the one place that knows.

- Floats: Apple's GPU (mps) has no float64 (`widest_float`).
- Precision: CUDA cards, and processors with AMX, compute hidden layers several times as fast in bfloat16 (`hidden_precision`,
  `hidden_product`).  Heads, losses, log-densities, targets, running means and optimizers stay in float32 in any case: bfloat16 has 8
  bits, and a value of 100 may be off by 0.25.  TF32 is left as torch has it: on for convolutions, off for matrix products.
- Images in the replay memory: on a CUDA card they lie in its own memory if they fit (`ImagePlaces`), so that a batch of them does not
  have to come from anywhere.
- Transfer: batches come from the processor's memory (`Carrier`).  On a CUDA card they go by two pinned buffers and a stream of their
  own, so that the next one is on its way while an update runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import cache
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tmrld.payloads import Array
from tmrld.rl.options import Precision
from tmrld.rl.replay import Batch, ImageColumn

log = logging.getLogger(__name__)


def widest_float(device: torch.device) -> torch.dtype:
    """The widest float of a device: float64, but on Apple's GPU (mps) float32."""
    return torch.float32 if device.type == "mps" else torch.float64


@cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether it is faster in bfloat16: a CUDA card that computes in it by itself, or a processor with AMX; others are slower."""
    if device.type == "cpu":
        return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def hidden_precision(asked: Precision, device: torch.device, *, of_images: bool) -> AbstractContextManager[object]:
    """In this context hidden layers, ``of_images`` convolutions, compute as `NetworkOptions.precision` asks for; parameters stay
    float32.  What leaves it may be bfloat16: make it float32 before it goes on.
    """
    lowered = asked == "bfloat16" or (asked == "auto" and of_images)
    return torch.autocast(device.type, torch.bfloat16) if lowered and has_bfloat16(device) else nullcontext()


Product = Callable[..., object]
"""Of two matrices, or several pairs, into ``out``: `torch.mm` and `torch.bmm` are such."""
LARGE = 128 * 128
"""Layers with more weights than these are two to four times as fast in bfloat16, at batches of some hundred."""


def hidden_product(asked: Precision, product: Product, weights: int) -> Product:
    """How a hidden layer of so many weights multiplies on a processor, as `NetworkOptions.precision` asks for: as it is, or with both
    factors rounded to bfloat16 and sums in float32, which is what a TPU does with float32.

    Torch has one switch for it in the whole process, so only one thread may multiply.
    """
    lowered = asked == "bfloat16" or (asked == "auto" and weights > LARGE)
    if not lowered or not has_bfloat16(torch.device("cpu")):
        return product

    def rounded(left: Tensor, right: Tensor, out: Tensor) -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            product(left, right, out=out)
        finally:
            torch.set_float32_matmul_precision(before)

    return rounded


@dataclass(frozen=True)
class BatchOnDevice:
    """A `Batch` in the memory of a device: the same fields, as tensors, but for ``drawn``, which the replay memory alone needs."""

    observation: dict[str, Tensor]
    action: Tensor
    reward: Tensor
    next_observation: dict[str, Tensor]
    terminated: Tensor
    steps: Tensor
    places: Tensor | None = None
    next_places: Tensor | None = None
    state: Tensor | None = None
    weights: Tensor | None = None
    arrival: Any = None
    """An event of the stream that it comes by; None where it is here already."""

    def tensors(self) -> Iterator[Tensor]:
        """All that are in it."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                yield from value.values()
            elif isinstance(value, Tensor):
                yield value


class Carrier:
    """Brings batches to a device, straight away: on the processor that is no work at all."""

    beside: ClassVar[bool] = False
    """Whether it is of use to bring a batch while the device computes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def bring(self, batch: Batch) -> BatchOnDevice:
        """Send it; one thread at a time may do so."""
        return BatchOnDevice(**self._moved(batch, lambda name, array: torch.from_numpy(array).to(self.device)))

    def received(self, batch: BatchOnDevice) -> BatchOnDevice:
        """The same, ready for what this thread does next."""
        return batch

    def _moved(self, batch: Batch, move: Any) -> dict[str, Any]:
        """All fields that a `BatchOnDevice` has, by name, each array of them moved once."""
        moved: dict[str, Any] = {}
        for field in fields(batch):
            value = getattr(batch, field.name)
            if field.name == "drawn":
                continue
            if field.name == "next_observation" and value is batch.observation:  # of windows
                moved[field.name] = moved["observation"]
            elif isinstance(value, Mapping):
                moved[field.name] = {
                    name: array if isinstance(array, Tensor) else move(f"{field.name}.{name}", array)
                    for name, array in value.items()
                }
            else:
                moved[field.name] = None if value is None else move(field.name, value)
        return moved


class StreamCarrier(Carrier):
    """Brings them beside what the device computes, by two buffers in turn: one is filled while the other is read by the device.

    The buffers are pinned where the device is a card, or it could not read them by itself.  ``streams`` is the module of torch that
    knows the device's streams.
    """

    beside: ClassVar[bool] = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._streams: Any = torch.get_device_module(device)
        self._stream = self._streams.Stream()
        self._buffers: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        self._left: list[Any] = [None, None]
        """For each buffer, an event after which it may be written again."""
        self._turn = 0

    def bring(self, batch: Batch) -> BatchOnDevice:
        """Start sending it; returns before it is there."""
        self._turn = 1 - self._turn
        if self._left[self._turn] is not None:
            self._left[self._turn].synchronize()
        with self._streams.stream(self._stream):
            moved = self._moved(batch, lambda name, array: self._staged(name, array).to(self.device, non_blocking=True))
            arrival = self._left[self._turn] = self._streams.Event()
            arrival.record(self._stream)
        return BatchOnDevice(**moved, arrival=arrival)

    def received(self, batch: BatchOnDevice) -> BatchOnDevice:
        """The same; what this thread has the device do next waits there until it has arrived."""
        if batch.arrival is not None:
            stream = self._streams.current_stream(self.device)
            stream.wait_event(batch.arrival)
            if self.device.type == "cuda":  # or the memory would be used again by the stream that it came by, while it is read
                for tensor in batch.tensors():
                    tensor.record_stream(stream)
        return batch

    def _staged(self, name: str, array: Array) -> Tensor:
        """A copy in this turn's buffer."""
        buffers, source = self._buffers[self._turn], torch.from_numpy(array)
        buffer = buffers.get(name)
        if buffer is None or buffer.shape != source.shape or buffer.dtype != source.dtype:
            buffer = torch.empty(source.shape, dtype=source.dtype, pin_memory=self.device.type == "cuda")
            buffers[name] = buffer
        return buffer.copy_(source)


def make_carrier(device: torch.device) -> Carrier:
    """What brings batches there fastest."""
    return StreamCarrier(device) if device.type == "cuda" else Carrier(device)


class ImagesOnDevice:
    """A `tmrld.rl.replay.ImageColumn` in the memory of a device: gives tensors."""

    def __init__(self, shape: tuple[int, ...], dtype: str, device: torch.device) -> None:
        self._frames = torch.empty(shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device=device)

    def __setitem__(self, rows: slice, frames: Array) -> None:
        self._frames[rows] = torch.from_numpy(np.array(frames)).to(self._frames.device)

    def take(self, rows: Array, axis: int = 0) -> Tensor:
        """The frames of these rows."""
        return self._frames.index_select(axis, torch.from_numpy(rows.reshape(-1)).to(self._frames.device)).reshape(
            *rows.shape, *self._frames.shape[1:]
        )


class ImagePlaces:
    """Makes columns for images where there is room for them: on a CUDA card up to `SHARE` of what is free there, or else where the
    rest of the replay memory lies.
    """

    SHARE: ClassVar[float] = 0.7

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def __call__(self, shape: tuple[int, ...], dtype: str) -> ImageColumn:
        size, free = prod(shape) * np.dtype(dtype).itemsize, free_bytes(self._device)
        if size <= self.SHARE * free:
            log.info("images of the replay memory, %.2f GiB, lie on %s", size / 2**30, self._device)
            return ImagesOnDevice(shape, dtype, self._device)
        if self._device.type == "cuda":
            log.warning(
                "images of the replay memory, %.2f GiB, do not fit on %s, where %.2f GiB are free: they come from the processor's "
                "memory batch by batch; a smaller replay.capacity or replay.capacity_bytes makes them fit",
                *(size / 2**30, self._device, free / 2**30),
            )
        return np.empty(shape, dtype)


def free_bytes(device: torch.device) -> int:
    """Of a CUDA card's own memory; others have none."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
