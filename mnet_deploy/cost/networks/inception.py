"""GoogLeNet, Inception v3 and Xception, without their auxiliary classifiers, which are gone after training."""

from mnet_deploy.cost.networks.steps import DEPTHWISE, Branches, Conv, Dense, Part, Pool, Steps

# Of each module: 1x1, (reduced, 3x3), (reduced, 5x5), after the pooling. Szegedy et al. 2014, arXiv 1409.4842, Table 1.
GOOGLENET_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(classes: int = 1000) -> Steps:
    """Return Szegedy et al. 2014, arXiv 1409.4842, Table 1."""
    pool = Pool(3, 2, "same")
    modules = {name: Part(f"inception_{name}", (_googlenet_module(*w),)) for name, w in GOOGLENET_MODULES.items()}
    return (
        Part("conv1", (Conv(64, 7, 2, norm=False), pool)),
        Part("conv2", (Conv(64, norm=False), Conv(192, 3, norm=False), pool)),
        *(modules[name] for name in ("3a", "3b")),
        Part("pool3", (pool,)),
        *(modules[name] for name in ("4a", "4b", "4c", "4d", "4e")),
        Part("pool4", (pool,)),
        *(modules[name] for name in ("5a", "5b")),
        Part("classifier", (Pool(), Dense(classes))),
    )


def _googlenet_module(one: int, reduced_3: int, three: int, reduced_5: int, five: int, pooled: int) -> Branches:
    return Branches(
        (
            (Conv(one, norm=False),),
            (Conv(reduced_3, norm=False), Conv(three, 3, norm=False)),
            (Conv(reduced_5, norm=False), Conv(five, 5, norm=False)),
            (Pool(3, 1, "same"), Conv(pooled, norm=False)),
        )
    )


def inception_v3(classes: int = 1000) -> Steps:
    """Return Szegedy et al. 2015, arXiv 1512.00567, as released (tensorflow/models, slim/nets/inception_v3.py)."""
    return (
        Part("stem", _INCEPTION_V3_STEM),
        *(Part(f"mixed_5{letter}", (_module_35(width),)) for letter, width in zip("bcd", (32, 64, 64), strict=True)),
        Part("mixed_6a", (_REDUCTION_17,)),
        *(Part(f"mixed_6{letter}", (_module_17(w),)) for letter, w in zip("bcde", (128, 160, 160, 192), strict=True)),
        Part("mixed_7a", (_REDUCTION_8,)),
        *(Part(f"mixed_7{letter}", (_MODULE_8,)) for letter in "bc"),
        Part("classifier", (Pool(), Dense(classes))),
    )


_INCEPTION_V3_STEM: Steps = (
    Conv(32, 3, 2, "valid"),
    Conv(32, 3, 1, "valid"),
    Conv(64, 3),
    Pool(3, 2),
    Conv(80, 1, 1, "valid"),
    Conv(192, 3, 1, "valid"),
    Pool(3, 2),
)
_REDUCTION_17 = Branches(((Conv(384, 3, 2, "valid"),), (Conv(64), Conv(96, 3), Conv(96, 3, 2, "valid")), (Pool(3, 2),)))
_REDUCTION_8 = Branches(
    (
        (Conv(192), Conv(320, 3, 2, "valid")),
        (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, "valid")),
        (Pool(3, 2),),
    )
)
_CROSS = Branches(((Conv(384, (1, 3)),), (Conv(384, (3, 1)),)))
_MODULE_8 = Branches(
    ((Conv(320),), (Conv(384), _CROSS), (Conv(448), Conv(384, 3), _CROSS), (Pool(3, 1, "same"), Conv(192)))
)


def _module_35(pooled: int) -> Branches:
    return Branches(
        (
            (Conv(64),),
            (Conv(48), Conv(64, 5)),
            (Conv(64), Conv(96, 3), Conv(96, 3)),
            (Pool(3, 1, "same"), Conv(pooled)),
        )
    )


def _module_17(width: int) -> Branches:
    down, along = (7, 1), (1, 7)
    return Branches(
        (
            (Conv(192),),
            (Conv(width), Conv(width, along), Conv(192, down)),
            (Conv(width), Conv(width, down), Conv(width, along), Conv(width, down), Conv(192, along)),
            (Pool(3, 1, "same"), Conv(192)),
        )
    )


def xception(classes: int = 1000) -> Steps:
    """Return Chollet 2016, arXiv 1610.02357, figure 5, on 299 pixels."""
    return (
        Part("stem", (Conv(32, 3, 2, "valid"), Conv(64, 3, 1, "valid"))),
        *(
            Part(f"block{number}", (_shrinking(first, last),))
            for number, first, last in ((2, 128, 128), (3, 256, 256), (4, 728, 728))
        ),
        *(Part(f"block{number}", (Branches((_separable(728) * 3, ()), "add"),)) for number in range(5, 13)),
        Part("block13", (_shrinking(728, 1024),)),
        Part("block14", (*_separable(1536), *_separable(2048))),
        Part("classifier", (Pool(), Dense(classes))),
    )


def _separable(channels: int) -> Steps:
    return (Conv(0, 3, groups=DEPTHWISE, norm=False, bias=False), Conv(channels))


def _shrinking(first: int, last: int) -> Branches:
    return Branches(((*_separable(first), *_separable(last), Pool(3, 2, "same")), (Conv(last, 1, 2),)), "add")
