"""Where a device is: `local:`, `ssh://[user@]host[:port]` or `adb://[SERIAL]`."""

import re
from dataclasses import dataclass
from typing import Self

from mnet_deploy.errors import SpecError

_FORMS = "local: (this machine), ssh://[user@]host[:port] or adb://[SERIAL] (a phone)"
# What OpenSSH takes for a user, a host or an alias in its configuration; a leading dash would be an option of ssh.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?")
# Not urllib's: it turns host names into lower case, and an alias may have capitals.
_SSH = re.compile(
    r"ssh://(?:(?P<user>[^@/]*)@)?(?:\[(?P<ipv6>[^]/]*)\]|(?P<host>[^]@:/[]*))(?::(?P<port>[0-9]{1,5}))?/?"
)
# A serial number, HOST:PORT, or what adb found in the network; see `adb devices`.
_SERIAL = re.compile(r"[A-Za-z0-9_[][][A-Za-z0-9._:%-]*")
_ADB = "adb://"
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAddress:
    """The address of a device.

    Attributes:
        scheme: `local`, `ssh` or `adb`.
        user: None for the one that ssh's own configuration names.
        host: name, alias of ssh's configuration or IP address (IPv6 without brackets); for `adb` the serial, empty for
            the only phone there is; empty for `local`.
        port: None for the one that ssh's own configuration names.

    Raises:
        SpecError: ssh would not take it for a user, a host and a port, nor adb for a serial.
    """

    scheme: str
    user: str | None = None
    host: str = ""
    port: int | None = None

    def __post_init__(self) -> None:
        """Check it: what gets here reaches the command line of ssh or adb."""
        if self.scheme == "local" and (self.user, self.host, self.port) == (None, "", None):
            return
        if self.scheme == "adb" and (self.user, self.port) == (None, None) and _is_serial(self.host):
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
        if text.startswith(_ADB):
            return cls(scheme="adb", host=text.removeprefix(_ADB).removesuffix("/"))
        found = _SSH.fullmatch(text)
        if found is None:
            raise _unreadable(text)
        port = None if found["port"] is None else int(found["port"])
        return cls(scheme="ssh", user=found["user"], host=found["ipv6"] or found["host"] or "", port=port)

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        if self.scheme == "local":
            return "local:"
        if self.scheme == "adb":
            return f"{_ADB}{self.host}"
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


def _is_serial(text: str) -> bool:
    return not text or _SERIAL.fullmatch(text) is not None


def _unreadable(text: str) -> SpecError:
    with_scheme = _ADB if re.fullmatch("adb:?/?", text) else f"ssh://{text}"
    meant = with_scheme == _ADB or ("://" not in text and _SSH.fullmatch(with_scheme))
    hint = f". Did you mean {with_scheme}?" if meant else ""
    return SpecError(f"a device is {_FORMS}. Received: {text!r}{hint}")
