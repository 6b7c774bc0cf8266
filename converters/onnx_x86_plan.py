"""Which layers of a quantised model ONNX Runtime runs faster on x86-64 with blocked rows or with more channels.

ONNX Runtime's fused integer kernels (`ConvSym`, `ConvSymDepthwise` in MLAS) take a dense convolution of at least 16
channels out, with multiples of 4 in and out, and a depthwise one of a multiple of 16 channels. All others gather their
input first and multiply then, which costs two to four times as much. A plan pads channels with zeros and blocks rows
until the fused kernels take a layer, where an estimate says that it pays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import inf

from mnet_deploy.converters.onnx_blocking import PLAIN, Blocking, row_geometry
from mnet_deploy.spec import LayerKind, LayerSpec, ModelSpec
from mnet_deploy.spec.families import INPUT_NAME

DENSE_MULTIPLE = 4  # of channels in and out
DENSE_MIN_OUT = 16
DEPTHWISE_MULTIPLE = 16
_EXACT = 1  # a multiple that pads nothing; it wins over the others
_BLOCKS_PX = (1, 2, 4, 8)

# Nanoseconds, fitted to single layers with onnxruntime 1.31 on an EPYC (Zen 4, AVX-512 VNNI, 2.6 GHz, one thread).
# They rank the forms of one layer; they do not predict a latency.
_POSITION_NS = 1.34
_WINDOW_NS = 3.1  # a kernel larger than 1x1 reads through pointers: each time, and for each tap
_TAP_NS = 0.67
_OUT_CHANNEL_NS = 0.065
_MAC_NS = 0.0045
_VECTOR = 16  # channels out are computed in steps of so many
_GATHERED_NS = {"position": 6.6, "tap": 1.5, "out_channel": 0.25}  # a dense layer that misses the fused kernel
_DEPTHWISE_NS = {"position": 9.0, "channel": 0.30}
_GATHERED_DEPTHWISE_NS = {"position": 11.3, "channel": 0.69}
_RESHAPE_NS = 600.0  # starting the node; no byte is moved
_MUST_SAVE = 0.10  # of the plain form: what an estimate can be wrong by


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """The form of one layer.

    Attributes:
        blocking: of its rows.
        channels: that it writes for each pixel, zeros included.
    """

    blocking: Blocking = PLAIN
    channels: int


def plan_x86(spec: ModelSpec) -> dict[str, LayerPlan]:
    """Return the form of each layer; a concatenation or pooling has that of what it reads, unblocked."""
    layers = spec.layers()
    multiples = _channel_multiples(layers, headless=spec.classes is None)
    plans = {INPUT_NAME: LayerPlan(channels=spec.channels_in)}
    for layer in layers:
        plans[layer.name] = _plan_layer(layer, plans, multiples[layer.name])
    return plans


def _plan_layer(layer: LayerSpec, plans: Mapping[str, LayerPlan], multiple: int) -> LayerPlan:
    given = [plans[name] for name in layer.inputs]
    channels_in = sum(plan.channels for plan in given)
    keeps = layer.kind is LayerKind.DEPTHWISE or not layer.kind.has_weights
    channels = channels_in if keeps else round_up(layer.out_shape_hwc[2], multiple)
    if not layer.kind.has_weights:
        return LayerPlan(channels=channels)
    blocking = _cheapest(layer, channels_in, channels, given[0].blocking.write_px)
    return LayerPlan(blocking=blocking, channels=channels)


def _channel_multiples(layers: tuple[LayerSpec, ...], *, headless: bool) -> dict[str, int]:
    """Return for each layer what its channels are padded to a multiple of.

    Zeros must not reach a classifier's scores, nor the output of a model without a classifier.
    """
    multiples = {INPUT_NAME: _EXACT}
    for layer in layers:
        is_exact = layer.kind is LayerKind.CLASSIFIER or (headless and layer is layers[-1])
        multiples[layer.name] = _EXACT if is_exact else DENSE_MULTIPLE
    for layer in reversed(layers):
        if layer.kind not in (LayerKind.DEPTHWISE, LayerKind.CONCATENATION):
            continue
        wanted = multiples[layer.name]  # they write the channels that they read
        if layer.kind is LayerKind.DEPTHWISE and wanted != _EXACT and not _better_dense(layer):
            wanted = DEPTHWISE_MULTIPLE
        for name in layer.inputs:
            both = (wanted, multiples[name])
            multiples[name] = _EXACT if _EXACT in both else max(both)
    return multiples


def _better_dense(layer: LayerSpec) -> bool:
    """Whether a depthwise layer of few channels is faster as a blocked dense one than padded with channels."""
    padded = round_up(layer.out_shape_hwc[2], DEPTHWISE_MULTIPLE)
    few = round_up(layer.out_shape_hwc[2], DENSE_MULTIPLE)
    dense_ns = min((_estimate_ns(layer, blocking, few, few) for blocking in _blockings(layer, few, few)), default=inf)
    return dense_ns < (1 - _MUST_SAVE) * _estimate_ns(layer, PLAIN, padded, padded)


def _cheapest(layer: LayerSpec, channels_in: int, channels_out: int, given_px: int) -> Blocking:
    """Return the cheapest blocking of a layer whose input was written in positions of some pixels."""

    def total_ns(blocking: Blocking) -> float:
        reshape_ns = _RESHAPE_NS if blocking.read_px != given_px else 0.0
        return reshape_ns + _estimate_ns(layer, blocking, channels_in, channels_out)

    best = min(_blockings(layer, channels_in, channels_out), key=total_ns, default=PLAIN)
    return best if total_ns(best) < (1 - _MUST_SAVE) * total_ns(PLAIN) else PLAIN


def _blockings(layer: LayerSpec, channels_in: int, channels_out: int) -> Iterator[Blocking]:
    """Yield those that make a layer fit the fused kernel for dense layers."""
    for read_px, write_px in product(_BLOCKS_PX, repeat=2):
        blocking = Blocking(read_px=read_px, write_px=write_px)
        fused = _is_fused(read_px * channels_in, write_px * channels_out)
        if blocking != PLAIN and fused and row_geometry(layer, blocking) is not None:
            yield blocking


def _estimate_ns(layer: LayerSpec, blocking: Blocking, channels_in: int, channels_out: int) -> float:
    geometry = row_geometry(layer, blocking)
    if geometry is None:
        return inf
    positions = layer.out_shape_hwc[0] * geometry.positions
    if layer.kind is LayerKind.DEPTHWISE and blocking == PLAIN:
        cost = _GATHERED_DEPTHWISE_NS if channels_out % DEPTHWISE_MULTIPLE else _DEPTHWISE_NS
        return positions * (cost["position"] + cost["channel"] * channels_out)
    return positions * _dense_ns(
        layer.kernel_px * geometry.kernel, blocking.read_px * channels_in, blocking.write_px * channels_out
    )


def _dense_ns(taps: int, channels_in: int, channels_out: int) -> float:
    """Return the cost of one position of a dense layer."""
    channel_macs_ns = _MAC_NS * taps * channels_in
    if not _is_fused(channels_in, channels_out):
        cost = _GATHERED_NS
        return cost["position"] + cost["tap"] * taps + channels_out * (cost["out_channel"] + channel_macs_ns)
    window_ns = _WINDOW_NS + _TAP_NS * taps if taps > 1 else 0.0
    return _POSITION_NS + window_ns + round_up(channels_out, _VECTOR) * (_OUT_CHANNEL_NS + channel_macs_ns)


def _is_fused(channels_in: int, channels_out: int) -> bool:
    """Whether the fused kernel takes a dense layer."""
    return not (channels_in % DENSE_MULTIPLE or channels_out % DENSE_MULTIPLE) and channels_out >= DENSE_MIN_OUT


def round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
