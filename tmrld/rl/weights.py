"""Weights files: a policy's tensors in one safetensors file that carries its manifest.  No torch, no pickle.

The metadata of the file hold three strings: ``tmrld`` (the WeightsManifest as JSON), ``tmrld.format`` (a number that grows when
an older reader could not follow) and ``tmrld.sha256``, over the manifest and every tensor, so that any damage is noticed.
Format of the container: https://huggingface.co/docs/safetensors (8 bytes length of a JSON header, the header, the data).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tmrld.errors import BadInput, WeightsError
from tmrld.payloads import Array, EnvSpec, Weights, WeightsManifest
from tmrld.rl.convolutions import convolutions, images_size
from tmrld.rl.observations import vector_size
from tmrld.rl.options import NetworkOptions
from tmrld.rl.trunks import trunk_layers, trunk_size

FORMAT = "1"
MAX_HEADER_BYTES = 16 * 2**20
"""Far above what thousands of tensors need; below what could exhaust memory while it is parsed."""

EARLIER = {"cnn": "tmrl"}
"""What a manifest means that leaves one of these options out: their default when it was written."""


def pack(manifest: WeightsManifest, tensors: Mapping[str, Array]) -> Weights:
    """The tensors and their manifest as one file."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    text = json.dumps(_to_plain(manifest), sort_keys=True)
    metadata = {"tmrld": text, "tmrld.format": FORMAT, "tmrld.sha256": _digest(text, contiguous)}
    return Weights(manifest, save(contiguous, metadata=metadata))


