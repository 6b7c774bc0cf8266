"""From what the user names (`random`, `imagenet`, a file) to a spec and its weights."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnet_deploy.errors import SpecError
from mnet_deploy.models.shipped_checkpoint import SHIPPED, shipped_weights
from mnet_deploy.models.weights import LayerWeights, ModelWeights, check_weights, random_layer, random_weights
from mnet_deploy.spec import LayerKind, ModelSpec

RANDOM = "random"
IMAGENET = "imagenet"
NAMES = (SHIPPED, IMAGENET, RANDOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A spec with its weights and where they came from.

    Attributes:
        spec: complete.
        weights: by layer name, checked against the spec.
        origin: `random`, `imagenet` or the file's name.
        path: the file, None if there is none.
        sha256: of the file, or of the arrays where there is no file.
        body_trained: whether anything but the head was trained.
        head_trained: whether the classifier was; True for a spec without one.
        notes: what the user should know, a sentence each.
    """

    spec: ModelSpec
    weights: ModelWeights
    origin: str
    path: Path | None
    sha256: str
    body_trained: bool
    head_trained: bool
    notes: tuple[str, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether the model's answers mean something."""
        return self.body_trained and self.head_trained


def load_model(source: str, overrides: Mapping[str, Any], *, seed: int = 0) -> LoadedModel:
    """Return the spec and weights that `source` names.

    Args:
        source: `shipped`, `random`, `imagenet`, or a path to a `.keras`, `.weights.h5`, `.h5` or `.safetensors` file.
        overrides: fields of `ModelSpec` that the user asked for.
        seed: for random weights and for a new head.

    Raises:
        SpecError: unusable or contradictory (the message names both sides).
    """
    if source == RANDOM:
        return _random(ModelSpec(**overrides), seed)
    if source == IMAGENET:
        loaded = _imagenet(dict(overrides), seed)
    elif source == SHIPPED:
        loaded = replace(_from_file(shipped_weights(), overrides, seed), origin=SHIPPED, path=None)
    else:
        loaded = _from_file(Path(source), overrides, seed)
    check_weights(loaded.spec, loaded.weights, origin=source)
    return loaded


def _random(spec: ModelSpec, seed: int) -> LoadedModel:
    weights = random_weights(spec, seed=seed)
    return LoadedModel(
        spec=spec,
        weights=weights,
        origin=RANDOM,
        path=None,
        sha256=digest(weights),
        body_trained=False,
        head_trained=False,
        notes=(f"the weights are random (seed {seed}): good for size and latency, its answers mean nothing",),
    )


def _imagenet(overrides: dict[str, Any], seed: int) -> LoadedModel:
    from mnet_deploy.models import imagenet  # imports Keras

    spec = ModelSpec(**overrides)
    body = spec.with_changes(classes=imagenet.IMAGENET_CLASSES)
    weights = imagenet.imagenet_weights(body)
    published_px = imagenet.published_resolution(spec.resolution_px)
    notes: tuple[str, ...] = ()
    if published_px != spec.resolution_px:
        notes = (f"the ImageNet weights are those trained at {published_px} px, used here at {spec.resolution_px} px",)
    kept = spec.classes == imagenet.IMAGENET_CLASSES
    return _with_head(spec, weights, kept, seed=seed, origin=IMAGENET, path=None, sha256=digest(weights), notes=notes)


def _from_file(path: Path, overrides: Mapping[str, Any], seed: int) -> LoadedModel:
    from mnet_deploy.models.checkpoint_files import read_checkpoint  # imports h5py
    from mnet_deploy.models.checkpoint_match import facts_of, infer_spec, match_weights

    checkpoint = read_checkpoint(path)
    spec = infer_spec(checkpoint, dict(overrides))
    weights, kept = match_weights(checkpoint, spec)
    facts = facts_of(checkpoint, spec)
    notes = (*facts.input_notes, *(facts.head_notes if kept else ()))
    sha256 = checkpoint.sha256
    return _with_head(spec, weights, kept, seed=seed, origin=path.name, path=path, sha256=sha256, notes=notes)


def _with_head(
    spec: ModelSpec,
    weights: ModelWeights,
    kept: bool,
    *,
    seed: int,
    origin: str,
    path: Path | None,
    sha256: str,
    notes: tuple[str, ...],
) -> LoadedModel:
    """Keep the classifier, leave it out, or put a new one on, and say so."""
    needed = {layer.name: layer for layer in spec.layers() if layer.kind.has_weights}
    complete: dict[str, LayerWeights] = {name: weights[name] for name in needed if name in weights}
    if spec.classes is None:
        kept, notes = True, (*notes, "the classifier is left out: the output is the last feature map")
    elif not kept:
        head = next(layer for layer in needed.values() if layer.kind is LayerKind.CLASSIFIER)
        complete[head.name] = random_layer(head, np.random.default_rng(seed))
        notes = (
            *notes,
            f"the body is that of {origin}, the classifier of {spec.classes} classes is new and random: train it "
            "before its answers mean anything",
        )
    return LoadedModel(
        spec=spec,
        weights=complete,
        origin=origin,
        path=path,
        sha256=sha256,
        body_trained=True,
        head_trained=kept,
        notes=notes,
    )


def digest(weights: ModelWeights) -> str:
    """Return the sha256 over names, shapes and values of all arrays."""
    sha = hashlib.sha256()
    for layer_name, layer in weights.items():
        for name, array in layer.arrays():
            sha.update(f"{layer_name}/{name}{array.shape}".encode())
            sha.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return sha.hexdigest()


def require_file_or_name(source: str) -> None:
    """Raise a SpecError early if `source` is neither a known name nor an existing file."""
    if source not in NAMES and not Path(source).exists():
        raise SpecError(
            f"--weights takes {', '.join(NAMES)} or a .keras, .weights.h5, .h5 or .safetensors file. "
            f"Received: {source}, which does not exist"
        )
