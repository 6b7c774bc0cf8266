"""Count a model before it runs: MACs, parameters, bytes and peak memory, layer by layer.

MODEL is ALPHA-PX (0.5-160), FAMILY or FAMILY_ALPHA_PX (mobilenet_v1_0.25_128), or a
.tflite, .onnx or .keras file, which is counted from its own graph. Without MODEL:
mobilenet_v1 1.0-224, or what the options say.

MODEL conv compares the kinds of convolution instead (standard, depthwise, grouped, ...);
networks lists other published networks (vgg_16, mobilenet_v2_1.0, ...), each a MODEL too.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mnet_deploy.cli.cost_conv import add_conv_arguments, refuse_conv_options, run_conv
from mnet_deploy.cli.cost_networks import is_network, run_networks
from mnet_deploy.cli.model_options import add_model_options, given_options, spec_overrides
from mnet_deploy.cost import PRECISIONS, Precision
from mnet_deploy.errors import SpecError
from mnet_deploy.spec import ModelSpec
from mnet_deploy.spec.text_fields import fields_of_name

HELP = "count MACs, parameters, bytes and peak memory of a model or a file"
CONV = "conv"
FILE_SUFFIXES = (".tflite", ".onnx", ".keras")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="e.g. 0.5-160, mobilenet_v1_0.25_128, model.tflite")
    add_model_options(parser)
    parser.add_argument("--no-top", action="store_true", help="count without pooling and classifier")
    parser.add_argument("--precision", metavar="P", help=f"of the bytes: {', '.join(PRECISIONS)} (default int8)")
    parser.add_argument("--published", action="store_true", help="put published figures beside ours, nothing else")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_conv_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.model == CONV:
        run_conv(args, _precision(args))
        return 0
    refuse_conv_options(args)
    if is_network(args.model):
        run_networks(args, _precision(args))
    elif args.published:
        _published(args)
    elif args.model is not None and _is_file(args.model):
        _file(Path(args.model), args)
    else:
        _spec(args)
    return 0


def _is_file(model: str) -> bool:
    return Path(model).suffix.lower() in FILE_SUFFIXES or Path(model).is_file()


def _published(args: argparse.Namespace) -> None:
    from mnet_deploy.cost import as_json, published_text

    _refuse_model_options(args, "--published counts the models that were published")
    if args.model is not None:
        raise SpecError(f"--published counts the models that were published. Received: {args.model} too. Leave it out")
    print(_dumps(as_json.published_json()) if args.json else published_text.published_text())


def _file(path: Path, args: argparse.Namespace) -> None:
    _refuse_model_options(args, "a file is counted from its own graph")
    precision = _precision(args)
    if not path.is_file():
        raise SpecError(f"a file to count must exist. Received: {path}. Check the path")

    from mnet_deploy.cost import as_json, text
    from mnet_deploy.cost.graph_cost import estimate_graph
    from mnet_deploy.graph_readers import read_graph

    cost = estimate_graph(read_graph(path), title=path.name)
    print(_dumps(as_json.cost_json(cost, precision)) if args.json else text.graph_text(cost, precision))


def _spec(args: argparse.Namespace) -> None:
    from mnet_deploy.cost import as_json, text

    spec, precision = ModelSpec(**_spec_fields(args)), _precision(args)
    print(_dumps(as_json.spec_json(spec, precision)) if args.json else text.spec_text(spec, precision))


def _spec_fields(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields that MODEL and the options give together."""
    options = spec_overrides(args)
    if args.no_top:
        if "classes" in options:
            raise SpecError("--no-top leaves out the classifier. Received: --classes too. Give one of the two")
        options["classes"] = None
    if args.model is None:
        return options
    named = _named_fields(args.model)
    for field in named.keys() & options.keys():
        if named[field] != options[field]:
            raise SpecError(
                f"MODEL and the options must not contradict each other. Received: {args.model} with "
                f"{field} {options[field]}. Give it once"
            )
    return named | options


def _named_fields(text: str) -> dict[str, Any]:
    fields = fields_of_name(text)
    if fields is None:
        raise SpecError(
            "MODEL must be a model such as 0.5-160 or mobilenet_v1_0.25_128, or a .tflite, .onnx or .keras file. "
            f"Received: {text!r}. mnet cost networks lists networks of other families"
        )
    return fields


def _precision(args: argparse.Namespace) -> Precision:
    try:
        return Precision(args.precision or Precision.INT8)
    except ValueError:
        raise SpecError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {args.precision!r}") from None


def _refuse_model_options(args: argparse.Namespace, reason: str) -> None:
    given = [f"--{name}" for name in given_options(args)] + ["--no-top"] * args.no_top
    if given:
        raise SpecError(f"{reason}. Received: {', '.join(given)} too. Leave the options of a model out")


def _dumps(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2)
