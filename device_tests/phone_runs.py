"""Running `mnet` against a stand-in phone as a user does, and looking at what it leaves on both sides."""

import os
from contextlib import suppress
from pathlib import Path

from device_tests.mnet_runs import AGENT_RUNS, Run, until


def phone_environment(server):
    """Return what leads mnet's adb to a server, and no further; its home stays, where the toolkit keeps its files."""
    return {**server.environment, "HOME": os.environ["HOME"], "MNET_ADB": str(server.adb)}


class PhoneRun(Run):
    """`mnet` as a process of its own, with a phone."""

    def __init__(self, folder, *words, server):
        self._adb = str(server.adb)
        super().__init__(folder, *words, env=phone_environment(server))

    def until_round(self, number, phone, *, command=AGENT_RUNS):
        """Wait until an inference of that round runs."""

        def there():
            self._require_life(f"round {number}")
            started = any(line.startswith(f"round {number},") for line in self.said())
            return started and runs(phone, command)

        until(there, f"round {number}")

    def leftovers(self, phone):
        return [*super().leftovers(phone), *clients(self._adb, phone.serial)]


def runs(phone, command):
    """Whether a program with that in its command line runs, and not only the shell that starts it."""
    return any(command in each and not each.startswith("sh -c ") for each in phone.processes())


def clients(adb, serial):
    """Return the command lines of the adb clients of this machine that have to do with a phone."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            words = file.read_text(errors="replace").split("\0")
            if words[0] == adb and serial in words:
                found.append(" ".join(words))
    return found
