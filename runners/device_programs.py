"""How our programs start on a device: the one that holds it, and the agent that runs models there.

Both speak JSON Lines (`device_events`). With Python on the device they are keeper.py and agent.py; on a phone, a shell
script and a C program do the same.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Protocol

RESOURCES = files("mnet_deploy.runners.on_device")
AGENT = "agent.py"


class Push(Protocol):
    """Copies a file into the session's folder and returns its path there."""

    def __call__(self, local: Path, *, name: str | None = None, executable: bool = False) -> str: ...


class Agent(Protocol):
    """A program that runs models on a device."""

    @property
    def runner_sha256(self) -> str:
        """Of its file."""

    @property
    def c_library(self) -> str | None:
        """The C library that it brings along, such as `glibc 2.36`; None if it uses the device's."""

    def bring(self, push: Push, folder: str) -> tuple[str, ...]:
        """Copy it there, and return what starts it; a command and its options follow."""


@dataclass(frozen=True, slots=True)
class PythonAgent:
    """agent.py, which needs Python, NumPy and an engine on the device.

    Attributes:
        python: the interpreter there.
    """

    python: str

    @property
    def runner_sha256(self) -> str:
        """Of the one file."""
        return hashlib.sha256((RESOURCES / AGENT).read_bytes()).hexdigest()

    @property
    def c_library(self) -> None:
        """Python's is the device's."""

    def bring(self, push: Push, folder: str) -> tuple[str, ...]:
        """Copy the one file."""
        del folder
        with as_file(RESOURCES / AGENT) as agent:
            return (self.python, "-I", push(agent))


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePrograms:
    """What a session runs on its device.

    Attributes:
        keeper: starts the program that holds the device; its options follow.
        agent: runs models; None where the device is only held, or another program is brought.
    """

    keeper: tuple[str, ...]
    agent: Agent | None = None


def python_programs(python: str, *, agent: bool = True) -> DevicePrograms:
    """Return those of a device with that Python; without `agent` it is only held."""
    return DevicePrograms(keeper=python_keeper(python), agent=PythonAgent(python) if agent else None)


def python_keeper(python: str) -> tuple[str, ...]:
    return (python, "-I", "-c", _source("keeper.py"))


def phone_keeper() -> tuple[str, ...]:
    return ("sh", "-c", _source("keeper.sh"), "keeper.sh")


def _source(name: str) -> str:
    return (RESOURCES / name).read_text(encoding="utf-8")
