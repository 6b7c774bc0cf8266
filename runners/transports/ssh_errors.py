"""What the OpenSSH client says when it fails, in words that say what to do."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.errors import DeviceError, DeviceUnavailable, LinkLost
from mnet_deploy.runners.transports.address import DeviceAddress

KEEPALIVE_S = 3
KEEPALIVE_COUNT = 3
PROXIED = "UNKNOWN port 65535"  # what ssh calls the other end of a proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """Whom the user reaches how.

    Attributes:
        address: of the device.
        config: the file that stands in for ssh's own configuration, if any.
    """

    address: DeviceAddress
    config: Path | None = None

    def command(self, tool: str, destination: str | None = None) -> str:
        """Return a command for the user to run: `ssh -p 2222 pi@host`."""
        config = [] if self.config is None else ["-F", str(self.config)]
        port = [] if self.address.port is None or destination else ["-p", str(self.address.port)]
        return shlex.join([tool, *config, *port, destination or self.address.destination])


# (what ssh says, what that means and what to do), the first that fits counts: ssh often says several things, the more
# telling ones stand higher. Fields: the groups of the pattern, and those of `_fields`.
_UNREACHED = (
    (
        r"Host key for (?P<name>\S+) has changed",
        "the host key of {name} is not the one that is known. It was installed anew, another device has its address "
        "now, or someone is in between. Only if you know why, run {forget}, then {login} to accept the new one",
    ),
    (
        r"No \S+ host key is known for (?P<name>\S+) and you have requested strict|Host key verification failed",
        "the host key of {name} is not known here yet; run once: {login}, compare the fingerprint with the host's own "
        "(there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), answer yes",
    ),
    (
        # The banner of Raspberry Pi OS (package userconf-pi) until it has a user; on some images it stays.
        r"(?s)SSH may not work until a valid user has been set up.*Permission denied",
        "its Raspberry Pi OS says that it has no user yet: set one up with a screen and a keyboard, or in Raspberry Pi "
        "Imager; if it has this one, give it your key once: {copy_id}",
    ),
    (
        r"Permissions \S+ for '(?P<file>[^']+)' are too open",
        "ssh does not use a key that others can read; run chmod 600 {file}",
    ),
    (
        r"Too many authentication failures",
        "ssh offered more keys than it takes; name the right one in ~/.ssh/config for this host "
        "(IdentityFile KEY, IdentitiesOnly yes)",
    ),
    (
        r"(?P<who>\S+): Permission denied \([^)]*(?:password|keyboard-interactive)",
        "it wants a password, and none can be given here; give it your key once: {copy_id} (first ssh-keygen, if you "
        "have no key; ssh-add, if it has a passphrase)",
    ),
    (
        r"(?P<who>\S+): Permission denied",
        "it takes none of your keys for {who}; is that the right user? {login} -v shows which keys are offered "
        "(ssh-add, if yours has a passphrase)",
    ),
    (
        r"Could not resolve hostname (?P<name>\S+?): ",
        "nothing is known under the name {name}; is the device switched on and in this network? Try its IP address",
    ),
    (
        r"(?:connect to host (?P<name>\S+) port \d+|connect failed): Connection refused",
        "{name} answers, but not for ssh at that port; switch ssh on there: sudo raspi-config nonint do_ssh 0",
    ),
    (
        r"(?:connect to host (?P<name>\S+) port \d+|connect failed): "
        r"(?:No route to host|Network is unreachable|Host is down)",
        "{name} cannot be reached; is it switched on and in this network? Try ping {name}",
    ),
    (
        r"(?:connect to host (?P<name>\S+) port \d+: )?(?:Connection|Operation) timed out",
        "{name} does not answer; is it switched on and in this network? Try ping {name}",
    ),
    (
        r"Unable to negotiate with .*?: no matching (?P<what>.+?) found\. Their offer: (?P<offer>\S+)",
        "this ssh and its ssh server have no {what} in common (it offers {offer}); upgrade the older one",
    ),
    (
        r"(?P<line>.*(?:[Bb]ad configuration option|Bad owner or permissions on|Can't open user config file).*)",
        "ssh cannot read its configuration ({line}); correct it",
    ),
    (
        rf"(?P<line>.*(?:stdio forwarding failed|{PROXIED}).*)",
        "the way through the proxy failed ({line}); {login} must work first",
    ),
    (
        r"kex_exchange_identification|banner exchange|Connection (?:closed|reset) by",
        "it took the connection and closed it; it may still be starting, or refuse callers for a while. Try again in a "
        "minute: {login}",
    ),
)

_LOST = (
    (
        r"Timeout, server \S+ not responding",
        f"it has not answered for {KEEPALIVE_S * KEEPALIVE_COUNT} s: it is switched off, out of the network or "
        "overloaded; run it again when {login} works",
    ),
    (
        r"closed by remote host",
        "its ssh server ended the connection: it was restarted, or the session was ended there; run it again",
    ),
    (
        r"Broken pipe|Connection reset|Connection timed out|mux_client|read from master failed",
        "the connection broke; run it again when {login} works",
    ),
)


def ssh_error(target: SshTarget, said: str, *, started: bool, what: str) -> DeviceError:
    """Return the error that fits what ssh said.

    Args:
        target: whom it was to reach.
        said: its stderr.
        started: whether the program had been started there.
        what: was to run, for messages.
    """
    address, login = target.address, target.command("ssh")
    if started:
        words = _explained(_LOST, target, said)
        words = words or f"the connection ended without a word{_last_words(said)}; run it again when {login} works"
        return LinkLost(f"{address}: {words} (while {what} was running)")
    if unreached := _explained(_UNREACHED, target, said):
        return DeviceUnavailable(f"{address}: {unreached}")
    if lost := _explained(_LOST, target, said):
        return LinkLost(f"{address}: {lost} (when {what} was to be started)")
    return DeviceUnavailable(
        f"{address}: ssh ended before {what} was started{_last_words(said)}; {login} must work first"
    )


def _explained(rows: tuple[tuple[str, str], ...], target: SshTarget, said: str) -> str | None:
    for pattern, words in rows:
        found = re.search(pattern, said)
        if found:
            groups = {name: value.strip() for name, value in found.groupdict().items() if value}
            return words.format(**_fields(target, said, groups))
    return None


def _fields(target: SshTarget, said: str, groups: dict[str, str]) -> dict[str, str]:
    # Of a chain of hosts the one that refused is named; the device itself has its alias and port from the user.
    other = groups.get("who") if PROXIED in said else None
    name = groups.get("name", target.address.host)
    known = re.search(r"Offending .+ in (.+):\d+", said)
    file = ["-f", known[1]] if known else []
    return {
        "login": target.command("ssh"),
        "copy_id": target.command("ssh-copy-id", other),
        "forget": shlex.join(["ssh-keygen", *file, "-R", name]),
        **groups,
        "name": name,
    }


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f" ({lines[-1]})" if lines else ""
