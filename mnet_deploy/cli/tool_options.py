"""The options that bring TensorFlow Lite's own tool, `benchmark_model`."""

import argparse
from typing import TYPE_CHECKING

from mnet_deploy.cli.values import whole_number
from mnet_deploy.errors import SpecError

if TYPE_CHECKING:
    from mnet_deploy.pipeline.bench_request import ToolRequest

_OF_THE_TOOL = ("sha256", "library", "library_sha256", "flavour", "nodes", "flag")


def add_tool_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    group = parser.add_argument_group("benchmark_model, TensorFlow Lite's or LiteRT's own tool, for .tflite files")
    group.add_argument(
        "--benchmark-model", metavar="FILE", help="a path, or an https address with --benchmark-model-sha256"
    )
    group.add_argument("--benchmark-model-sha256", metavar="HEX", help="what it has to be")
    group.add_argument(
        "--benchmark-model-library",
        metavar="FILE",
        help="libLiteRt.so of the same release, if it needs one that is not beside it",
    )
    group.add_argument("--benchmark-model-library-sha256", metavar="HEX", help="what that has to be")
    group.add_argument(
        "--benchmark-model-flavour",
        metavar="F",
        help="classic (TensorFlow Lite) or litert, where the file does not show it",
    )
    group.add_argument(
        "--benchmark-model-nodes",
        metavar="N",
        help="how many nodes a delegate has to take (default: all; of xnnpack one)",
    )
    group.add_argument(
        "--benchmark-model-flag",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a further flag of it, without dashes",
    )


def tool_request(args: argparse.Namespace) -> "ToolRequest | None":
    """Return what was asked for; None if nothing was.

    Raises:
        SpecError: options of the tool without the tool, or a number that is none.
    """
    from mnet_deploy.pipeline.bench_request import ToolRequest

    if args.benchmark_model is None:
        given = [
            f"--benchmark-model-{name.replace('_', '-')}"
            for name in _OF_THE_TOOL
            if getattr(args, f"benchmark_model_{name}")
        ]
        if given:
            raise SpecError(f"{given[0]} is of --benchmark-model. Received: it alone")
        return None
    nodes = args.benchmark_model_nodes
    return ToolRequest(
        source=args.benchmark_model,
        sha256=args.benchmark_model_sha256,
        library=args.benchmark_model_library,
        library_sha256=args.benchmark_model_library_sha256,
        flavour=args.benchmark_model_flavour,
        delegated_nodes=None if nodes is None else whole_number(nodes, "--benchmark-model-nodes"),
        flags=tuple(args.benchmark_model_flag),
    )
