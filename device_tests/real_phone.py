"""A real phone, given with --device adb://SERIAL: what the tests need of it, through the user's own adb."""

import subprocess

from mnet_deploy.runners.transports.adb_client import find_adb

TIMEOUT_S = 60
OURS = "mnet-bench-"  # in the names of all that a session makes


class UsersAdbServer:
    """The adb server that the user's tools share."""

    def __init__(self):
        self.adb = find_adb()
        self.environment = {}


class RealPhone:
    """A phone that its owner has plugged in and unlocked."""

    def __init__(self, address, server):
        self.address, self._adb = address, server.adb
        self.serial = address.removeprefix("adb://")

    def processes(self):
        """Return the command lines of our programs there."""
        return [line for line in self._lines("ps -A -o ARGS") if OURS in line]

    def temporary_files(self):
        """Return what sessions have left there."""
        return [name for name in self._lines("ls -A /data/local/tmp") if name.startswith(OURS)]

    def _lines(self, command):
        which = ("-s", self.serial) if self.serial else ()
        done = subprocess.run(
            [self._adb, *which, "shell", command], check=True, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        return done.stdout.splitlines()
