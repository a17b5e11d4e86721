"""The convolutional networks that read images, as plain numbers: their layers, and the sizes that follow.  No torch.

A frame of an image part is (height, width), or (height, width, colours).  Its history and its colours are channels alike to the
first layer: (history · colours, height, width), the oldest frame first, of each frame the colours in the environment's order.
"""

from __future__ import annotations

from dataclasses import dataclass

from tmrld.errors import BadInput
from tmrld.payloads import EnvSpec, PartSpec
from tmrld.rl.observations import image_parts
from tmrld.rl.options import NetworkOptions

LAYERS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "patches": ((24, 4, 4), (32, 3, 2), (64, 3, 2)),
    "tmrl": ((64, 8, 2), (64, 4, 2), (128, 4, 2), (128, 4, 2)),
    "nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
}
"""By `NetworkOptions.cnn`: channels, width of the square kernel and stride of each layer.  None is padded, and the activation
follows each."""

NORMALISED = ("patches",)
"""Those whose last layer is normalised: all that is read of an image has mean 0 and deviation 1 (arXiv 1607.06450)."""


@dataclass(frozen=True)
class Convolution:
    """One layer: (inputs, …, …) → (outputs, height, width), with a square kernel."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    height: int
    width: int

    @property
    def fan_in(self) -> int:
        """How many values each output is made of."""
        return self.inputs * self.kernel**2

    @property
    def size(self) -> int:
        """How many values it gives."""
        return self.outputs * self.height * self.width

    @property
    def multiply_adds(self) -> int:
        """How many it takes for one observation."""
        return self.size * self.fan_in


def convolutions(spec: EnvSpec, options: NetworkOptions) -> tuple[tuple[Convolution, ...], ...]:
    """The layers for each image part of the spec, in its order; empty where nothing is seen in pictures.

    Raises BadInput for a part that is no image, or too small a one.
    """
    return tuple(_layers(spec, part, options) for part in image_parts(spec))


def images_size(spec: EnvSpec, options: NetworkOptions) -> int:
    """How many values the convolutions make of all images of an observation: 128 for TMRL's of 64 by 64 pixels.

    Raises BadInput like `convolutions`.
    """
    return sum(layers[-1].size for layers in convolutions(spec, options))


def image_shape(part: PartSpec) -> tuple[int, int, int]:
    """What the first layer reads of this image part: channels, height, width."""
    height, width, *colours = part.shape
    return max(1, part.history) * (colours[0] if colours else 1), height, width


def _layers(spec: EnvSpec, part: PartSpec, options: NetworkOptions) -> tuple[Convolution, ...]:
    if len(part.shape) > 3:
        raise BadInput(
            f"a frame of '{part.name}' of {spec.id} has {len(part.shape)} axes, {part.shape}: a network reads images of the shape "
            "(height, width) or (height, width, colours)"
        )
    least = 1
    for _, kernel, stride in reversed(LAYERS[options.cnn]):
        least = (least - 1) * stride + kernel
    inputs, height, width = image_shape(part)
    if min(height, width) < least:
        raise BadInput(
            f"the images '{part.name}' of {spec.id} are {height} pixels high and {width} wide, and network.cnn = \"{options.cnn}\" "
            f"needs {least} each way: make the images larger, or choose another of {', '.join(LAYERS)}"
        )
    layers: list[Convolution] = []
    for outputs, kernel, stride in LAYERS[options.cnn]:
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        layers.append(Convolution(inputs, outputs, kernel, stride, height, width))
        inputs = outputs
    return tuple(layers)
