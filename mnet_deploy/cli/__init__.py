"""The `mnet` command: one file a verb, each with `HELP`, `add_arguments(parser)` and `run(args) -> exit status`.

Exit status: 0 done, 1 a negative verdict, 2 usage or unusable input, 3 device or tool, 130 interrupted.
A verb imports what it needs inside `run`, so that `mnet --help` starts at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from mnet_deploy import __version__
from mnet_deploy.cli import bench, cost, device, export, inspect, latency, results, train, verify
from mnet_deploy.errors import MnetError
from mnet_deploy.interrupts import catch_interrupts, interrupted
from mnet_deploy.terminal import printable

EXIT_DONE = 0
EXIT_USAGE = 2
EXIT_TOOL_MISSING = 3
EXIT_INTERRUPTED = 130

# Which extra of the package brings a library that a verb imports.
_EXTRA_OF = {
    "ai_edge_litert": "litert",
    "h5py": "export",
    "jinja2": "report",
    "keras": "tensorflow",
    "matplotlib": "report",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "PIL": "export",
    "safetensors": "export",
    "scipy": "fit",
    "tensorflow": "tensorflow",
}

VERBS: dict[str, ModuleType] = {
    "cost": cost,
    "train": train,
    "export": export,
    "inspect": inspect,
    "verify": verify,
    "device": device,
    "bench": bench,
    "results": results,
    "latency": latency,
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(_fail(f"{message}; see {self.prog} --help", EXIT_USAGE))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = _Parser(prog="mnet", description="MobileNet v1 from a Keras model to a verified int8 .tflite and .onnx")
    parser.add_argument("--version", action="version", version=f"mnet-deploy {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in VERBS.items():
        verb = verbs.add_parser(
            name, help=module.HELP, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    if sys.platform == "win32":
        return _fail("Windows is supported through WSL only (wsl --install, then run mnet inside it)", EXIT_USAGE)
    catch_interrupts()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reports its build flags and every device otherwise
    args = build_parser().parse_args(argv)
    try:
        status = int(args.run(args))
        sys.stdout.flush()  # a full disk or a closed pipe shows here, not after the exit status is decided
        return status
    except KeyboardInterrupt as error:
        return _fail(_with_notes("interrupted", error), EXIT_INTERRUPTED)
    except Exception as error:
        if interrupted():  # what a library made of it
            return _fail(_with_notes("interrupted", error), EXIT_INTERRUPTED)
        if (reported := _report(error)) is None:
            raise
        return reported


def _report(error: Exception) -> int | None:
    """Print an expected error as one line and return the exit status; None for an unexpected one."""
    if isinstance(error, MnetError):
        return _fail(_with_notes(str(error), error), error.exit_code)
    if isinstance(error, ModuleNotFoundError):
        extra = _EXTRA_OF.get((error.name or "").split(".")[0])
        advice = f"{error.name} is not installed here; pip install 'mnet-deploy[{extra}]'"
        return None if extra is None else _fail(advice, EXIT_TOOL_MISSING)
    if isinstance(error, OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads, or nothing can be written
        if isinstance(error, BrokenPipeError):
            return EXIT_DONE  # the reader went away: not an error
        return _fail(f"{error.filename or 'the output'}: {error.strerror or error}", EXIT_USAGE)
    return None


def _with_notes(message: str, error: BaseException) -> str:
    """Add what else the user has to know, such as what could not be put right."""
    return "; ".join((message, *getattr(error, "__notes__", ())))


def _fail(message: str, status: int) -> int:
    clear = "\r\033[K" if sys.stderr.isatty() else ""  # of the stage that was being shown
    print(f"{clear}mnet: {printable(' '.join(message.split()))}", file=sys.stderr)
    return status
