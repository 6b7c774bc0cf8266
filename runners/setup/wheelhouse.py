"""Wheels for a device that this machine downloads, because the device reaches no package index."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mnet_deploy.child_process import run_child
from mnet_deploy.errors import CommandFailed, ToolMissing
from mnet_deploy.runners.setup.wheels import Plan, WheelTarget, platform_tags
from mnet_deploy.runners.transports.deadline import Deadline


def download_wheels(plan: Plan, target: WheelTarget, folder: Path, deadline: Deadline) -> tuple[Path, ...]:
    """Download what a plan needs, with all dependencies, and return the files; raises as `pip_download`."""
    return pip_download(
        plan.requirements,
        target,
        folder,
        deadline,
        dependencies=not plan.system_numpy,  # of which there is no wheel
        what=f"the wheels for {target}",
        advice="connect this machine to the package index, or the device and use --online",
    )


def pip_download(
    requirements: Sequence[str],
    target: WheelTarget,
    folder: Path,
    deadline: Deadline,
    *,
    dependencies: bool,
    what: str,
    advice: str,
) -> tuple[Path, ...]:
    """Download wheels and return the files.

    The pip of this Python does it, with its own configuration: a mirror or proxy that is set up there is used.

    Args:
        requirements: for pip.
        target: what they have to fit.
        folder: where they are written.
        deadline: for all of it.
        dependencies: get what they need, too.
        what: they are called in errors, in the plural.
        advice: in errors.

    Raises:
        ToolMissing: this Python has no pip.
        CommandFailed: pip could not get them.
        CommandTimeout: the deadline passed.
    """
    options = _fitting(target) + ["--no-deps"] * (not dependencies)
    quiet = ["-q", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", *quiet, *options, "--dest", str(folder), *requirements]
    result = run_child(command, timeout_s=deadline.remaining_s)
    if "No module named pip" in result.stderr:
        raise ToolMissing("pip", f"{sys.executable} -m ensurepip brings it")
    if result.return_code != 0:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR:")]
        raise CommandFailed(
            f"{what} cannot be downloaded here: {(errors or [result.last_line])[-1]}; {advice}",
            command=result.command,
            return_code=result.return_code,
            output=result.stderr,
        )
    return tuple(sorted(folder.glob("*.whl")))


def _fitting(target: WheelTarget) -> list[str]:
    python = "".join(map(str, target.python))
    options = ["--python-version", ".".join(map(str, target.python)), "--implementation", "cp", "--only-binary=:all:"]
    for abi in (f"cp{python}", "abi3", "none"):
        options += ["--abi", abi]
    for tag in platform_tags(target):
        options += ["--platform", tag]
    return options
