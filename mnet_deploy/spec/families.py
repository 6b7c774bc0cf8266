"""The layers of each family, from the published layer tables.

Sources: Howard et al. 2017, arXiv 1704.04861, Table 1 (its last depthwise layer is printed with stride 2 but maps
7 x 7 to 7 x 7: the stride is 1); Wang et al. 2020, Mobile Information Systems, article 7602384, for the dense families
as interpreted in `docs/dense-families.md`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mnet_deploy.spec.layer_spec import Activation, LayerKind, LayerSpec, Shape

if TYPE_CHECKING:
    from mnet_deploy.spec.model_spec import ModelSpec

INPUT_NAME = "input"
STEM_WIDTH = 32

# (output width, stride) of each separable block: Table 1 of the paper.
SEPARABLE_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
SHALLOW_BLOCKS = SEPARABLE_BLOCKS[:6] + SEPARABLE_BLOCKS[11:]
DENSE1_BLOCKS = ((128, 2), (256, 2), (512, 2), (512, 1), (512, 1), (1024, 2))
DENSE2_STAGES = ((2, 128), (2, 256), (6, 512), (2, 1024))  # (pointwise layers, width at the end)

# A dense2 stage ends at MobileNet's width: what its other pointwise layers add must leave the first one a channel.
DENSE2_MAX_GROWTH = min((channels - 1) // (pairs - 1) for pairs, channels in DENSE2_STAGES)


def layers_of(spec: "ModelSpec") -> tuple[LayerSpec, ...]:
    """Return the layers of a model in topological order."""
    graph = _GraphBuilder(spec)
    top = _BODIES[str(spec.family)](graph, spec)
    if spec.classes is not None:
        graph.classifier(top, spec.classes)
    return tuple(graph.layers)


class _GraphBuilder:
    """Appends layers and keeps the shape of each."""

    def __init__(self, spec: "ModelSpec") -> None:
        self.layers: list[LayerSpec] = []
        self._alpha = spec.alpha
        self._padding = str(spec.padding)
        self._shapes: dict[str, Shape] = {INPUT_NAME: (spec.resolution_px, spec.resolution_px, spec.channels_in)}

    def width(self, channels: int) -> int:
        return max(1, int(channels * self._alpha))

    def channels(self, name: str) -> int:
        return self._shapes[name][2]

    def _add(self, layer: LayerSpec) -> str:
        self.layers.append(layer)
        self._shapes[layer.name] = layer.out_shape_hwc
        return layer.name

    def stem(self) -> str:
        """Append the first convolution. `keras.applications` pads it like SAME, unlike its other stride-2 layers."""
        rule = "same" if self._padding == "keras" else self._padding
        return self._spatial(
            "conv1", INPUT_NAME, LayerKind.CONVOLUTION, self.width(STEM_WIDTH), stride=2, groups=1, rule=rule
        )

    def convolution(self, name: str, source: str, channels: int, *, stride: int) -> str:
        """Append a 3x3 convolution with batch norm and ReLU6."""
        return self._spatial(name, source, LayerKind.CONVOLUTION, channels, stride=stride, groups=1, rule=self._padding)

    def depthwise(self, name: str, source: str, *, stride: int) -> str:
        """Append a 3x3 depthwise convolution with batch norm and ReLU6; it keeps the channel count."""
        channels = self.channels(source)
        return self._spatial(
            name, source, LayerKind.DEPTHWISE, channels, stride=stride, groups=channels, rule=self._padding
        )

    def _spatial(
        self, name: str, source: str, kind: LayerKind, channels: int, *, stride: int, groups: int, rule: str
    ) -> str:
        shape = self._shapes[source]
        padding, out_px = padding_of(rule, shape[0], kernel_px=3, stride=stride)
        return self._add(
            LayerSpec(
                name=name,
                inputs=(source,),
                kind=kind,
                in_shape_hwc=shape,
                out_shape_hwc=(out_px, out_px, channels),
                kernel_px=3,
                stride=stride,
                groups=groups,
                padding_tlbr=(*padding[:1], *padding[:1], *padding[1:], *padding[1:]),
                activation=Activation.RELU6,
                batch_norm=True,
            )
        )

    def pointwise(self, name: str, source: str, channels: int) -> str:
        """Append a 1x1 convolution with batch norm and ReLU6."""
        height, width, _ = shape = self._shapes[source]
        return self._add(
            LayerSpec(
                name=name,
                inputs=(source,),
                kind=LayerKind.POINTWISE,
                in_shape_hwc=shape,
                out_shape_hwc=(height, width, channels),
                activation=Activation.RELU6,
                batch_norm=True,
            )
        )

    def concatenation(self, name: str, sources: tuple[str, ...]) -> str:
        """Append a concatenation along the channels; a single source needs none."""
        if len(sources) == 1:
            return sources[0]
        height, width, _ = self._shapes[sources[0]]
        shape = (height, width, sum(self.channels(source) for source in sources))
        return self._add(
            LayerSpec(name=name, inputs=sources, kind=LayerKind.CONCATENATION, in_shape_hwc=shape, out_shape_hwc=shape)
        )

    def classifier(self, source: str, classes: int) -> None:
        """Append global pooling, the classifier and softmax, named as in Keras."""
        shape = self._shapes[source]
        pooled, scores = (1, 1, shape[2]), (1, 1, classes)
        self._add(
            LayerSpec(
                name="global_average_pooling2d",
                inputs=(source,),
                kind=LayerKind.GLOBAL_POOL,
                in_shape_hwc=shape,
                out_shape_hwc=pooled,
            )
        )
        self._add(
            LayerSpec(
                name="conv_preds",
                inputs=("global_average_pooling2d",),
                kind=LayerKind.CLASSIFIER,
                in_shape_hwc=pooled,
                out_shape_hwc=scores,
                bias=True,
            )
        )
        self._add(
            LayerSpec(
                name="predictions",
                inputs=("conv_preds",),
                kind=LayerKind.SOFTMAX,
                in_shape_hwc=scores,
                out_shape_hwc=scores,
            )
        )


def conv_padding(layer: LayerSpec) -> tuple[str, tuple[tuple[int, int], tuple[int, int]] | None]:
    """Return which of the frameworks' paddings a layer has, and the zeros to add before it where neither fits."""
    top, left, bottom, right = layer.padding_tlbr
    same, _ = padding_of("same", layer.in_shape_hwc[0], kernel_px=layer.kernel_px, stride=layer.stride)
    if (top, bottom) == same and (left, right) == same:
        return "same", None
    return "valid", ((top, bottom), (left, right)) if any(layer.padding_tlbr) else None


