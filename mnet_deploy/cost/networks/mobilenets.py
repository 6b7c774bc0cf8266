"""The later MobileNets: inverted residuals, and squeeze and excitation."""

from typing import NamedTuple

from mnet_deploy.cost.networks.steps import DEPTHWISE, Branches, Conv, Dense, Part, Pool, Step, Steps

# Expansion, channels, count, stride of the first. Sandler et al. 2018, arXiv 1801.04381, Table 2.
V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(alpha: float = 1.0, classes: int = 1000) -> Steps:
    """Return Sandler et al. 2018, arXiv 1801.04381, Table 2; the last layer is never narrower than 1280."""
    channels = divisible(32 * alpha)
    parts = [Part("stem", (Conv(channels, 3, 2),))]
    for number, (expansion, width, count, stride) in enumerate(V2_STAGES, start=1):
        steps: list[Step] = []
        for index in range(count):
            last = divisible(width * alpha)
            block = _Block(3, channels * expansion, last, stride if index == 0 else 1, False)
            steps += _inverted_residual(channels, block)
            channels = last
        parts.append(Part(f"stage{number}", tuple(steps)))
    return (*parts, Part("classifier", (Conv(divisible(1280 * max(1.0, alpha))), Pool(), Dense(classes))))


class _Block(NamedTuple):
    """Side of the kernel, expanded channels, channels out, stride, squeeze and excitation."""

    kernel: int
    expanded: int
    channels: int
    stride: int
    excited: bool


# Howard et al. 2019, arXiv 1905.02244, Tables 1 and 2.
V3_LARGE = (
    _Block(3, 16, 16, 1, False),
    _Block(3, 64, 24, 2, False),
    _Block(3, 72, 24, 1, False),
    _Block(5, 72, 40, 2, True),
    _Block(5, 120, 40, 1, True),
    _Block(5, 120, 40, 1, True),
    _Block(3, 240, 80, 2, False),
    _Block(3, 200, 80, 1, False),
    _Block(3, 184, 80, 1, False),
    _Block(3, 184, 80, 1, False),
    _Block(3, 480, 112, 1, True),
    _Block(3, 672, 112, 1, True),
    _Block(5, 672, 160, 2, True),
    _Block(5, 960, 160, 1, True),
    _Block(5, 960, 160, 1, True),
)
V3_SMALL = (
    _Block(3, 16, 16, 2, True),
    _Block(3, 72, 24, 2, False),
    _Block(3, 88, 24, 1, False),
    _Block(5, 96, 40, 2, True),
    _Block(5, 240, 40, 1, True),
    _Block(5, 240, 40, 1, True),
    _Block(5, 120, 48, 1, True),
    _Block(5, 144, 48, 1, True),
    _Block(5, 288, 96, 2, True),
    _Block(5, 576, 96, 1, True),
    _Block(5, 576, 96, 1, True),
)


def mobilenet_v3_large(classes: int = 1000) -> Steps:
    """Return Howard et al. 2019, arXiv 1905.02244, Table 1."""
    return _mobilenet_v3(V3_LARGE, 1280, classes)


def mobilenet_v3_small(classes: int = 1000, features: int = 1024) -> Steps:
    """Return Howard et al. 2019, arXiv 1905.02244, Table 2; its first version had 1280 channels at the end."""
    return _mobilenet_v3(V3_SMALL, features, classes)


def _mobilenet_v3(blocks: tuple[_Block, ...], features: int, classes: int) -> Steps:
    channels = 16
    parts = [Part("stem", (Conv(channels, 3, 2),))]
    for number, block in enumerate(blocks, start=1):
        parts.append(Part(f"block{number}", _inverted_residual(channels, block)))
        channels = block.channels
    return (*parts, Part("classifier", (Conv(channels * 6), Pool(), Dense(features), Dense(classes))))


def _inverted_residual(channels_in: int, block: _Block) -> Steps:
    """Return 1x1 to more channels, depthwise, 1x1 to few; what was read is added where the shape stays."""
    steps: Steps = (
        *((Conv(block.expanded),) if block.expanded != channels_in else ()),
        Conv(0, block.kernel, block.stride, groups=DEPTHWISE),
        *((_excitation(block.expanded),) if block.excited else ()),
        Conv(block.channels),
    )
    same = block.stride == 1 and block.channels == channels_in
    return (Branches((steps, ()), "add"),) if same else steps


def _excitation(channels: int) -> Branches:
    """Return squeeze and excitation: the mean of each channel, through two dense layers, scales the channel."""
    return Branches(((), (Pool(), Dense(divisible(channels / 4)), Dense(channels))), "scale")


def divisible(width: float) -> int:
    """Return the nearest multiple of 8, at least 8, and not more than a tenth below the width (as in the releases)."""
    near = max(8, int(width + 4) // 8 * 8)
    return near + 8 if near < 0.9 * width else near
