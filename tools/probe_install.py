"""Import every module and open every data file of the installed mnet_deploy; run by wheel_check.py in its environment.

With --core a module may lack a library of an extra; nothing else may fail.
"""

import importlib
import importlib.resources
import importlib.util
import pkgutil
import sys
from importlib.resources.abc import Traversable

SHADOWING = ("converters", "runners", "models")


def main() -> int:
    core_only = "--core" in sys.argv[1:]
    package = importlib.import_module("mnet_deploy")
    names = ["mnet_deploy", *(found.name for found in pkgutil.walk_packages(package.__path__, "mnet_deploy."))]
    lacking = {name: missing for name in names if (missing := _missing_library(name))}
    if lacking and not core_only:
        sys.exit(f"probe: modules that do not import: {lacking}")
    opened = _open_files(importlib.resources.files("mnet_deploy"))
    shadows = [name for name in SHADOWING if importlib.util.find_spec(name)]
    if shadows:
        sys.exit(f"probe: the wheel must not install top-level packages. Received: {shadows}")
    print(f"  {len(names) - len(lacking)} of {len(names)} modules import, {opened} data files open", flush=True)
    return 0


def _missing_library(module: str) -> str | None:
    """Import a module; return the name of the library that it lacks, if that is why it fails."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "mnet_deploy":
            raise
        return error.name
    return None


def _open_files(folder: Traversable) -> int:
    """Read every file that is not Python source; return how many there were."""
    opened = 0
    for entry in folder.iterdir():
        if entry.is_dir():
            opened += 0 if entry.name == "__pycache__" else _open_files(entry)
        elif not entry.name.endswith((".py", ".pyc")):
            entry.read_bytes()
            opened += 1
    return opened


if __name__ == "__main__":
    sys.exit(main())
