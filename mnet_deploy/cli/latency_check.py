"""Check predicted latencies against others that the model has not seen.

--published predicts the grids of published latencies that mnet ships from parts of themselves; --grids does the same
for a CSV of the same form: the columns source, device, system, precision, stat and a0.25_r128 to a1.0_r224, in
milliseconds. Needs SciPy: pip install 'mnet-deploy[fit]'.
"""

import argparse
import json
from pathlib import Path

HELP = "hold predictions against published or measured latencies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action's options."""
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument("--published", action="store_true", help="the published grids that mnet ships")
    against.add_argument("--grids", type=Path, metavar="FILE", help="published grids of a CSV")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    from mnet_deploy.pipeline.latency_published import published_json, published_text

    if args.json:
        print(json.dumps(published_json(args.grids), indent=2, ensure_ascii=False))
    else:
        print(published_text(args.grids))
    return 0