def unpack(data: bytes) -> tuple[WeightsManifest, dict[str, Array]]:
    """The inverse of `pack`.  Raises WeightsError, with what to do, for a file that is damaged or not of this program."""
    metadata = _metadata(data)
    text = metadata.get("tmrld")
    if not isinstance(text, str):
        raise WeightsError("this safetensors file has no tmrld manifest: use a file that tmrld exported")
    if (found := metadata.get("tmrld.format")) != FORMAT:
        raise WeightsError(
            f"these weights are of format {found}, this program reads format {FORMAT}: use the same version of tmrld"
        )
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"the weights file is damaged ({error}): download it again") from error
    if metadata.get("tmrld.sha256") != _digest(text, tensors):
        raise WeightsError(
            "the weights file does not match its checksum: it was damaged or changed on the way, download it again"
        )
    try:
        manifest = _from_plain(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the manifest of the weights file cannot be read ({error!r}): export the file again") from error
    return manifest, tensors


def check_fits(manifest: WeightsManifest, spec: EnvSpec) -> None:
    """Raise WeightsError, naming the first difference, unless the policy can drive an environment of this spec.

    Identity and bounds of the environment may differ; what a network sees and gives may not.
    """
    made_for = manifest.spec
    name = f"weights {manifest.version} of the run '{manifest.run}' (made for {made_for.id}) do not fit {spec.id}"
    step = "choose weights of that environment, or start a new run"
    theirs, ours = [part.name for part in made_for.parts], [part.name for part in spec.parts]
    if theirs != ours:
        raise WeightsError(f"{name}: they expect the parts {', '.join(theirs)} and get {', '.join(ours)}; {step}")
    for part, given in zip(made_for.parts, spec.parts, strict=True):
        for quality in ("shape", "dtype", "history", "scale"):
            expected, got = getattr(part, quality), getattr(given, quality)
            if expected != got:
                raise WeightsError(f"{name}: the {quality} of '{part.name}' should be {expected} and is {got}; {step}")
    for quality in ("action_size", "action_buffer"):
        expected, got = getattr(made_for, quality), getattr(spec, quality)
        if expected != got:
            raise WeightsError(f"{name}: {quality} should be {expected} and is {got}; {step}")


def open_policy(data: bytes, spec: EnvSpec) -> tuple[NetworkOptions, dict[str, Array]]:
    """The policy in a weights file, for an environment of this spec: what its network is, and its tensors, all float32.

    Raises WeightsError when the file is damaged, does not fit the spec, or holds another network than its manifest says.
    """
    manifest, tensors = unpack(data)
    check_fits(manifest, spec)
    name = f"weights {manifest.version} of the run '{manifest.run}'"
    try:
        options = NetworkOptions(**{**EARLIER, **manifest.network})
    except (ValidationError, TypeError) as error:
        raise WeightsError(f"{name} name a network that this program does not know: use the same version of tmrld") from error
    try:
        shapes = policy_shapes(spec, options)
    except BadInput as error:
        raise WeightsError(f"{name} are of no network that this program makes: {error}") from error
    policy: dict[str, Array] = {}
    for tensor, shape in shapes.items():
        found = tensors.get(tensor)
        if found is None or found.shape != shape or found.dtype != np.float32:
            got = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise WeightsError(f"{name} should hold '{tensor}' as float32 {shape} and hold {got}: export them again")
        if not np.isfinite(found).all():
            raise WeightsError(
                f"{name} hold values that are not finite in '{tensor}': the training diverged, use an older version"
            )
        policy[tensor] = found
    return options, policy


def policy_shapes(spec: EnvSpec, options: NetworkOptions) -> dict[str, tuple[int, ...]]:
    """The tensors of a policy by name, as tmrld.rl.networks lists them.  Raises BadInput for images that cannot be read."""
    shapes: dict[str, tuple[int, ...]] = {}
    for image, layers in enumerate(convolutions(spec, options)):
        for index, layer in enumerate(layers):
            name = f"encoder.images.{image}.layers.{index}"
            shapes[f"{name}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
            shapes[f"{name}.bias"] = (layer.outputs,)
    inputs = vector_size(spec) + images_size(spec, options)
    if gru := options.gru:
        for part, outputs, size in (("read", gru, inputs), ("input", 3 * gru, gru), ("state", 3 * gru, gru)):
            shapes[f"encoder.recurrence.{part}.weight"] = (outputs, size)
            shapes[f"encoder.recurrence.{part}.bias"] = (outputs,)
        inputs = 2 * gru
    for index, (ingoing, outgoing) in enumerate(trunk_layers(inputs, options, options.hidden)):
        spherical = options.trunk == "simba2"
        shapes[f"trunk.layers.{index}.weight"] = (outgoing, ingoing)
        if not spherical or index == 0:
            shapes[f"trunk.layers.{index}.bias"] = (outgoing,)
        if spherical:
            shapes[f"trunk.layers.{index}.scale"] = (outgoing,)
    shapes["head.weight"] = (2 * spec.action_size, trunk_size(options, options.hidden))
    shapes["head.bias"] = (2 * spec.action_size,)
    return shapes


def _metadata(data: bytes) -> Mapping[str, Any]:
    """The strings in the header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, MAX_HEADER_BYTES):
        raise WeightsError(
            f"this is not a safetensors file, or it is cut short ({len(data)} bytes): download it again, or export it anew"
        )
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header.get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise WeightsError("the header of the weights file cannot be read: it is damaged or not a safetensors file") from error
    if not isinstance(metadata, dict):
        raise WeightsError("the header of the weights file has no metadata: it is damaged or not of this program")
    return metadata


def _digest(manifest: str, tensors: Mapping[str, Array]) -> str:
    """Over the manifest, and name, type, shape and bytes of every tensor."""
    digest = sha256(manifest.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _to_plain(manifest: WeightsManifest) -> dict[str, Any]:
    plain = {field.name: getattr(manifest, field.name) for field in fields(manifest)}
    return plain | {"spec": manifest.spec.to_plain()}


def _from_plain(plain: Mapping[str, Any]) -> WeightsManifest:
    unknown = set(plain) - {field.name for field in fields(WeightsManifest)}
    if unknown:
        raise ValueError(f"unknown entries {', '.join(sorted(unknown))}")
    return WeightsManifest(
        run=str(plain["run"]),
        version=int(plain["version"]),
        update=int(plain["update"]),
        lineage=int(plain["lineage"]),
        spec=EnvSpec.from_plain(plain["spec"]),
        network=dict(plain["network"]),
        algorithm=str(plain["algorithm"]),
        created_by=str(plain["created_by"]),
    )
