"""Say in one line why this machine or this Python cannot hold the project's environment; silent where it can.

Runs under whatever `python3` is, before anything is installed: nothing newer than Python 3.6 in here.
"""

import importlib.util
import platform
import sys

OLDEST_PYTHON = (3, 11)  # `requires-python` in pyproject.toml; tests/test_packaging.py compares the two
HOSTS = {  # (system, machine) as `platform` spells them
    ("Linux", "x86_64"),
    ("Linux", "aarch64"),
    ("Darwin", "arm64"),
}


def problem(python: "tuple[int, ...]", system: str, machine: str, has_venv: bool) -> str:
    """Return the first obstacle with what to do about it, or an empty string.

    Args:
        python: version of the interpreter, e.g. (3, 11, 7).
        system: `platform.system()`.
        machine: `platform.machine()`.
        has_venv: whether the interpreter can create environments with pip in them.
    """
    if system == "Windows" or system.startswith(("MINGW", "MSYS", "CYGWIN")):
        return "Windows is supported through WSL only: run `wsl --install`, then make inside it"
    if (system, machine) not in HOSTS:
        return f"Linux x86-64 or arm64, macOS arm64 or Windows with WSL is needed; this is {system} {machine}"
    if tuple(python[:2]) < OLDEST_PYTHON:
        needed, found = ".".join(map(str, OLDEST_PYTHON)), ".".join(map(str, python[:2]))
        return f"Python {needed} or newer is needed; {sys.executable} is {found}; try `make PYTHON=python3.12 ...`"
    if not has_venv:
        return f"{sys.executable} cannot create environments; try `sudo apt install python3-venv`"
    return ""


def main() -> int:
    has_venv = importlib.util.find_spec("venv") is not None and importlib.util.find_spec("ensurepip") is not None
    obstacle = problem(sys.version_info[:3], platform.system(), platform.machine(), has_venv)
    if obstacle:
        sys.stderr.write("make: " + obstacle + "\n")
    return 1 if obstacle else 0


if __name__ == "__main__":
    sys.exit(main())
