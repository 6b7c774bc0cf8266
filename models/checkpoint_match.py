"""Find the spec that a checkpoint's shapes belong to, and hand its arrays to the layers of that spec."""

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from mnet_deploy.errors import ForeignHead, SpecError
from mnet_deploy.models.checkpoint_files import Checkpoint
from mnet_deploy.models.keras_config import ConfigFacts, read_config
from mnet_deploy.models.stored_layer import StoredLayer
from mnet_deploy.models.weights import BATCH_NORM_EPSILON, LayerWeights, expected_shapes
from mnet_deploy.spec import Family, LayerKind, LayerSpec, ModelSpec
from mnet_deploy.spec.families import STEM_WIDTH

_COMMON_GROWTHS = (16, 32, 64, 8, 12, 24, 48)
_GROWTH_POSITION = {Family.DENSE1_MOBILENET: 2, Family.DENSE2_MOBILENET: 3}  # the first convolution that emits it


def infer_spec(checkpoint: Checkpoint, overrides: dict[str, Any]) -> ModelSpec:
    """Return the spec of a checkpoint.

    Args:
        checkpoint: as read.
        overrides: fields of `ModelSpec` that the user asked for. What the checkpoint does not say (the resolution,
            the padding of a file with weights only) is taken from here; `classes` may differ: the head is then new.

    Raises:
        SpecError: the checkpoint is of no family, or says something else than `overrides`.
    """
    found = _spec_of_shapes(checkpoint)
    asked_px = overrides.get("resolution_px", found.resolution_px)
    facts = facts_of(checkpoint, found.with_changes(resolution_px=asked_px))
    head, problem = _head(checkpoint, found, facts)
    if problem and "classes" not in overrides:
        raise ForeignHead(
            f"{checkpoint.path}: its classifier cannot be kept: {problem}. Give --classes N for a new one, or --no-top"
        )
    known: dict[str, Any] = {"family": found.family, "alpha": found.alpha, "channels_in": found.channels_in}
    known |= {"growth": found.growth, "resolution_px": facts.resolution_px, "padding": facts.padding}
    known = {key: value for key, value in known.items() if value is not None}
    spec = ModelSpec(**{"classes": None if head is None else head.arrays[0].shape[-1], **known})
    for key, value in overrides.items():
        changed = spec.with_changes(**{key: value})
        if key in known and known[key] != value and changed.layers() != spec.layers():
            raise SpecError(
                f"{key}={value} was asked for, but {checkpoint.path} has {key}={known[key]}. Leave the option out, or "
                "give another checkpoint"
            )
        spec = changed
    return spec


def match_weights(checkpoint: Checkpoint, spec: ModelSpec) -> tuple[dict[str, LayerWeights], bool]:
    """Return the weights by layer name, and whether the classifier is among them.

    Layers are found by name where the file keeps names, by their order within each class otherwise. A head of
    another size, or none, leaves the classifier out.
    """
    facts = facts_of(checkpoint, spec)
    body = _body(spec)
    kernels = _stored_kernels(checkpoint, body)
    norms = [layer for layer in checkpoint.layers if layer.is_batch_norm]
    by_name = {layer.name: layer for layer in norms}
    weights = {}
    for index, layer in enumerate(body):
        norm = by_name.get(f"{layer.name}_bn") or _norm_at(checkpoint, norms, body, index)
        weights[layer.name] = _layer_weights(kernels[layer.name], norm, epsilon=_epsilon(facts, norm))
    head, _ = _head(checkpoint, spec, facts)
    if spec.classes is None or head is None or head.arrays[0].shape[-1] != spec.classes:
        return weights, False
    classifier = spec.layers()[-2]
    bias = head.arrays[1] if len(head.arrays) > 1 else np.zeros(spec.classes, np.float32)
    kernel = head.arrays[0].reshape(expected_shapes(classifier)["kernel"])
    return weights | {classifier.name: LayerWeights(kernel=kernel, bias=bias)}, True


def facts_of(checkpoint: Checkpoint, spec: ModelSpec) -> ConfigFacts:
    """Return what the configuration in a file says; raises a `SpecError` that names the file."""
    if checkpoint.padding is not None:
        return ConfigFacts(padding=checkpoint.padding)
    try:
        return read_config(checkpoint.config, spec)
    except SpecError as error:
        raise SpecError(f"{checkpoint.path}: {error}") from error


def _body(spec: ModelSpec) -> list[LayerSpec]:
    return [layer for layer in spec.layers() if layer.kind.has_weights and layer.kind is not LayerKind.CLASSIFIER]


def _norm_at(checkpoint: Checkpoint, norms: list[StoredLayer], body: list[LayerSpec], index: int) -> StoredLayer:
    if len(norms) != len(body):
        raise SpecError(
            f"{checkpoint.path}: expected {len(body)} batch normalisations. Received: {len(norms)}. Batch-norm-folded "
            "checkpoints cannot be read"
        )
    return norms[index]


def _epsilon(facts: ConfigFacts, norm: StoredLayer) -> float:
    values = set(facts.epsilons.values())
    if len(values) > 1 and norm.name not in facts.epsilons:
        raise SpecError(f"the epsilon of {norm.name} is one of {sorted(values)}: the file does not say which")
    return facts.epsilons.get(norm.name, next(iter(values), BATCH_NORM_EPSILON))


