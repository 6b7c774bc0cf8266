"""The plain ssh client of this machine, for tests that look at a device by another way than the toolkit's."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from device_tests.emulated_pi.host import run


class SshClient:
    """Reaches one device: a host, or an alias of the ssh configuration. `options` go to ssh and scp alike."""

    def __init__(self, target: str, options: Sequence[str] = ()) -> None:
        self._target = target
        self._options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *options]

    def run(self, command: str, *, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command line of the device's shell; its standard input has nothing and stays open until it ends."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb"):
            return subprocess.run(
                ["ssh", *self._options, self._target, command],
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )

    def push(self, file: Path, remote: str) -> None:
        run("scp", "-q", *self._options, file, f"{self._target}:{remote}")

    def pull(self, remote: str, file: Path) -> None:
        run("scp", "-q", *self._options, f"{self._target}:{remote}", file)
