"""The hidden layers of policy and critics, as plain numbers: which there are, and how wide.  No torch.

``mlp``: one layer after the other, each followed by the activation.

``simba``, arXiv 2410.09754: the first layer makes the residual stream, ``hidden[0]`` wide, with no activation.  Each further entry of
``hidden`` is a block: the stream is normalised, brought to that width, activated, brought back to the width of the stream, and added
to it.  The stream that leaves the last block is normalised.  What the paper has before all this, inputs of mean 0 and deviation 1, is
there anyway (tmrld.rl.normaliser).  Its normalisations have a scale and a shift of their own; here the layer behind does that.
"""

from __future__ import annotations

from itertools import pairwise

from tmrld.rl.options import NetworkOptions


def trunk_layers(inputs: int, options: NetworkOptions, hidden: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Inputs and outputs of each matrix, in the order in which they are used."""
    if options.trunk == "mlp":
        return tuple(pairwise((inputs, *hidden)))
    stream, *blocks = hidden
    return (inputs, stream), *(layer for width in blocks for layer in ((stream, width), (width, stream)))


def trunk_size(options: NetworkOptions, hidden: tuple[int, ...]) -> int:
    """How many values leave the trunk."""
    return hidden[-1] if options.trunk == "mlp" else hidden[0]
