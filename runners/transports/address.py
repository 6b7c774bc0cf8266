"""Where a device is: `local:` or `ssh://[user@]host[:port]`."""

import re
from dataclasses import dataclass
from typing import Self

from mnet_deploy.errors import SpecError

_FORMS = "local: (this machine) or ssh://[user@]host[:port]"
# What OpenSSH takes for a user, a host or an alias in its configuration; a leading dash would be an option of ssh.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?")
# Not urllib's: it turns host names into lower case, and an alias may have capitals.
_SSH = re.compile(
    r"ssh://(?:(?P<user>[^@/]*)@)?(?:\[(?P<ipv6>[^]/]*)\]|(?P<host>[^]@:/[]*))(?::(?P<port>[0-9]{1,5}))?/?"
)
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAddress:
    """The address of a device.

    Attributes:
        scheme: `local` or `ssh`.
        user: None for the one that ssh's own configuration names.
        host: name, alias of ssh's configuration or IP address (IPv6 without brackets); empty for `local`.
        port: None for the one that ssh's own configuration names.

    Raises:
        SpecError: ssh would not take it for a user, a host and a port.
    """

    scheme: str
    user: str | None = None
    host: str = ""
    port: int | None = None

    def __post_init__(self) -> None:
        """Check it: what gets here reaches the command line of ssh."""
        if self.scheme == "local" and (self.user, self.host, self.port) == (None, "", None):
            return
        user_fits = self.user is None or _NAME.fullmatch(self.user)
        host_fits = _NAME.fullmatch(self.host) or _IPV6.fullmatch(self.host)
        port_fits = self.port is None or 1 <= self.port <= _LAST_PORT
        if self.scheme != "ssh" or not (user_fits and host_fits and port_fits):
            raise _unreadable(str(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            SpecError: it has none of the forms.
        """
        if text in ("local:", "local"):
            return cls(scheme="local")
        found = _SSH.fullmatch(text)
        if found is None:
            raise _unreadable(text)
        port = None if found["port"] is None else int(found["port"])
        return cls(scheme="ssh", user=found["user"], host=found["ipv6"] or found["host"] or "", port=port)

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        if self.scheme == "local":
            return "local:"
        user = "" if self.user is None else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{user}{host}{port}"

    @property
    def label(self) -> str:
        """The form that a sentence goes on behind, with a colon of its own."""
        return str(self).removesuffix(":")

    @property
    def destination(self) -> str:
        """What ssh calls the destination: `user@host` or `host`."""
        return self.host if self.user is None else f"{self.user}@{self.host}"


def _unreadable(text: str) -> SpecError:
    with_scheme = f"ssh://{text}"
    hint = f". Did you mean {with_scheme}?" if "://" not in text and _SSH.fullmatch(with_scheme) else ""
    return SpecError(f"a device is {_FORMS}. Received: {text!r}{hint}")
