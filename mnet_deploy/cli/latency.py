"""Predict how long models take on a device from measurements of a few, and choose by it."""

import argparse
from types import ModuleType

from mnet_deploy.cli import latency_check, latency_fit, latency_pick, latency_predict

HELP = "predict latencies from a few measured models, check the predictions, choose by them"

ACTIONS: dict[str, ModuleType] = {
    "fit": latency_fit,
    "predict": latency_predict,
    "check": latency_check,
    "pick": latency_pick,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions, each with its own module."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, module in ACTIONS.items():
        action = actions.add_parser(
            name, help=module.HELP, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(action)
        action.set_defaults(run_action=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the verb's action."""
    return int(args.run_action(args))
