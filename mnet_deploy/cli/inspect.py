"""inspect."""

import argparse

HELP = "inspect"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    del parser


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    del args
    raise NotImplementedError
