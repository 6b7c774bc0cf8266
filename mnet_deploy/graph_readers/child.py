"""The child process of `read_graph`: parse one file, write one JSON object to stdout.

Started as `python -m mnet_deploy.graph_readers.child FORMAT PATH`. The object holds `graph`, or `error` (one line: why
it cannot be read), or `refused` (one line: a whole message), or `missing` with `how_to_install`. Only the library of
the one format is imported.
"""

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from mnet_deploy.errors import MnetError, ToolMissing
from mnet_deploy.graph_readers.graph import RefusedFile
from mnet_deploy.graph_readers.read_here import read_here


def main(arguments: list[str]) -> int:
    """Parse the file and print the answer; what a library prints goes to stderr."""
    graph_format, path = arguments
    with contextlib.redirect_stdout(sys.stderr):
        answer = _answer(graph_format, Path(path))
    sys.stdout.write(answer)
    return 0


def _answer(graph_format: str, path: Path) -> str:
    try:
        return json.dumps({"graph": asdict(read_here(graph_format, path))})
    except ToolMissing as error:
        return json.dumps({"missing": error.tool, "how_to_install": error.how_to_install})
    except RefusedFile as error:
        return json.dumps({"refused": str(error)})
    except Exception as error:  # noqa: BLE001 - damaged bytes make a parser raise anything; the process ends here
        return json.dumps({"error": _in_words(error)})


def _in_words(error: Exception) -> str:
    if isinstance(error, MnetError):
        return str(error)
    if isinstance(error, MemoryError):
        return "it asks for more memory than a graph needs"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
