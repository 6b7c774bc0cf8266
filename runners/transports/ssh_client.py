"""The system's OpenSSH client: which options it gets, and the connection that short commands share."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mnet_deploy.child_process import describe_return_code
from mnet_deploy.errors import ToolMissing
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.piped_process import wait_for_end
from mnet_deploy.runners.transports.ssh_errors import KEEPALIVE_COUNT, KEEPALIVE_S, PROXIED, SshTarget, ssh_error

CONNECT_TIMEOUT_S = 10
MASTER_IDLE_S = 60  # after which the shared connection ends by itself, should nobody be left to end it
CLOSE_TIMEOUT_S = 5.0
SOCKETS = "/tmp"  # not TMPDIR: the path of a socket may have about 100 characters, and that of macOS takes half of them

_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": str(CONNECT_TIMEOUT_S),
    "ServerAliveInterval": str(KEEPALIVE_S),
    "ServerAliveCountMax": str(KEEPALIVE_COUNT),
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "INFO",  # less would leave nothing to tell errors by
}
# BatchMode does not reach the ssh that a ProxyJump starts: what that one asks is answered by a program that fails.
ENVIRONMENT: Mapping[str, str] = {"SSH_ASKPASS": "false", "SSH_ASKPASS_REQUIRE": "force"}


class SshClient:
    """Makes command lines of ssh for one device, and keeps a connection open that several of them use."""

    def __init__(self, target: SshTarget) -> None:
        """Plan it.

        Raises:
            ToolMissing: there is no ssh client here.
        """
        if shutil.which("ssh") is None:
            raise ToolMissing("ssh", "install OpenSSH's client, as with sudo apt install openssh-client")
        self._target = target
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def alone(self, line: str) -> list[str]:
        """Return the command that runs `line` over a connection of its own."""
        return self._command("-o", "ControlMaster=no", "-o", "ControlPath=none", line=line)

    def shared(self, line: str, deadline: Deadline, *, what: str) -> list[str]:
        """Return the command that runs `line` over the shared connection, after opening that if need be.

        Should it end before the command runs, ssh opens a new one for it: slower, and otherwise the same.

        Raises:
            DeviceUnavailable: the device cannot be reached, for the reason that ssh gives.
            CommandTimeout: the deadline passed.
        """
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mnet-ssh-", dir=SOCKETS)
        options = self._sharing(self._folder)
        if not _socket(self._folder).exists():
            said = self._open(["-M", "-N", "-f", "-o", f"ControlPersist={MASTER_IDLE_S}", *options], deadline)
            if PROXIED in said:
                return self.alone(line)  # ssh keeps to itself what the proxy said, unless it stays in the foreground
            if said:
                raise ssh_error(self._target, said, started=False, what=what)
        return self._command("-o", "ControlMaster=no", *options, line=line)

    def close(self) -> None:
        """End the shared connection. May be called twice, and never raises."""
        if self._folder is None:
            return
        with suppress(OSError, subprocess.TimeoutExpired):  # it ends by itself after MASTER_IDLE_S, too
            subprocess.run(
                self._command("-O", "exit", *self._sharing(self._folder)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=CLOSE_TIMEOUT_S,
                check=False,
            )
        with suppress(OSError):
            self._folder.cleanup()
        self._folder = None

    def _command(self, *options: str, line: str | None = None) -> list[str]:
        address, config = self._target.address, self._target.config
        return [
            "ssh",
            *(() if config is None else ("-F", str(config))),
            *(part for name, value in _OPTIONS.items() for part in ("-o", f"{name}={value}")),
            *(() if address.port is None else ("-p", str(address.port))),
            *options,
            "--",
            address.destination,
            *(() if line is None else (line,)),
        ]

    def _sharing(self, folder: tempfile.TemporaryDirectory[str]) -> list[str]:
        return ["-o", f"ControlPath={_socket(folder)}"]

    def _open(self, options: list[str], deadline: Deadline) -> str:
        """Start the ssh that holds the shared connection; it goes into the background once it is logged in.

        Returns what it said if it could not; else nothing.
        """
        with tempfile.TemporaryFile() as errors:  # not a pipe: what goes into the background would hold it open
            process = subprocess.Popen(
                self._command(*options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **ENVIRONMENT},
                process_group=0,
            )
            try:
                return_code = wait_for_end(process, deadline, f"{self._target.address} connecting")
            except BaseException:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace")
        return "" if return_code == 0 else said or f"ssh ended with {describe_return_code(return_code)}"


def _socket(folder: tempfile.TemporaryDirectory[str]) -> Path:
    return Path(folder.name) / "s"
