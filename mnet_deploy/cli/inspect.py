"""Say what a .tflite, .onnx or .keras file is, from the file itself.

Size, checksum, tensors, ops, precision, quantisation, MACs and parameters, and what its sidecar
says. Exit status 1: the file is not the one that its sidecar describes, or the sidecar is damaged.
"""

import argparse
import json
from pathlib import Path

HELP = "say what a .tflite, .onnx or .keras file is"
EXIT_NOT_AS_DESCRIBED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a .tflite, .onnx or .keras file")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from mnet_deploy.pipeline.inspection import inspect_file
    from mnet_deploy.pipeline.inspection_text import inspection_text

    found = inspect_file(args.file)
    print(json.dumps(found.to_json(), indent=2) if args.json else inspection_text(found))
    return 0 if found.is_as_described else EXIT_NOT_AS_DESCRIBED
