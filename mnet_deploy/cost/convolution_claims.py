"""Figures and formulas about convolutions that are copied with errors, or that mislead, beside the right ones."""

from dataclasses import dataclass
from fractions import Fraction

from mnet_deploy.cost.formulas import (
    depthwise_macs,
    pointwise_macs,
    separable_to_standard_ratio,
    spatially_separable_macs,
    standard_conv_macs,
    transposed_macs,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is written, and what is so.

    Attributes:
        claim: as it is printed.
        about: the example it stands for.
        right: our count of the example, or the factor that is meant.
        why: where the claim comes from and what is wrong with it.
    """

    claim: str
    about: str
    right: str
    why: str


def claims() -> tuple[Claim, ...]:
    """Return them with every figure of ours computed."""
    return (*_misprints(), *_misleading())


def _misprints() -> tuple[Claim, ...]:
    standard = standard_conv_macs(5, 3, 256, 8)
    separable = depthwise_macs(5, 3, 8) + pointwise_macs(3, 256, 8)
    first_right, first_wrong = standard_conv_macs(3, 3, 32, 112), standard_conv_macs(3, 3, 32, 224)
    enlarging_right, enlarging_wrong = transposed_macs(2, 512, 256, 14), standard_conv_macs(2, 512, 256, 28)
    return (
        Claim(
            claim="1,28,800 multiplications",
            about="256 filters of 5x5 over 12x12x3 pixels, no padding",
            right=f"{standard:,} (separable: {separable:,})",
            why="a digit got lost in copies of the example of C.-F. Wang, A basic introduction to separable "
            "convolutions (Towards Data Science, 2018), which prints 1,228,800. It would make the gain "
            f"{128_800 / separable:.1f} instead of {standard / separable:.1f}.",
        ),
        Claim(
            claim="(2N - 2)(N - 2)·m against (N - 2)²·m²",
            about="an m x m kernel as m x 1 and 1 x m over N x N pixels, here 5x5 over 12x12",
            right=f"{spatially_separable_macs(5, 12):,} against {standard_conv_macs(5, 1, 1, 8):,}",
            why=f"holds for m = 3 alone; with m = 5 it gives {22 * 10 * 5:,} against {100 * 25:,}. For every m it is "
            "m(N - m + 1)(2N - m + 1) against m²(N - m + 1)².",
        ),
        Claim(
            claim="M·P·P·(R·R + N) against N·P·P·R·R·M, P the side of the input",
            about="3x3, stride 2, 3 channels to 32, 224 px: the first layer of MobileNet v1",
            right=f"{first_right:,}",
            why=f"right with P the side of the output. With that of the input, {first_wrong:,}: too much by the square "
            "of the stride. Howard et al. 2017 write the input's side too, and say that they assume stride 1.",
        ),
        Claim(
            claim="a transposed convolution costs K²·M·N·D²",
            about="2x2, stride 2, 512 channels to 256, from 14 px to 28 px",
            right=f"{enlarging_right:,}",
            why=f"with D the side of the output it is {enlarging_wrong:,}, too much by the square of the stride: only "
            "the pixels of the input are multiplied, not the zeros that drawings put between them.",
        ),
        Claim(
            claim="a layer of n FLOPs has n MACs",
            about="tables that compare networks",
            right="1 MAC = 2 FLOPs",
            why="a MAC is a multiplication and an addition. Papers often print MACs as FLOPs: before two tables are "
            "compared, look at a network that is in both.",
        ),
    )


def _misleading() -> tuple[Claim, ...]:
    absurd = separable_to_standard_ratio(512, 100)
    gains = {filters: 1 / separable_to_standard_ratio(3, filters) for filters in (16, 72, 512)}
    return (
        Claim(
            claim="depthwise separable: 100 times fewer multiplications",
            about="N = 100 filters, kernel side 512",
            right=f"{_times(gains[512])} for 512 filters of 3x3",
            why=f"1/100 + 1/512² is {float(absurd):.6f} indeed, but no network has kernels of 512 x 512. The gain is "
            "below K², so below 9 for 3x3, with however many filters.",
        ),
        Claim(
            claim="depthwise separable: 8 to 9 times fewer",
            about="3x3 kernels",
            right=", ".join(f"{_times(gain)} with {filters} filters" for filters, gain in gains.items()),
            why="true of wide layers of 3x3. The factor is 1 / (1/N + 1/9): 16 filters stay below 6, 8 takes 72, and 9 "
            "is never reached. It counts MACs, which is not time: a depthwise layer moves many bytes for each.",
        ),
    )


def _times(gain: Fraction) -> str:
    return f"{float(gain):.2f} times"
