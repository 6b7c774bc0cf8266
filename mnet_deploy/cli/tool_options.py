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
    group = parser.add_argument_group("benchmark_model: TensorFlow Lite's or LiteRT's own tool, for .tflite files")
    group.add_argument(
        "--benchmark-model",
        metavar="FILE",
        help="the program: a path, or an https address with --benchmark-model-sha256",
    )
    group.add_argument("--benchmark-model-sha256", metavar="HEX", help="the SHA-256 that it must have")
    group.add_argument(
        "--benchmark-model-library",
        metavar="FILE",
        help="its libLiteRt.so, of the same release, if it needs one and that is not beside it",
    )
    group.add_argument("--benchmark-model-library-sha256", metavar="HEX", help="the SHA-256 that the library must have")
    group.add_argument(
        "--benchmark-model-flavour",
        metavar="F",
        help="classic (TensorFlow Lite's) or litert, if mnet cannot tell from the file",
    )
    group.add_argument(
        "--benchmark-model-nodes",
        metavar="N",
        help="how many nodes of the graph a delegate must take at least (default: all; for xnnpack: one)",
    )
    group.add_argument(
        "--benchmark-model-flag",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="one more flag for the program, without dashes, such as gpu_precision_loss_allowed=false (repeatable)",
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
            raise SpecError(f"{given[0]} goes with --benchmark-model. Received: it alone")
        return None
    nodes = args.benchmark_model_nodes
    return ToolRequest(
        source=args.benchmark_model,
        sha256=args.benchmark_model_sha256,
        runtime_library=args.benchmark_model_library,
        runtime_library_sha256=args.benchmark_model_library_sha256,
        flavour=args.benchmark_model_flavour,
        delegated_nodes=None if nodes is None else whole_number(nodes, "--benchmark-model-nodes"),
        flags=tuple(args.benchmark_model_flag),
    )
