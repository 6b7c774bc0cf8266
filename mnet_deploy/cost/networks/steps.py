"""A few words to write a published network down in, and their counts.

A network is a tuple of steps, each of which reads what the one before wrote. Branches all read the same and are joined.
Only what has counts is written down: activations, local response normalisation and dropout have none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from mnet_deploy.cost.counted_layers import Side, Window, counted_convolution, counted_move
from mnet_deploy.cost.estimate import LayerCost
from mnet_deploy.spec import LayerKind
from mnet_deploy.spec.layer_spec import Shape

DENSE = "dense"
POOL = "pool"
DEPTHWISE = 0  # as the number of groups: one a channel
PadRule = Literal["same", "valid"] | int


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution, by default with batch norm and without bias.

    Attributes:
        channels: filters; 0 keeps the channels.
        kernel: side, or (height, width).
        stride: step.
        padding: see `Window`.
        groups: `DEPTHWISE`, or how many.
        norm: whether a batch norm follows; without one the layer has a bias unless `bias` says no.
        bias: whether it has a bias; None for the opposite of `norm`.
    """

    channels: int
    kernel: int | Side = 1
    stride: int = 1
    padding: PadRule = "same"
    groups: int = 1
    norm: bool = True
    bias: bool | None = None

    def layers(self, shape: Shape) -> Iterator[LayerCost]:
        """Count it on an input."""
        kernel = (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel
        yield counted_convolution(
            "",
            shape,
            self.channels or shape[2],
            Window(kernel=kernel, stride=(self.stride, self.stride), padding=self.padding),
            groups=self.groups or shape[2],
            bias=not self.norm if self.bias is None else self.bias,
            batch_norm=self.norm,
        )


@dataclass(frozen=True, slots=True)
class Pool:
    """A pooling, of whatever sort; without kernel over the whole image."""

    kernel: int = 0
    stride: int = 1
    padding: PadRule = "valid"
    ceil: bool = False

    def layers(self, shape: Shape) -> Iterator[LayerCost]:
        """Count it on an input."""
        if not self.kernel:
            yield counted_move("", LayerKind.GLOBAL_POOL, shape, (1, 1, shape[2]))
            return
        window = Window(
            kernel=(self.kernel, self.kernel),
            stride=(self.stride, self.stride),
            padding=self.padding,
            ceil=self.ceil,
        )
        yield counted_move("", POOL, shape, (*window.output_sides(shape[:2]), shape[2]))


@dataclass(frozen=True, slots=True)
class Dense:
    """A fully connected layer with bias, of all that there is."""

    channels: int

    def layers(self, shape: Shape) -> Iterator[LayerCost]:
        """Count it on an input."""
        layer = counted_convolution("", (1, 1, prod(shape)), self.channels, Window(), bias=True)
        yield replace(layer, kind=DENSE)


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm before a convolution, which cannot be folded into the one before."""

    def layers(self, shape: Shape) -> Iterator[LayerCost]:
        """Count it on an input."""
        yield counted_move("", "batch_norm", shape, shape, batch_norm=True)


@dataclass(frozen=True, slots=True)
class Branches:
    """Paths that read the same; an empty one passes it on.

    Attributes:
        paths: the steps of each.
        join: `concat` their channels, `add` them, or `scale` the first by the second (squeeze and excitation).
    """

    paths: tuple["Steps", ...]
    join: Literal["concat", "add", "scale"] = "concat"

    def layers(self, shape: Shape) -> Iterator[LayerCost]:
        """Count it on an input."""
        ends = []
        for path in self.paths:
            layers = list(layers_of(path, shape))
            yield from layers
            ends.append(_written(layers[-1]) if layers else shape)
        height, width, channels = ends[0]
        if self.join == "concat":
            channels = sum(end[2] for end in ends)
        # A concatenation reads and writes all of its channels, as in our own families; an addition reads each path.
        read = (height, width, channels * (len(ends) if self.join == "add" else 1))
        yield counted_move("", self.join, read, (height, width, channels))


@dataclass(frozen=True, slots=True)
class Part:
    """Steps under a name of their own."""

    name: str
    steps: "Steps"

    def layers(self, shape: Shape) -> Iterator[LayerCost]:
        """Count it on an input; the layers are named after the part."""
        for number, layer in enumerate(layers_of(self.steps, shape), start=1):
            yield replace(layer, name=f"{self.name}/{number}_{layer.kind}")


Step = Conv | Pool | Dense | Norm | Branches | Part
Steps = tuple[Step, ...]


def layers_of(steps: Steps, shape: Shape) -> Iterator[LayerCost]:
    """Count steps on an input."""
    for step in steps:
        layers = tuple(step.layers(shape))
        yield from layers
        shape = _written(layers[-1])


def _written(layer: LayerCost) -> Shape:
    height, width, channels = layer.out_shape or ()
    return height, width, channels