def _layer_weights(kernel: StoredLayer, norm: StoredLayer, *, epsilon: float) -> LayerWeights:
    gamma, beta, mean, variance = norm.arrays
    if len(kernel.arrays) > 1:  # a bias before a batch normalisation only shifts the mean
        bias = kernel.arrays[1]
        if bias.shape != mean.shape:
            raise SpecError(f"the bias of {kernel.name} must have the shape {mean.shape}. Received: {bias.shape}")
        mean = mean - bias
    variance = variance + np.float32(epsilon - BATCH_NORM_EPSILON)
    return LayerWeights(kernel=kernel.arrays[0], gamma=gamma, beta=beta, mean=mean, variance=variance)


def _stored_kernels(checkpoint: Checkpoint, body: list[LayerSpec]) -> dict[str, StoredLayer]:
    by_name = {layer.name: layer for layer in checkpoint.layers if not layer.is_batch_norm}
    if all(layer.name in by_name for layer in body):
        return {layer.name: by_name[layer.name] for layer in body}
    depthwise = iter([layer for layer in checkpoint.layers if layer.is_depthwise])
    others = iter([layer for layer in checkpoint.layers if layer.is_convolution])
    return {layer.name: next(depthwise if layer.kind is LayerKind.DEPTHWISE else others) for layer in body}


def _head(checkpoint: Checkpoint, spec: ModelSpec, facts: ConfigFacts) -> tuple[StoredLayer | None, str]:
    """Return the classifier if it is one of the family's, and why it is not where there is another one."""
    body = _body(spec)
    depthwise_count = sum(layer.kind is LayerKind.DEPTHWISE for layer in body)
    dense = [layer for layer in checkpoint.layers if layer.is_dense]
    beyond_body = [layer for layer in checkpoint.layers if layer.is_convolution][len(body) - depthwise_count :]
    heads = [*beyond_body, *dense]
    if not heads:
        return None, ""
    if len(heads) > 1:
        return None, f"it has {len(heads)} layers with weights ({', '.join(layer.name for layer in heads)})"
    kernel = heads[0].arrays[0]
    features = spec.layers()[-1 if spec.classes is None else -4].out_shape_hwc[2]
    if kernel.size != features * kernel.shape[-1]:
        return None, f"its kernel of shape {kernel.shape} does not read {features} pooled features"
    return (None, facts.head_problem) if facts.head_problem else (heads[0], "")


def _spec_of_shapes(checkpoint: Checkpoint) -> ModelSpec:
    """Return the spec, without a head, that the shapes of the kernels belong to."""
    convolutions = [layer.arrays[0].shape for layer in checkpoint.layers if layer.is_convolution]
    depthwise = [layer.arrays[0].shape for layer in checkpoint.layers if layer.is_depthwise]
    if convolutions:
        for candidate in _candidates(convolutions, depthwise_count=len(depthwise)):
            body = _body(candidate)
            expected = [expected_shapes(each)["kernel"] for each in body if each.kind is not LayerKind.DEPTHWISE]
            expected_dw = [expected_shapes(each)["kernel"] for each in body if each.kind is LayerKind.DEPTHWISE]
            if depthwise == expected_dw and convolutions[: len(expected)] == expected:
                return candidate
    raise SpecError(
        f"{checkpoint.path}: expected the weights of a {', '.join(Family)}. Received: {len(convolutions)} convolutions "
        f"and {len(depthwise)} depthwise convolutions whose shapes fit none of them"
    )


def _candidates(convolutions: list[tuple[int, ...]], *, depthwise_count: int) -> Iterator[ModelSpec]:
    """Yield specs without a head whose stem fits, the simplest alpha first."""
    stem_width, channels_in = convolutions[0][3], convolutions[0][2]
    counts = {Family.MOBILENET_V1: 13, Family.SHALLOW_MOBILENET: 8, Family.CONV_MOBILENET: 0}
    for family in Family:
        if counts.get(family, depthwise_count) != depthwise_count:
            continue
        for alpha in _alphas(stem_width):
            for growth in _growths(family, convolutions, alpha):
                try:
                    yield ModelSpec(family=family, alpha=alpha, channels_in=channels_in, classes=None, growth=growth)
                except SpecError:
                    continue  # this growth does not fit this width


def _alphas(stem_width: int) -> Iterator[float]:
    """Yield the alphas that give this stem width, fewer decimals first."""
    seen = set()
    for decimals in (0, 1, 2, 3, 4):
        step = 10**decimals
        first = 1 if stem_width == 1 else ceil(stem_width / STEM_WIDTH * step)
        for numerator in range(first, int((stem_width + 1) / STEM_WIDTH * step) + 1):
            alpha = numerator / step
            if alpha not in seen and max(1, int(STEM_WIDTH * alpha)) == stem_width:
                seen.add(alpha)
                yield alpha


def _growths(family: Family, convolutions: list[tuple[int, ...]], alpha: float) -> Iterator[int | None]:
    position = _GROWTH_POSITION.get(family)
    if position is None:
        yield None
    elif position < len(convolutions):
        scaled = convolutions[position][3]
        for growth in dict.fromkeys((*_COMMON_GROWTHS, ceil(scaled / alpha))):
            if max(1, int(growth * alpha)) == scaled:
                yield growth
