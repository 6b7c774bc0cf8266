"""The adb executable: where it is, whether it is new enough, and the command lines it gets for one phone."""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from mnet_deploy.child_process import ChildResult, run_child
from mnet_deploy.errors import CommandTimeout, DeviceUnavailable, SpecError, ToolMissing
from mnet_deploy.runners.transports.adb_errors import AdbTarget, adb_error
from mnet_deploy.runners.transports.adb_server import server_version
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline

ADB = "MNET_ADB"  # environment variable: the adb to use, instead of looking for one
INSTALL = (
    "install it with sudo apt install adb, with Android Studio's SDK platform-tools, or with pip install "
    f"'mnet-deploy[android]', or set {ADB} to where it is"
)
OLDEST_PROTOCOL = 41  # of adb's client and server: Android Debug Bridge version 1.0.41, since 2018
_NEWS = re.compile(r"\* daemon (not running|started)|\[ *[0-9]+%\]")
_SHORT_S = 20.0  # for what adb answers at once, the start of its server included
_SDK = ("ANDROID_HOME", "ANDROID_SDK_ROOT")


class AdbClient:
    """Makes command lines of adb for one phone."""

    def __init__(self, address: DeviceAddress, adb: Path | None = None) -> None:
        """Find adb; see `find_adb`."""
        self.target = AdbTarget(address=address, adb=find_adb(adb), serial=address.host)
        self.merged = False  # whether stdout and stderr of a program come as one, as before Android 7
        self._connected = False

    def command(self, *arguments: str) -> list[str]:
        """Return a command line for the phone."""
        return self.target.argv(*arguments)

    def shell(self, line: str) -> list[str]:
        """Return the command that runs a line in the phone's shell."""
        return self.command("exec-out" if self.merged else "shell", line)

    def connect(self, deadline: Deadline) -> None:
        """Check adb, choose the phone and ask what it can do; only the first call does anything.

        Raises:
            ToolMissing: this adb is too old.
            DeviceUnavailable: there is no such phone, or it is not ready; the message says what to do there.
            CommandTimeout: the deadline passed.
        """
        if self._connected:
            return
        self._require_one_version(_protocol(self.target.adb, deadline), deadline)
        self._answer("start-server", deadline)
        if not self.target.serial:  # from here on it is this one, also when another one is plugged in
            serial = self._answer("get-serialno", deadline).strip()
            self.target = AdbTarget(address=self.target.address, adb=self.target.adb, serial=serial)
        state = self._answer("get-state", deadline).strip()
        if state != "device":
            raise adb_error(self.target, f"error: device {state}", started=False, what="a program")
        self.merged = "shell_v2" not in self._answer("features", deadline).split()
        self._connected = True

    def _require_one_version(self, client: int, deadline: Deadline) -> None:
        """Leave a server of another version alone: adb would end it, and with it what others do through it."""
        server = server_version(deadline)
        if server not in (None, client):
            said = f"adb server version ({server}) doesn't match this client ({client})"
            raise adb_error(self.target, said, started=False, what="a program")

    def _answer(self, request: str, deadline: Deadline) -> str:
        arguments = [str(self.target.adb), request] if request == "start-server" else self.command(request)
        done = short_answer(arguments, deadline, f"{self.target.address} adb {request}")
        if done.return_code != 0:
            raise adb_error(self.target, said_by(done), started=False, what=f"adb {request}")
        return done.stdout.decode("utf-8", "replace")


def find_adb(given: Path | None = None) -> Path:
    """Return the first adb of: `given`, `MNET_ADB`, PATH, the Android SDK, the package adbutils.

    Raises:
        SpecError: what was given is no program.
        ToolMissing: there is none.
    """
    named = given or (Path(os.environ[ADB]) if os.environ.get(ADB) else None)
    if named is not None:
        if not _is_program(named):
            raise SpecError(f"{'adb' if given else ADB} must name an adb executable. Received: {named}")
        return named.absolute()
    found = next((path for path in _candidates() if _is_program(path)), None)
    if found is None:
        raise ToolMissing("adb", INSTALL)
    return found


def short_answer(command: list[str], deadline: Deadline, name: str) -> ChildResult:
    """Run adb for something that it answers at once.

    Raises:
        CommandTimeout: it did not.
    """
    deadline.require(name)
    try:
        return run_child(command, timeout_s=deadline.within(_SHORT_S).remaining_s)
    except CommandTimeout:
        raise CommandTimeout(
            f"{name} did not answer in time; end adb's server with {command[0]} kill-server and try again"
        ) from None


def said_by(done: ChildResult) -> str:
    """Return all that adb said, without news of its server and progress."""
    said = f"{done.stdout.decode('utf-8', 'replace')}\n{done.stderr}"
    return "\n".join(line for line in said.splitlines() if not _NEWS.match(line))


def _candidates() -> Iterator[Path]:
    if on_path := shutil.which("adb"):
        yield Path(on_path)
    for variable in _SDK:
        if folder := os.environ.get(variable):
            yield Path(folder) / "platform-tools" / "adb"
    package = importlib.util.find_spec("adbutils")
    for folder in (package.submodule_search_locations or ()) if package else ():
        yield Path(folder) / "binaries" / "adb"


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _protocol(adb: Path, deadline: Deadline) -> int:
    """Return the version of the protocol that this adb speaks, if it is new enough."""
    said = said_by(short_answer([str(adb), "version"], deadline, f"{adb} version"))
    found = re.search(r"Android Debug Bridge version 1\.0\.([0-9]{1,4})\b", said)
    if found is None:
        first = next((line for line in said.splitlines() if line.strip()), "nothing")
        raise DeviceUnavailable(f"{adb} is not adb: expected its version. Received: {first[:100]}; {INSTALL}")
    if int(found[1]) < OLDEST_PROTOCOL:
        raise ToolMissing(f"adb 1.0.{OLDEST_PROTOCOL} or later", f"{adb} is 1.0.{found[1]}; {INSTALL}")
    return int(found[1])
