"""Which hosts of the user's ssh configuration answer: those with a name of their own, asked all at once."""

import shlex
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.child_process import run_child
from mnet_deploy.errors import CommandFailed, CommandTimeout, SpecError
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline

USER_CONFIG = Path.home() / ".ssh" / "config"
_RESOLVE_TIMEOUT_S = 5.0
_BANNER_BYTES = 255  # the longest that RFC 4253 allows
_MAX_INCLUDES = 16  # as many levels as OpenSSH takes
_NOT_DEVICES = ("git",)  # the user of hosts that only keep repositories


@dataclass(frozen=True, slots=True, kw_only=True)
class SshHost:
    """A host of the configuration, and whether it answers.

    Attributes:
        address: with its alias.
        answers: whether its ssh server does; None if that was not tried.
        state: the same in words.
        server: what its ssh server calls itself, `OpenSSH_9.2p1 Debian-2+deb12u3`.
    """

    address: DeviceAddress
    answers: bool | None
    state: str
    server: str | None = None


def configured_aliases(config: Path) -> tuple[str, ...]:
    """Return the names in `Host` lines that are no patterns, in their order; files that it includes are read, too."""
    return tuple(dict.fromkeys(_aliases(config, _MAX_INCLUDES)))


def reachable_hosts(deadline: Deadline, config: Path | None = None) -> tuple[SshHost, ...]:
    """Return all hosts of a configuration and whether they answer; nobody is logged in.

    Args:
        deadline: when to stop waiting.
        config: instead of the user's own.
    """
    addresses = [address for alias in configured_aliases(config or USER_CONFIG) if (address := _address(alias))]
    found: dict[DeviceAddress, SshHost | None] = {}

    def ask(address: DeviceAddress) -> None:
        found[address] = _ask(address, config, deadline)

    # Not an executor: it would wait for names that take minutes to resolve, even when the program ends.
    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for address in addresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline.remaining_s)
    silent = {address: SshHost(address=address, answers=False, state="does not answer") for address in addresses}
    return tuple(host for address in addresses if (host := found.get(address, silent[address])))


def _aliases(config: Path, levels: int) -> Sequence[str]:
    try:
        lines = config.read_text(encoding="utf-8", errors="replace").splitlines() if levels else []
    except OSError:
        return ()  # most users have none, and ssh itself complains about one that cannot be read
    aliases: list[str] = []
    for line in lines:
        keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.lower() == "host":
            aliases += [name for name in _words(rest) if not set(name) & set("*?!")]
        elif keyword.lower() == "include":
            for pattern in _words(rest):
                for path in _matching(pattern):
                    aliases += _aliases(path, levels - 1)
    return aliases


def _matching(pattern: str) -> list[Path]:
    """Return the files that an include names: relative names count from ~/.ssh, whatever file they are in."""
    path = USER_CONFIG.parent / Path(pattern).expanduser()
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return []  # a quote that does not end: ssh refuses the line, too


def _address(alias: str) -> DeviceAddress | None:
    try:
        return DeviceAddress.parse(f"ssh://{alias}")
    except SpecError:
        return None


def _ask(address: DeviceAddress, config: Path | None, deadline: Deadline) -> SshHost | None:
    """Return how a host answers; None if it is no device."""
    options = _resolved(address, config, deadline)
    if options is None:
        return SshHost(address=address, answers=None, state="ssh cannot read its configuration")
    if options.get("user") in _NOT_DEVICES:
        return None
    if any(options.get(name, "none") != "none" for name in ("proxyjump", "proxycommand")):
        return SshHost(address=address, answers=None, state="behind another host, not tried")
    name, port = options["hostname"], int(options["port"])
    try:
        server = _banner(name, port, deadline)
    except socket.gaierror:
        return SshHost(address=address, answers=False, state=f"no such name: {name}")
    except ConnectionRefusedError:
        return SshHost(address=address, answers=False, state=f"is there, but no ssh at port {port}")
    except OSError:
        return SshHost(address=address, answers=False, state="does not answer")
    return SshHost(address=address, answers=True, state="answers", server=server)


def _resolved(address: DeviceAddress, config: Path | None, deadline: Deadline) -> dict[str, str] | None:
    """Return what ssh makes of an alias; None if it makes nothing of it."""
    file = [] if config is None else ["-F", str(config)]
    with suppress(CommandFailed, CommandTimeout):
        result = run_child(
            ["ssh", "-G", *file, "--", address.host], timeout_s=min(deadline.remaining_s, _RESOLVE_TIMEOUT_S)
        )
        lines = result.stdout.decode("utf-8", "replace").splitlines()
        options = {name: value for name, _, value in (line.partition(" ") for line in reversed(lines))}
        if result.return_code == 0 and {"hostname", "port"} <= set(options):
            return options
    return None


def _banner(name: str, port: int, deadline: Deadline) -> str | None:
    with socket.create_connection((name, port), timeout=max(deadline.remaining_s, 0.001)) as connection:
        connection.settimeout(max(deadline.remaining_s, 0.001))
        said = connection.recv(_BANNER_BYTES).decode("ascii", "replace").split("\r")[0].strip()
    version = said.split("-", 2)
    return version[2] if version[0] == "SSH" and len(version) == 3 else None
