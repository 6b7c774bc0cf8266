"""Wheels for a device that this machine downloads, because the device reaches no package index."""

import sys
from pathlib import Path

from mnet_deploy.child_process import run_child
from mnet_deploy.errors import CommandFailed, ToolMissing
from mnet_deploy.runners.setup.wheels import Plan, WheelTarget, platform_tags
from mnet_deploy.runners.transports.deadline import Deadline


def download_wheels(plan: Plan, target: WheelTarget, folder: Path, deadline: Deadline) -> tuple[Path, ...]:
    """Download what a plan needs, with all dependencies, and return the files.

    The pip of this Python does it, with its own configuration: a mirror or proxy that is set up there is used.

    Raises:
        ToolMissing: this Python has no pip.
        CommandFailed: pip could not get them.
        CommandTimeout: the deadline passed.
    """
    result = run_child(_command(plan, target, folder), timeout_s=deadline.remaining_s)
    if "No module named pip" in result.stderr:
        raise ToolMissing("pip", f"{sys.executable} -m ensurepip brings it")
    if result.return_code != 0:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR:")]
        raise CommandFailed(
            f"the wheels for {target} cannot be downloaded here: {(errors or [result.last_line])[-1]}; "
            "connect this machine to the package index, or the device and use --online",
            command=result.command,
            return_code=result.return_code,
            output=result.stderr,
        )
    return tuple(sorted(folder.glob("*.whl")))


def _command(plan: Plan, target: WheelTarget, folder: Path) -> list[str]:
    python = "".join(map(str, target.python))
    options = ["--python-version", ".".join(map(str, target.python)), "--implementation", "cp", "--only-binary=:all:"]
    for abi in (f"cp{python}", "abi3", "none"):
        options += ["--abi", abi]
    for tag in platform_tags(target):
        options += ["--platform", tag]
    options += ["--no-deps"] * plan.system_numpy  # of which there is no wheel
    quiet = ["-q", "--disable-pip-version-check", "--no-input"]
    return [sys.executable, "-m", "pip", "download", *quiet, *options, "--dest", str(folder), *plan.requirements]
