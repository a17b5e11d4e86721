"""The hidden layers of policy and critics, as plain numbers: which there are, and how wide.  No torch.

``mlp``: one layer after the other, each followed by the activation.

``simba``, arXiv 2410.09754: the first layer makes the residual stream, ``hidden[0]`` wide, with no activation.  Each further entry of
``hidden`` is a block: the stream is normalised, brought to that width, activated, brought back to the width of the stream, and added
to it.  The stream that leaves the last block is normalised.  What the paper has before all this, inputs of mean 0 and deviation 1, is
there anyway (tmrld.rl.normaliser).  Its normalisations have a scale and a shift of their own; here the layer behind does that.

``simba2``, arXiv 2502.15280 (SimbaV2): the same blocks on a sphere.  Each row of a matrix, what one output makes of all inputs, has
norm 1 and is brought back to it after every step of an optimizer; each output has a learned scale besides.  With unit(v) = v / ‖v‖
(the paper's sections 4.1, 4.2 and 4.4)::

    stream = unit(scale * (W [o, 3]))                     the first layer; o is normalised, 3 a constant
    aim    = unit(W" relu(scale' * (W' stream)))          a block, each with matrices of its own
    stream = unit(stream + share * (aim - stream))

``share``, how far the stream goes towards the aim, is the scale of the layer W".  What leaves the trunk is √width times the stream,
whose values are as large as those of the other trunks.  What differs from the paper:

- It normalises [o, 3], too.  The norm that follows the first layer takes that out again, whatever it was.  So this layer is one with
  a bias, 3 times the last column of W, and acts on raw inputs once the normaliser is folded into it.
- Its heads are two such matrices with a scale between.  Its critics do not tell a value but how likely each of 101 values between -5
  and 5 is, with rewards divided by how far their returns vary.  Here the heads are those of the algorithm, for values of any size:
  `AlgorithmOptions.reward_scale` stands for that division, and tqc tells how values are distributed.
- What the policy has been on average, which drives, is brought back to norm 1 as well.  Target critics are not, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from tmrld.rl.options import NetworkOptions

SHIFT = 3.0
"""The constant beside the inputs of a trunk of the kind simba2: with it, their length is not lost."""


@dataclass(frozen=True)
class Scale:
    """A learned factor that begins as ``first``; what is stored, and moved by an optimizer, is a number that begins as ``stored``."""

    first: float
    stored: float

    @property
    def unit(self) -> float:
        """What the stored number is multiplied by."""
        return self.first / self.stored


def trunk_layers(inputs: int, options: NetworkOptions, hidden: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Inputs and outputs of each matrix, in the order in which they are used."""
    if options.trunk == "mlp":
        return tuple(pairwise((inputs, *hidden)))
    stream, *blocks = hidden
    return (inputs, stream), *(layer for width in blocks for layer in ((stream, width), (width, stream)))


def trunk_size(options: NetworkOptions, hidden: tuple[int, ...]) -> int:
    """How many values leave the trunk."""
    return hidden[-1] if options.trunk == "mlp" else hidden[0]


def trunk_scales(options: NetworkOptions, hidden: tuple[int, ...]) -> tuple[Scale, ...]:
    """How the outputs of each layer are scaled, for simba2 alone.  arXiv 2502.15280, section 4.4."""
    stream, *blocks = hidden
    share = Scale(1.0 / (len(blocks) + 1.0), 1.0 / sqrt(stream))
    wide = [Scale(sqrt(2.0 / width), sqrt(2.0 / width)) for width in hidden]
    return wide[0], *(scale for each in wide[1:] for scale in (each, share))
