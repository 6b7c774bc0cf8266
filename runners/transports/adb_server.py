"""Questions to adb's server, if one runs: asking here starts none and ends none, as the adb executable may.

The protocol is AOSP's, packages/modules/adb: SERVICES.TXT and OVERVIEW.TXT.
"""

import os
import socket

from mnet_deploy.runners.transports.deadline import Deadline

PORT_VARIABLE = "ANDROID_ADB_SERVER_PORT"
ELSEWHERE_VARIABLE = "ADB_SERVER_SOCKET"  # names a server that may be on another machine: left to adb itself
_PORT = 5037
_ANSWER_S = 2.0  # it is on this machine
_HEX_DIGITS = 4


def server_version(deadline: Deadline) -> int | None:
    """Return the version of adb's protocol that the running server speaks; None if none answers."""
    answer = _ask("host:version", deadline)
    try:
        return None if answer is None else int(answer, 16)
    except ValueError:
        return None


def listed_devices(deadline: Deadline) -> str | None:
    """Return what `adb devices -l` lists; None if no server answers."""
    return _ask("host:devices-l", deadline)


def _ask(request: str, deadline: Deadline) -> str | None:
    """Return the server's answer to a request; None if nothing answers there as adb's server does."""
    port = os.environ.get(PORT_VARIABLE) or str(_PORT)
    if os.environ.get(ELSEWHERE_VARIABLE) or not port.isdecimal():
        return None
    deadline.require("adb's server")
    limit = deadline.within(_ANSWER_S)
    try:
        with socket.create_connection(("127.0.0.1", int(port)), limit.remaining_s) as link:
            link.sendall(f"{len(request):04x}{request}".encode())
            if _receive(link, _HEX_DIGITS, limit) != "OKAY":
                return None
            return _receive(link, int(_receive(link, _HEX_DIGITS, limit), 16), limit)
    except (OSError, OverflowError, ValueError):
        return None


def _receive(link: socket.socket, size: int, limit: Deadline) -> str:
    content = b""
    while len(content) < size:
        link.settimeout(limit.remaining_s)
        chunk = link.recv(size - len(content))
        if not chunk:
            raise ConnectionError("the answer of adb's server is cut off")
        content += chunk
    return content.decode("utf-8", "replace")
