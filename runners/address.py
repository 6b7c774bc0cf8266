"""Where a device is: `local:` or `ssh://[user@]host[:port]`."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from mnet_deploy.errors import SpecError

_FORMS = "local: (this machine) or ssh://[user@]host[:port]"
# What OpenSSH takes for a host or an alias in its configuration; a leading dash would be an option of ssh.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[?[0-9A-Fa-f:.]+(%\w+)?\]?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAddress:
    """The address of a device.

    Attributes:
        scheme: `local` or `ssh`.
        user: None for the one that ssh's own configuration names.
        host: name, alias of ssh's configuration or IP address; empty for `local`.
        port: None for the one that ssh's own configuration names.
    """

    scheme: str
    user: str | None = None
    host: str = ""
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            SpecError: it has none of the forms.
        """
        if text in ("local:", "local"):
            return cls(scheme="local")
        parts = urlsplit(text)
        try:
            port = parts.port
        except ValueError:
            raise _unreadable(text) from None
        user, host = parts.username, parts.hostname or ""
        names = [host] if user is None else [user, host]
        if parts.scheme != "ssh" or parts.path.strip("/") or parts.query or parts.password is not None:
            raise _unreadable(text)
        if not all(_NAME.fullmatch(name) for name in names):
            raise _unreadable(text)
        return cls(scheme="ssh", user=user, host=host, port=port)

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        if self.scheme == "local":
            return "local:"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.destination.removesuffix(self.host)}{host}{f':{self.port}' if self.port else ''}"

    @property
    def destination(self) -> str:
        """What ssh calls the destination: `user@host` or `host`."""
        return self.host if self.user is None else f"{self.user}@{self.host}"


def _unreadable(text: str) -> SpecError:
    return SpecError(f"a device is {_FORMS}. Received: {text!r}")
