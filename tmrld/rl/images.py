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
    """One convolution: (batch, inputs, …, …) → (batch, outputs, height, width)."""

    def __init__(self, shape: Convolution, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(shape.fan_in)
        kernel = (shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        self.weight = nn.Parameter(torch.empty(kernel).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(shape.outputs).uniform_(-bound, bound, generator=generator))
        self._stride = shape.stride

    def forward(self, values: Tensor) -> Tensor:
        return functional.conv2d(values, self.weight, self.bias, self._stride)


class EnsembleConvolutionLayer(nn.Module):
    """The same convolution of several networks at once: (batch, members · inputs, …, …) → (batch, members · outputs, height, width).

    Their channels lie side by side; the first layer, which is ``shared``, reads (batch, inputs, …, …) for all of them.
    """

    def __init__(self, members: int, shape: Convolution, shared: bool, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(shape.fan_in)
        kernel = (members, shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        self.weight = nn.Parameter(torch.empty(kernel).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(members, shape.outputs).uniform_(-bound, bound, generator=generator))
        self._stride = shape.stride
        self._groups = 1 if shared else members

    def forward(self, values: Tensor) -> Tensor:
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        return functional.conv2d(values, weight, bias, self._stride, groups=self._groups)


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

    def __init__(self, shapes: Sequence[Convolution], options: NetworkOptions, members: int, generator: Generator) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, shape in enumerate(shapes):
            if members == 1:
                layers.append(ConvolutionLayer(shape, generator))
            else:
                layers.append(EnsembleConvolutionLayer(members, shape, index == 0, generator))
        self.layers = nn.ModuleList(layers)
        self._activation = ACTIVATIONS[options.activation]
        self._precision = options.precision
        self._members = members
        self._normalised = options.cnn in NORMALISED

    def forward(self, values: Tensor) -> Tensor:
        with hidden_precision(self._precision, values.device, of_images=True):
            for layer in self.layers:
                values = self._activation(layer(values))
        values = values.float()
        if self._normalised:
            values = normalised(values.reshape(len(values), self._members, -1))
        return values.flatten(1)


def image_readers(spec: EnvSpec, options: NetworkOptions, members: int, generator: Generator) -> nn.ModuleList:
    """One `ImageReader` for each image part.  Raises BadInput for images that cannot be read."""
    return nn.ModuleList(ImageReader(shapes, options, members, generator) for shapes in convolutions(spec, options))
