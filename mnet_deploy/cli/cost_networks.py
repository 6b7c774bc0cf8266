"""`mnet cost networks` and `mnet cost NETWORK`: published networks of other families."""

import argparse
import json

from mnet_deploy.cli.model_options import given_options
from mnet_deploy.cost import Precision
from mnet_deploy.errors import SpecError

NETWORKS = "networks"


def is_network(model: str | None) -> bool:
    """Return whether MODEL asks for the table or for one of its networks."""
    from mnet_deploy.cost.networks import reference

    return model == NETWORKS or model in reference.NETWORKS


def run_networks(args: argparse.Namespace, precision: Precision) -> None:
    """Print the table, or one network."""
    given = (
        [f"--{name}" for name in given_options(args)] + ["--no-top"] * args.no_top + ["--published"] * args.published
    )
    if given:
        raise SpecError(
            f"{args.model} is counted as it was published. Received: {', '.join(given)} too. Leave that out"
        )
    print(_table(args) if args.model == NETWORKS else _one(args, precision))


def _table(args: argparse.Namespace) -> str:
    from mnet_deploy.cost.networks import as_json, text

    return json.dumps(as_json.networks_json(), indent=2) if args.json else text.networks_text()


def _one(args: argparse.Namespace, precision: Precision) -> str:
    from mnet_deploy.cost import as_json
    from mnet_deploy.cost.networks import reference, text

    network = reference.NETWORKS[args.model]
    cost = network.estimate()
    if args.json:
        return json.dumps(as_json.cost_json(cost, precision), indent=2)
    return text.network_text(cost, network.resolution_px, precision)
