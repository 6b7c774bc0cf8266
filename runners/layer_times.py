"""From what an engine's profiler says of its ops to the layers of the model.

ONNX Runtime keeps the names of nodes: what it fuses or adds has the name of a layer with something behind it. LiteRT
has none, but runs its ops in the order of the graph; a 1x1 convolution appears as a fully connected op, a concatenation
as a copy. What belongs to no layer is listed by itself, so that no time is lost.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnet_deploy.spec import LayerKind, LayerSpec
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_seconds

LITERT = "LiteRT profiler"
TOOL_PROFILE = "benchmark_model --enable_op_profiling=true"
_IN_ORDER = frozenset({LITERT, TOOL_PROFILE})  # of running, and without the names of layers
RESOLUTION_S = 1e-6  # both profilers count whole microseconds, rounded down

_DENSE = frozenset({LayerKind.CONVOLUTION, LayerKind.POINTWISE, LayerKind.CLASSIFIER})
# The first pattern that is found in an op's type decides.
_LITERT_OPS = (
    (re.compile("DWConv|DEPTHWISE_CONV_2D"), frozenset({LayerKind.DEPTHWISE})),
    (re.compile("Convolution|CONV_2D|Fully Connected|FULLY_CONNECTED"), _DENSE),
    (re.compile("Copy|Concat|CONCATENATION"), frozenset({LayerKind.CONCATENATION})),
    (re.compile("Mean|MEAN|Pool|AVERAGE_POOL_2D"), frozenset({LayerKind.GLOBAL_POOL})),
    (re.compile("Softmax|SOFTMAX"), frozenset({LayerKind.SOFTMAX})),
)
_ONNX_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "QLinearConv"})
_ONNX_FUSED = re.compile(r"(?:_nchwc|_relu|_flat|_nhwc|_token_\d+|[./].*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpTime:
    """An op as the engine runs it.

    Attributes:
        name: what the engine calls it.
        op: its type.
        time_s: in one run, the mean of several.
        count: of calls in one run.
    """

    name: str
    op: str
    time_s: float
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """A layer and the ops that compute it.

    Attributes:
        layer: of the spec.
        ops: none if the engine has no op for it, or none that can be told from others.
    """

    layer: LayerSpec
    ops: tuple[OpTime, ...]

    @property
    def time_s(self) -> float | None:
        """In one run; None without ops."""
        return sum(op.time_s for op in self.ops) if self.ops else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """Where the time of a run goes.

    Attributes:
        source: the profiler.
        layers: all of the model's.
        unmapped: ops that belong to no layer.
        total_s: of a call without the profiler; None if unknown.
    """

    source: str
    layers: tuple[LayerTime, ...]
    unmapped: tuple[OpTime, ...]
    total_s: float | None = None

    @property
    def sum_s(self) -> float:
        """Of all ops, mapped or not."""
        return sum(op.time_s for layer in self.layers for op in layer.ops) + self.unmapped_s

    @property
    def unmapped_s(self) -> float:
        return sum(op.time_s for op in self.unmapped)


def layer_times(
    spec_layers: Sequence[LayerSpec],
    ops: Iterable[Mapping[str, Any]],
    source: str,
    *,
    total_s: float | None = None,
) -> LayerTimes:
    """Map what the agent's command `layers` says.

    Args:
        spec_layers: of the model that the file holds.
        ops: of the agent's line `layers`.
        source: of the same line.
        total_s: of a call without the profiler.
    """
    found = [
        OpTime(name=str(op["name"]), op=str(op["op"]), time_s=float(op["mean_s"]), count=int(op["count"])) for op in ops
    ]
    layer_of = (_by_order if source in _IN_ORDER else _by_name)(spec_layers, found)
    ops_of: dict[str, list[OpTime]] = defaultdict(list)
    for index, name in layer_of.items():
        ops_of[name].append(found[index])
    return LayerTimes(
        source=source,
        layers=tuple(LayerTime(layer=layer, ops=tuple(ops_of[layer.name])) for layer in spec_layers),
        unmapped=tuple(op for index, op in enumerate(found) if index not in layer_of),
        total_s=total_s,
    )


def _by_order(layers: Sequence[LayerSpec], ops: Sequence[OpTime]) -> dict[int, str]:
    """Return the layer of each op (its place in `ops`), as far as the two go alike from the front, then from the back.

    LiteRT lists ops that several delegates have in the same place as one, called more than once a run: what lies
    between the first and the last of those cannot be told apart.
    """
    kinds = [(index, op, _litert_kinds(op)) for index, op in enumerate(ops)]
    computing = [(index, op, kinds_of) for index, op, kinds_of in kinds if kinds_of]

    def alike(pairs: Iterable[tuple[LayerSpec, tuple[int, OpTime, frozenset[LayerKind]]]]) -> dict[int, str]:
        mapped: dict[int, str] = {}
        for layer, (index, op, kinds_of) in pairs:
            if layer.kind not in kinds_of or op.count != 1:
                break
            mapped[index] = layer.name
        return mapped

    front = alike(zip(layers, computing, strict=False))
    rest = computing[len(front) :]
    back = alike(zip(reversed(layers[len(front) :]), reversed(rest), strict=False))
    return {**front, **dict(reversed(back.items()))}


def _litert_kinds(op: OpTime) -> frozenset[LayerKind]:
    """Return the kinds of layers that an op may be; none for helpers such as a reshape."""
    return next((kinds for pattern, kinds in _LITERT_OPS if pattern.search(op.op)), frozenset())


def _by_name(layers: Sequence[LayerSpec], ops: Sequence[OpTime]) -> dict[int, str]:
    """Return the layer of each op (its place in `ops`) that has the name of one.

    Up to 1.19 ONNX Runtime gives quantised convolutions no names. Where all others are known, they are those that are
    left, in order.
    """
    names = sorted((layer.name for layer in layers), key=len, reverse=True)  # `x_1_dw` before `x_1`
    mapped: dict[int, str] = {}
    for index, op in enumerate(ops):
        fits = (name for name in names if op.name.startswith(name) and _ONNX_FUSED.fullmatch(op.name, len(name)))
        if name := next(fits, None):
            mapped[index] = name
    convolutions = [index for index, op in enumerate(ops) if op.op in _ONNX_CONVOLUTIONS]
    known = {mapped[index] for index in convolutions if index in mapped}
    nameless = [index for index in convolutions if index not in mapped]
    left = [layer.name for layer in layers if layer.kind.has_weights and layer.name not in known]
    if len(nameless) == len(left):
        mapped |= dict(zip(nameless, left, strict=True))
    return dict(sorted(mapped.items()))


def layer_table(times: LayerTimes) -> str:
    """Return a row a layer, the ops that belong to none, and the sums, as text."""
    rows = [[entry.layer.name, _ops_text(entry.ops), *_cells(times, entry.time_s)] for entry in times.layers]
    rows += [["(no layer)", f"{op.op} {op.name}", *_cells(times, op.time_s)] for op in times.unmapped]
    rows += [[], ["all ops", "", *_cells(times, times.sum_s)]]
    if times.total_s is not None:
        rows.append(["a call without the profiler", "", format_seconds(times.total_s), ""])
    table = render_table(["layer", "op", "time", "share"], rows, align="<<>>")
    return f"{table}\nsource: {times.source}"


def _ops_text(ops: tuple[OpTime, ...]) -> str:
    if not ops:
        return "?"
    slowest = max(ops, key=lambda op: op.time_s).op.removeprefix("Delegate/")
    return slowest if len(ops) == 1 else f"{slowest} +{len(ops) - 1}"


def _cells(times: LayerTimes, time_s: float | None) -> list[str]:
    if time_s is None:
        return ["?", "?"]
    if time_s < RESOLUTION_S:
        return [f"< {format_seconds(RESOLUTION_S)}", ""]
    return [format_seconds(time_s), f"{time_s / times.sum_s:.1%}"]
