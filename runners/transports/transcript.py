"""What was said between this machine and a device, as JSON Lines: recorded from a real session, replayed in tests.

The first line names the format and the device. Every other line is one call of a transport and what came of it:

    {"call": "run", "argv": [...], "return_code": 0, "stdout": "...", "stderr": "..."}
    {"call": "start", "argv": [...], "lines": [...], "return_code": 0, "stdout": "...", "stderr": "..."}
    {"call": "push", "local": NAME, "remote": PATH, "size_bytes": N, "sha256": HEX}
    {"call": "pull", "remote": PATH, "content_base64": "..."}

A call that failed has `"ending"` and `"message"` instead of its results: `link_lost`, `timeout`, `unavailable` or
`failed`; of a program that was started that happens after its last line. Without `"return_code"` a started program was
stopped. What is new in every run has a placeholder: `<nonce>` for what `--nonce` was given, wherever it occurs in that
call, `<owner>` for `--owner`, and `<text>` for an argument of several lines (a program for `-c`), which changes with
the code.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mnet_deploy.errors import (
    CommandFailed,
    CommandTimeout,
    DeviceError,
    DeviceUnavailable,
    LinkLost,
    ResultFormatError,
)
from mnet_deploy.runners.transports.address import DeviceAddress

FORMAT = "mnet.transcript/1"
CALLS = frozenset(("run", "start", "push", "pull"))
_VARIABLE_OPTIONS = ("--nonce", "--owner")
TEXT = "<text>"
_SHORTEST_REPLACED = 8  # characters: shorter values occur by accident, too

Record = Mapping[str, Any]

ENDINGS: Mapping[str, type[DeviceError]] = {
    "link_lost": LinkLost,
    "timeout": CommandTimeout,
    "unavailable": DeviceUnavailable,
    "failed": CommandFailed,
}


def ending_of(error: DeviceError) -> dict[str, str]:
    """Return the fields that stand for an error."""
    ending = next((ending for ending, kind in ENDINGS.items() if type(error) is kind), "unavailable")
    return {"ending": ending, "message": str(error)}


def raise_ending(record: Record) -> None:
    """Raise the error that a record ends with, if any."""
    if "ending" not in record:
        return
    kind = ENDINGS.get(record["ending"])
    if kind is None:
        raise ResultFormatError(f"the ending of a record is one of {', '.join(ENDINGS)}. Received: {record['ending']}")
    message = record.get("message", f"replayed: {record['ending']}")
    if kind is CommandFailed:
        raise CommandFailed(message, command=record.get("argv", [record["call"]]), return_code=1, output="")
    raise kind(message)


def variables(argv: Sequence[str]) -> dict[str, str]:
    """Return {placeholder: what stands for it in these arguments}."""
    return {f"<{option.lstrip('-')}>": value for option, value in pairwise(argv) if option in _VARIABLE_OPTIONS}


def to_placeholders(line: str, found: Mapping[str, str]) -> str:
    """Return a record, as JSON, with placeholders for what they stand for."""
    for placeholder, text in found.items():
        whole = json.dumps(text, ensure_ascii=False)
        if len(text) >= _SHORTEST_REPLACED:
            line = line.replace(whole[1:-1], placeholder)
        else:
            line = line.replace(whole, json.dumps(placeholder))
    return line


def from_placeholders(line: str, found: Mapping[str, str]) -> str:
    """Return a record, as JSON, with what the placeholders stand for now."""
    for placeholder, text in found.items():
        line = line.replace(placeholder, json.dumps(text, ensure_ascii=False)[1:-1])
    return line


def generalised(argv: Sequence[str]) -> list[str]:
    """Return arguments as a transcript has them."""
    kept = [TEXT if "\n" in argument else argument for argument in argv]
    arguments: list[str] = json.loads(to_placeholders(json.dumps(kept, ensure_ascii=False), variables(argv)))
    return arguments


def to_line(record: Record) -> str:
    """Return a record as a line of a transcript."""
    found = variables(record.get("argv", ()))
    kept = {**record, "argv": generalised(record["argv"])} if "argv" in record else record
    return to_placeholders(json.dumps(kept, ensure_ascii=False), found)


def replayed(record: Record, argv: Sequence[str]) -> Record:
    """Return a record as if it had been recorded with these arguments."""
    answers = {key: value for key, value in record.items() if key != "argv"}
    line: Record = json.loads(from_placeholders(json.dumps(answers, ensure_ascii=False), variables(argv)))
    return line


def read_transcript(path: Path) -> tuple[DeviceAddress, list[Record]]:
    """Return the device of a transcript and its records.

    Raises:
        ResultFormatError: it is none.
    """
    try:
        head, *records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if head["format"] != FORMAT or {record["call"] for record in records} - CALLS:
            raise ValueError(f"format {head['format']}, with a call that is none of {', '.join(sorted(CALLS))}")
        return DeviceAddress.parse(head["address"]), records
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ResultFormatError(f"{path}: expected a transcript ({FORMAT}). Received: {error}") from error
