"""How policy and critics read images: the convolutions that tmrld.rl.convolutions lists, of one network or of several at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from tmrld.payloads import EnvSpec, PartSpec
from tmrld.rl.convolutions import NORMALISED, Convolution, convolutions, image_shape
from tmrld.rl.devices import hidden_precision
from tmrld.rl.layers import ACTIVATIONS, normalised
from tmrld.rl.observations import image_parts
from tmrld.rl.options import NetworkOptions


class ConvolutionLayer(nn.Module):
    """One convolution: each (batch, inputs, …, …) → (batch, outputs, height, width)."""

    def __init__(self, shape: Convolution, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(shape.fan_in)
        kernel = (shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        self.weight = nn.Parameter(torch.empty(kernel).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(shape.outputs).uniform_(-bound, bound, generator=generator))
        self._stride = shape.stride

    def forward(self, values: Sequence[Tensor]) -> list[Tensor]:
        return [functional.conv2d(each, self.weight, self.bias, self._stride) for each in values]


class EnsembleConvolutionLayer(nn.Module):
    """The same of several networks, each with its own values and parameters.

    One after the other: on a processor that takes less time than one convolution in groups.
    """

    def __init__(self, members: int, shape: Convolution, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(shape.fan_in)
        kernel = (members, shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        self.weight = nn.Parameter(torch.empty(kernel).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(members, shape.outputs).uniform_(-bound, bound, generator=generator))
        self._stride = shape.stride

    def forward(self, values: Sequence[Tensor]) -> list[Tensor]:
        of_each = zip(values, self.weight.unbind(), self.bias.unbind(), strict=True)
        return [functional.conv2d(each, weight, bias, self._stride) for each, weight, bias in of_each]


def readable(spec: EnvSpec, seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with its images as networks read them: (…, *observed_shape) in their own dtype → (…, channels, height, width) float32.

    An update reads each several times, so it is done once: memory that is new costs more than the arithmetic.
    """
    return seen | {part.name: _readable_image(part, seen[part.name]) for part in image_parts(spec)}


def _readable_image(part: PartSpec, images: Tensor) -> Tensor:
    leading = images.shape[: images.dim() - len(part.observed_shape)]
    values = images.reshape(-1, *part.observed_shape)
    if len(part.shape) == 3:
        values = values.movedim(-1, -3)
    values = values.reshape(-1, *image_shape(part)).to(torch.float32, memory_format=torch.channels_last) / part.scale
    return values if len(leading) == 1 else values.reshape(*leading, *image_shape(part))


class ImageReader(nn.Module):
    """What convolutions make of one image part, made `readable`: (batch, channels, height, width) → (batch, members · size).

    A policy's has one member, and plain layers; the values of critics lie member after member.
    """

    def __init__(
        self, shapes: Sequence[Convolution], options: NetworkOptions, members: int | None, generator: Generator
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ConvolutionLayer(shape, generator) if members is None else EnsembleConvolutionLayer(members, shape, generator)
            for shape in shapes
        )
        self._activation = ACTIVATIONS[options.activation]
        self._precision = options.precision
        self._members = members or 1
        self._normalised = options.cnn in NORMALISED

    def forward(self, values: Tensor) -> Tensor:
        read = [values] * self._members
        with hidden_precision(self._precision, values.device, of_images=True):
            for layer in self.layers:
                read = [self._activation(each) for each in layer(read)]
        flat = torch.stack([each.flatten(1) for each in read], dim=1).float()
        return (normalised(flat) if self._normalised else flat).flatten(1)


def image_readers(spec: EnvSpec, options: NetworkOptions, members: int | None, generator: Generator) -> nn.ModuleList:
    """One `ImageReader` for each image part.  Raises BadInput for images that cannot be read."""
    return nn.ModuleList(ImageReader(shapes, options, members, generator) for shapes in convolutions(spec, options))
