"""The options that say when a measurement is enough, shared by the verbs that measure."""

import argparse
from typing import TYPE_CHECKING, Any

from mnet_deploy.cli.values import duration_s, fraction, number, whole_number

if TYPE_CHECKING:
    from mnet_deploy.measurement.run_config import Protocol

_COUNTS = ("warmup_count", "min_count", "min_blocks", "max_blocks")
_TIMES = ("warmup", "block", "time_limit", "block_timeout", "cool_down")
_NAMES = (*_COUNTS, *_TIMES, "max_interval", "max_start_temperature", "pin")


def add_protocol_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; all but --pin are texts, and None where not given, until `protocol_of` checks them."""
    group = parser.add_argument_group("when it is enough: what differs from the defaults is recorded")
    group.add_argument("--warmup-count", metavar="N", help="inferences before the timed ones, at least (10)")
    group.add_argument("--warmup", metavar="TIME", help="and for this long (0.5s)")
    group.add_argument("--block", metavar="TIME", help="length of a block (2s)")
    group.add_argument("--min-count", metavar="N", help="and at least this many inferences (10)")
    group.add_argument("--min-blocks", metavar="N", help="of each configuration (5)")
    group.add_argument("--max-blocks", metavar="N", help="of each configuration (50)")
    group.add_argument("--max-interval", metavar="SHARE", help="how near the interval's ends have to be (2%%)")
    group.add_argument("--time-limit", metavar="TIME", help="no round begins after this (5m)")
    group.add_argument("--block-timeout", metavar="TIME", help="a block that takes longer is an error (2m)")
    group.add_argument("--max-start-temperature", metavar="C", help="wait until the device is this cool (65)")
    group.add_argument("--cool-down", metavar="TIME", help="but no longer than this (5m)")
    group.add_argument(
        "--pin", action="store_true", help="set the governor to performance meanwhile (root, or sudo without password)"
    )


def given_protocol_options(args: argparse.Namespace) -> list[str]:
    """Return the options that were given."""
    given = [name for name in _NAMES if getattr(args, name)]
    return [f"--{name.replace('_', '-')}" for name in given]


def protocol_of(args: argparse.Namespace, *, longest_block_s: float = 0.0) -> "Protocol":
    """Return the protocol that the options ask for.

    Args:
        args: with what `add_protocol_arguments` declared.
        longest_block_s: what a block may take besides what the options say.

    Raises:
        SpecError: a value outside its range.
    """
    from mnet_deploy.measurement.run_config import Protocol

    given: dict[str, Any] = {
        name: whole_number(text, f"--{name.replace('_', '-')}")
        for name in _COUNTS
        if (text := getattr(args, name)) is not None
    }
    for name in _TIMES:
        if (text := getattr(args, name)) is not None:
            given[f"{name}_s"] = duration_s(text, f"--{name.replace('_', '-')}")
    if args.max_interval is not None:
        given["max_interval"] = fraction(args.max_interval, "--max-interval")
    if args.max_start_temperature is not None:
        given["max_start_temperature_c"] = number(args.max_start_temperature, "--max-start-temperature")
    if "min_blocks" in given and "max_blocks" not in given:
        given["max_blocks"] = max(given["min_blocks"], Protocol().max_blocks)
    if "block_timeout_s" not in given:
        block_s = max(given.get("block_s", 0.0), longest_block_s)
        given["block_timeout_s"] = max(Protocol().block_timeout_s, 60 + given.get("warmup_s", 0.0) + 2 * block_s)
    return Protocol(**given, pin=args.pin)
