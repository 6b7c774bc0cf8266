"""`mnet cost conv`: the kinds of convolution at one shape."""

import argparse
import json
from typing import Any

from mnet_deploy.cli.model_options import given_options
from mnet_deploy.cli.values import member, whole_number
from mnet_deploy.cost import Precision
from mnet_deploy.errors import SpecError

# option: field of ConvolutionShape; those of a model that say the same of a convolution come first
_NUMBERS = {
    "resolution": "size_px",
    "channels": "channels_in",
    "filters": "channels_out",
    "kernel": "kernel_px",
    "stride": "stride",
    "groups": "groups",
    "dilation": "dilation",
}
_OF_A_MODEL = ("resolution", "channels", "padding")
_OWN = ("kind", "filters", "kernel", "stride", "groups", "dilation", "separates")


def add_conv_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that a model does not have; all are texts, and None where not given."""
    group = parser.add_argument_group(
        "conv",
        "mnet cost conv compares the kinds of convolution at one shape. From above it\n"
        "takes --resolution (default 14), --channels (512), --padding (same or valid),\n"
        "--precision, and --published: misprints and half-truths.",
    )
    group.add_argument("--kind", metavar="K", help="one kind with its passes, e.g. depthwise or spatially-separable")
    group.add_argument("--filters", metavar="N", help="channels of the output (default 512)")
    group.add_argument("--kernel", metavar="K", help="side of the square kernel (default 3)")
    group.add_argument("--stride", metavar="S", help="step, or the factor of a transposed one (default 1)")
    group.add_argument("--groups", metavar="G", help="of the grouped kinds (default 4, or the next that divides)")
    group.add_argument("--dilation", metavar="D", help="of the dilated kind (default 2)")
    group.add_argument(
        "--separates", metavar="KERNEL", help="whether a kernel has rank 1: sobel, laplacian, ..., or '1 0 -1; 2 0 -2'"
    )


def refuse_conv_options(args: argparse.Namespace) -> None:
    """Refuse the options of a convolution where something else is counted.

    Raises:
        SpecError: one was given.
    """
    if given := _given(args, _OWN):
        raise SpecError(f"{', '.join(given)} belong(s) to mnet cost conv. Write conv, or leave it out")


def run_conv(args: argparse.Namespace, precision: Precision) -> None:
    """Print the comparison, one kind, whether a kernel separates, or the claims."""
    others = [f"--{name}" for name in given_options(args) if name not in _OF_A_MODEL] + ["--no-top"] * args.no_top
    if others:
        raise SpecError(f"a convolution is no model. Received: conv with {', '.join(others)}. Leave them out")
    if args.published:
        _alone(args, "published")
        _claims(args.json)
    elif args.separates is not None:
        _alone(args, "separates")
        _separates(args.separates, args.json)
    else:
        _count(args, precision)


def _alone(args: argparse.Namespace, option: str) -> None:
    if given := _given(args, [name for name in (*_OWN, *_OF_A_MODEL, "precision") if name != option]):
        raise SpecError(f"--{option} of conv takes no shape. Received: {', '.join(given)} too. Leave it out")


def _given(args: argparse.Namespace, options: list[str] | tuple[str, ...]) -> list[str]:
    return [f"--{name}" for name in options if getattr(args, name) is not None]


def _claims(as_json: bool) -> None:
    from mnet_deploy.cost import convolution_json, convolution_text

    _print(convolution_json.claims_json() if as_json else convolution_text.claims_text())


def _separates(text: str, as_json: bool) -> None:
    from mnet_deploy.cost import convolution_json, convolution_text
    from mnet_deploy.cost.separability import matrix_of, separability

    found = separability(matrix_of(text))
    _print(convolution_json.separability_json(found) if as_json else convolution_text.separability_text(found))


def _count(args: argparse.Namespace, precision: Precision) -> None:
    from mnet_deploy.cost import convolution_json, convolution_text
    from mnet_deploy.cost.convolutions import ConvolutionKind, ConvolutionShape

    fields: dict[str, Any] = {
        field: _number(getattr(args, option), f"--{option}")
        for option, field in _NUMBERS.items()
        if getattr(args, option) is not None
    }
    shape = ConvolutionShape(**fields, **({"padding": args.padding} if args.padding is not None else {}))
    kind = None if args.kind is None else member(ConvolutionKind, args.kind.replace(" ", "-"), "--kind")
    if args.json:
        _print(convolution_json.convolutions_json(shape, precision, kind))
    elif kind is None:
        _print(convolution_text.comparison_text(shape, precision))
    else:
        _print(convolution_text.kind_text(kind, shape, precision))


def _number(text: str, option: str) -> int:
    """Return a number of 1 or more: 0 groups mean the usual ones, but nobody writes that."""
    if not (found := whole_number(text, option)):
        raise SpecError(f"{option} must be 1 or more. Received: 0")
    return found


def _print(value: str | dict[str, Any]) -> None:
    print(value if isinstance(value, str) else json.dumps(value, indent=2))