def padding_of(rule: str, in_px: int, *, kernel_px: int, stride: int) -> tuple[tuple[int, int], int]:
    """Return ((zeros before, zeros after), output size) along one axis.

    Zeros that no kernel position reads are left out: symmetric padding at stride 2 on an even size has none at the
    end, Keras' padding on an odd size none at all. The result is the same; a converter then needs no PAD for them.
    """
    before, after = _nominal_padding(rule, in_px, kernel_px=kernel_px, stride=stride)
    out_px = (in_px + before + after - kernel_px) // stride + 1
    read = (out_px - 1) * stride + kernel_px
    return (before, max(0, read - in_px - before)), out_px


def _nominal_padding(rule: str, in_px: int, *, kernel_px: int, stride: int) -> tuple[int, int]:
    if rule == "symmetric":
        return kernel_px // 2, kernel_px // 2
    if rule == "keras" and stride == 2:
        return 0, 1
    total = max(0, (-(-in_px // stride) - 1) * stride + kernel_px - in_px)
    return total // 2, total - total // 2


def _separable_body(blocks: tuple[tuple[int, int], ...]) -> Callable[[_GraphBuilder, "ModelSpec"], str]:
    def body(graph: _GraphBuilder, spec: "ModelSpec") -> str:
        del spec
        top = graph.stem()
        for index, (channels, stride) in enumerate(blocks, start=1):
            top = graph.depthwise(f"conv_dw_{index}", top, stride=stride)
            top = graph.pointwise(f"conv_pw_{index}", top, graph.width(channels))
        return top

    return body


def _conv_body(graph: _GraphBuilder, spec: "ModelSpec") -> str:
    del spec
    top = graph.stem()
    for index, (channels, stride) in enumerate(SEPARABLE_BLOCKS, start=1):
        top = graph.convolution(f"conv_{index}", top, graph.width(channels), stride=stride)
    return top


def _dense_stem(graph: _GraphBuilder) -> str:
    top = graph.stem()
    return graph.pointwise("conv_pw_1", graph.depthwise("conv_dw_1", top, stride=1), graph.width(64))


def _dense1_body(graph: _GraphBuilder, spec: "ModelSpec") -> str:
    """Blocks of four densely connected layers: depthwise, pointwise, depthwise, pointwise.

    Depthwise and pointwise count as layers of their own; each reads all earlier outputs of its block.
    """
    top = _dense_stem(graph)
    growth = graph.width(spec.growth or 0)
    for index, (channels, stride) in enumerate(DENSE1_BLOCKS, start=1):
        first = graph.depthwise(f"block{index}_dw_1", top, stride=stride)
        second = graph.pointwise(f"block{index}_pw_1", first, growth)
        third = graph.depthwise(
            f"block{index}_dw_2", graph.concatenation(f"block{index}_concat_1", (first, second)), stride=1
        )
        joined = graph.concatenation(f"block{index}_concat_2", (first, second, third))
        top = graph.pointwise(f"block{index}_pw_2", joined, graph.width(channels))
    return top


def _dense2_body(graph: _GraphBuilder, spec: "ModelSpec") -> str:
    """Stages of depthwise-pointwise pairs: a depthwise reads all earlier pointwise outputs of its stage."""
    top = _dense_stem(graph)
    growth = graph.width(spec.growth or 0)
    for stage, (pairs, channels) in enumerate(DENSE2_STAGES, start=1):
        # At least 1: at a tiny alpha every width is 1, and the stage then ends a little wider than MobileNet's.
        first_width = max(1, graph.width(channels) - (pairs - 1) * growth)
        outputs: list[str] = []
        for pair in range(1, pairs + 1):
            if outputs:
                top = graph.concatenation(f"stage{stage}_concat_{pair - 1}", tuple(outputs))
            filtered = graph.depthwise(f"stage{stage}_dw_{pair}", top, stride=1 if outputs else 2)
            outputs.append(graph.pointwise(f"stage{stage}_pw_{pair}", filtered, growth if outputs else first_width))
        top = graph.concatenation(f"stage{stage}_concat_{pairs}", tuple(outputs))
    return top


_BODIES: dict[str, Callable[[_GraphBuilder, "ModelSpec"], str]] = {
    "mobilenet_v1": _separable_body(SEPARABLE_BLOCKS),
    "shallow_mobilenet": _separable_body(SHALLOW_BLOCKS),
    "conv_mobilenet": _conv_body,
    "dense1_mobilenet": _dense1_body,
    "dense2_mobilenet": _dense2_body,
}
