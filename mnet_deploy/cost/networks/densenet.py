"""DenseNet: each layer of a block reads what all layers before it in the block wrote."""

from mnet_deploy.cost.networks.steps import Branches, Conv, Dense, Norm, Part, Pool, Steps


def densenet_121(classes: int = 1000, growth: int = 32) -> Steps:
    """Return DenseNet-BC of Huang et al. 2016, arXiv 1608.06993, Table 1: blocks of 6, 12, 24 and 16 layers."""
    counts, channels = (6, 12, 24, 16), 2 * growth
    parts = [Part("stem", (Conv(channels, 7, 2), Pool(3, 2, "same")))]
    for number, count in enumerate(counts, start=1):
        parts.append(Part(f"block{number}", dense_block(count, growth)))
        channels += count * growth
        if number < len(counts):
            channels //= 2
            parts.append(Part(f"transition{number}", transition(channels)))
    return (*parts, Part("classifier", (Norm(), Pool(), Dense(classes))))


def dense_block(count: int, growth: int) -> Steps:
    """Return layers that each add `growth` channels: a bottleneck of 1x1 to four times as many, then 3x3."""
    added = (Norm(), Conv(4 * growth), Conv(growth, 3, norm=False, bias=False))
    return (Branches(((), added)),) * count


def transition(channels: int) -> Steps:
    """Return what halves sides and channels between two blocks."""
    return (Norm(), Conv(channels, norm=False, bias=False), Pool(2, 2))
