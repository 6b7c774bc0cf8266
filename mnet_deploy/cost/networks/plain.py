"""Networks of plain and grouped convolutions with biases, from before batch normalisation."""

from mnet_deploy.cost.networks.steps import Branches, Conv, Dense, Part, Pool, Steps


def vgg_16(classes: int = 1000) -> Steps:
    """Return configuration D of Simonyan and Zisserman 2014, arXiv 1409.1556, Table 1."""
    stages = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
    return (
        *(
            Part(f"conv{number}", (*(Conv(channels, 3, norm=False),) * count, Pool(2, 2)))
            for number, (count, channels) in enumerate(stages, start=1)
        ),
        Part("classifier", (Dense(4096), Dense(4096), Dense(classes))),
    )


def alexnet(classes: int = 1000) -> Steps:
    """Return Krizhevsky et al. 2012 as Caffe released it, on 227 pixels: half of the kernels see half of the maps."""
    return (
        Part("conv1", (Conv(96, 11, 4, "valid", norm=False), Pool(3, 2))),
        Part("conv2", (Conv(256, 5, groups=2, norm=False), Pool(3, 2))),
        Part("conv3", (Conv(384, 3, norm=False),)),
        Part("conv4", (Conv(384, 3, groups=2, norm=False),)),
        Part("conv5", (Conv(256, 3, groups=2, norm=False), Pool(3, 2))),
        Part("classifier", (Dense(4096), Dense(4096), Dense(classes))),
    )


def squeezenet_1_0(classes: int = 1000) -> Steps:
    """Return Iandola et al. 2016, arXiv 1602.07360, Table 1."""
    return (
        Part("conv1", (Conv(96, 7, 2, "valid", norm=False), _POOL)),
        *_fires(2, (16, 64), (16, 64), (32, 128)),
        Part("pool4", (_POOL,)),
        *_fires(5, (32, 128), (48, 192), (48, 192), (64, 256)),
        Part("pool8", (_POOL,)),
        *_fires(9, (64, 256)),
        Part("conv10", (Conv(classes, norm=False), Pool())),
    )


def squeezenet_1_1(classes: int = 1000) -> Steps:
    """Return the later release (forresti/SqueezeNet, SqueezeNet_v1.1): smaller first kernel, earlier pools."""
    return (
        Part("conv1", (Conv(64, 3, 2, "valid", norm=False), _POOL)),
        *_fires(2, (16, 64), (16, 64)),
        Part("pool3", (_POOL,)),
        *_fires(4, (32, 128), (32, 128)),
        Part("pool5", (_POOL,)),
        *_fires(6, (48, 192), (48, 192), (64, 256), (64, 256)),
        Part("conv10", (Conv(classes, norm=False), Pool())),
    )


_POOL = Pool(3, 2, ceil=True)


def _fires(first: int, *widths: tuple[int, int]) -> Steps:
    """Return modules that squeeze to a few channels, then expand with 1x1 and 3x3 kernels side by side."""
    return tuple(
        Part(
            f"fire{number}",
            (
                Conv(squeezed, norm=False),
                Branches(((Conv(expanded, norm=False),), (Conv(expanded, 3, norm=False),))),
            ),
        )
        for number, (squeezed, expanded) in enumerate(widths, start=first)
    )
