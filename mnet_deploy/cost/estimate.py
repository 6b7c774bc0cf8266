"""Counts per layer and in total, for one image."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mnet_deploy.precision import PRECISIONS as PRECISIONS
from mnet_deploy.precision import Precision as Precision
from mnet_deploy.spec import LayerSpec, ModelSpec
from mnet_deploy.spec.families import INPUT_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What one layer costs for one image.

    Attributes:
        name: the layer's or op's name.
        kind: a `LayerKind` value for the layers of a spec, the kind of op for the ops of a file.
        in_shape: shape read, without the batch (height, width, channels for images); None if unknown.
        out_shape: shape written, without the batch; None if unknown.
        macs: multiply-accumulates; None if this op cannot be counted.
        weight_count: kernel elements.
        bias_count: bias elements after batch normalisation is folded in.
        own_bias_count: bias elements before that.
        batch_norm_count: gammas and betas before that.
        in_elements: activation elements read; None if unknown.
        out_elements: activation elements written; None if unknown.
    """

    name: str
    kind: str
    in_shape: tuple[int, ...] | None
    out_shape: tuple[int, ...] | None
    macs: int | None
    weight_count: int
    bias_count: int
    own_bias_count: int
    batch_norm_count: int
    in_elements: int | None
    out_elements: int | None

    @property
    def params(self) -> int:
        """Trained parameters before folding: kernel, own bias, gamma and beta."""
        return self.weight_count + self.own_bias_count + self.batch_norm_count

    def stored_bytes(self, precision: Precision) -> int:
        """Return the bytes of the folded kernel and bias in a file of this precision."""
        return self.weight_count * precision.weight_bytes + self.bias_count * precision.bias_bytes

    def moved_bytes(self, precision: Precision) -> int | None:
        """Return the activation bytes read and written; None if a shape is unknown."""
        if self.in_elements is None or self.out_elements is None:
            return None
        return (self.in_elements + self.out_elements) * precision.activation_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """The layers of a model with their counts; totals are sums of the rows.

    Attributes:
        title: what was counted.
        layers: one row a layer, in the order they run.
        peak_elements: the most activation elements that are alive at once; None if a shape is unknown.
        uncounted: names of the ops whose MACs are not known; their rows are in `layers` with `macs=None`.
    """

    title: str
    layers: tuple[LayerCost, ...]
    peak_elements: int | None
    uncounted: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """All MACs that could be counted; `uncounted` names the rest."""
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def params(self) -> int:
        return sum(layer.params for layer in self.layers)

    @property
    def weight_count(self) -> int:
        return sum(layer.weight_count for layer in self.layers)

    @property
    def bias_count(self) -> int:
        return sum(layer.bias_count for layer in self.layers)

    @property
    def own_bias_count(self) -> int:
        return sum(layer.own_bias_count for layer in self.layers)

    @property
    def batch_norm_count(self) -> int:
        return sum(layer.batch_norm_count for layer in self.layers)

    def stored_bytes(self, precision: Precision) -> int:
        """Return the bytes of all folded kernels and biases: the flash a model needs, without the file's own frame."""
        return sum(layer.stored_bytes(precision) for layer in self.layers)

    def moved_bytes(self, precision: Precision) -> int | None:
        """Return the activation bytes that all layers read and write; None if a shape is unknown."""
        moved = [layer.moved_bytes(precision) for layer in self.layers]
        return None if None in moved else sum(value for value in moved if value is not None)

    def peak_bytes(self, precision: Precision) -> int | None:
        """Return the peak activation memory: what a planner without in-place tricks needs."""
        return None if self.peak_elements is None else self.peak_elements * precision.activation_bytes


def estimate(spec: ModelSpec) -> CostEstimate:
    """Count a model from its spec: nothing is built, no framework is imported."""
    return estimate_layers(spec.layers(), title=spec.name)


def estimate_layers(layers: Sequence[LayerSpec], *, title: str) -> CostEstimate:
    """Count layers in topological order, the first of which reads the model's input."""
    return CostEstimate(
        title=title,
        layers=tuple(_layer_cost(layer) for layer in layers),
        peak_elements=peak_elements(
            [(layer.name, layer.inputs, layer.out_elements) for layer in layers], {INPUT_NAME: layers[0].in_elements}
        ),
    )


def by_kind(cost: CostEstimate) -> tuple[CostEstimate, ...]:
    """Return one estimate a kind of layer, titled with the kind, in order of first appearance; no peak memory."""
    groups: dict[str, list[LayerCost]] = {}
    for layer in cost.layers:
        groups.setdefault(layer.kind, []).append(layer)
    return tuple(
        CostEstimate(
            title=kind,
            layers=tuple(layers),
            peak_elements=None,
            uncounted=tuple(layer.name for layer in layers if layer.macs is None),
        )
        for kind, layers in groups.items()
    )


def _layer_cost(layer: LayerSpec) -> LayerCost:
    return LayerCost(
        name=layer.name,
        kind=str(layer.kind),
        in_shape=layer.in_shape_hwc,
        out_shape=layer.out_shape_hwc,
        macs=layer.macs,
        weight_count=layer.weight_count,
        bias_count=layer.bias_count,
        own_bias_count=layer.own_bias_count,
        batch_norm_count=layer.batch_norm_count,
        in_elements=layer.in_elements,
        out_elements=layer.out_elements,
    )


def peak_elements(
    steps: Sequence[tuple[str, Iterable[str], int]], given: dict[str, int], *, kept: Collection[str] = ()
) -> int:
    """Return the most elements alive at once when `steps` run in order.

    Args:
        steps: (tensor written, tensors read, elements written) of each step.
        given: elements of the tensors that exist before the first step.
        kept: tensors that stay to the end, e.g. the outputs of a graph with several.

    Any other tensor lives from the step that writes it to the last step that reads it; nothing is computed in place.
    For a chain this is the largest input plus output of a layer.
    """
    last_use = {name: index for index, (_, reads, _) in enumerate(steps) for name in reads}
    last_use |= dict.fromkeys(kept, len(steps))
    alive, peak = dict(given), 0
    for index, (name, _, elements) in enumerate(steps):
        alive[name] = elements
        peak = max(peak, sum(alive.values()))
        alive = {key: size for key, size in alive.items() if last_use.get(key, -1) > index}
    return peak
