"""Predict how long models take, from what mnet latency fit wrote.

    mnet latency predict --model pi4.json 0.75-192 mobilenet_v1_0.35_96 conv_mobilenet 0.5-160

SPEC is ALPHA-PX (of mobilenet_v1), FAMILY ALPHA-PX, FAMILY_ALPHA_PX, or FAMILY for its 1.0-224. Nine of ten latencies
should lie in the interval; the second table says what share of each latency is which term.
"""

import argparse
import json
from pathlib import Path

from mnet_deploy.cli.model_options import specs_of_words
from mnet_deploy.cli.values import whole_number

HELP = "predict latencies, with intervals and what they are made of"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action's options."""
    parser.add_argument("specs", nargs="+", metavar="SPEC", help="models such as 0.75-192 or conv_mobilenet 0.5-160")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="what mnet latency fit wrote")
    parser.add_argument("--classes", default="1000", metavar="N", help="outputs of the classifier (default 1000)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Predict and print."""
    classes = whole_number(args.classes, "--classes")
    specs = tuple(spec.with_changes(classes=classes) for spec in specs_of_words(args.specs, "SPEC"))
    from mnet_deploy.latency.model_file import read_model
    from mnet_deploy.pipeline.latency_device_text import predictions_text
    from mnet_deploy.pipeline.latency_predict import predict_models, predictions_json

    model = read_model(args.model)
    predicted = predict_models(model, specs)
    if args.json:
        print(json.dumps(predictions_json(model, predicted), indent=2))
    else:
        print(predictions_text(model, predicted))
    return 0
