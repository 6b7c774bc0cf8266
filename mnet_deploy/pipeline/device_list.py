"""The devices that can be named: this machine, and the hosts of the user's ssh configuration."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.open_transport import SSH_CONFIG
from mnet_deploy.runners.transports.ssh_hosts import SshHost, reachable_hosts
from mnet_deploy.text_table import render_table

FORMAT = "mnet.device-list/1"
TIMEOUT_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDevice:
    """A device that can be named.

    Attributes:
        address: for `--device`.
        answers: whether it does; None if that was not tried.
        state: the same in words.
        server: what its ssh server calls itself.
        next_command: what to run or do next.
    """

    address: DeviceAddress
    answers: bool | None
    state: str
    server: str | None
    next_command: str


def list_devices() -> tuple[ListedDevice, ...]:
    """Return this machine and the hosts of ssh's configuration, after at most `TIMEOUT_S`. Nobody is logged in."""
    here = DeviceAddress(scheme="local")
    first = ListedDevice(
        address=here, answers=True, state="this machine", server=None, next_command=_check_command(here)
    )
    config = os.environ.get(SSH_CONFIG)
    hosts = reachable_hosts(Deadline.after(TIMEOUT_S), Path(config) if config else None)
    return (first, *(_listed(host) for host in hosts))


def list_json(devices: Sequence[ListedDevice]) -> dict[str, Any]:
    """Return them as a document."""
    return {
        "format": FORMAT,
        "devices": [
            {
                "address": str(device.address),
                "answers": device.answers,
                "state": device.state,
                "server": device.server,
                "next_command": device.next_command,
            }
            for device in devices
        ],
    }


def list_text(devices: Sequence[ListedDevice]) -> str:
    """Return them as a table."""
    rows = [
        (
            str(device.address),
            f"{device.state} ({device.server})" if device.server else device.state,
            device.next_command,
        )
        for device in devices
    ]
    return render_table(("device", "state", "next"), rows, align="<<<")


def _listed(host: SshHost) -> ListedDevice:
    following = f"ssh {host.address.destination}" if host.answers is False else _check_command(host.address)
    return ListedDevice(
        address=host.address, answers=host.answers, state=host.state, server=host.server, next_command=following
    )


def _check_command(address: DeviceAddress) -> str:
    return f"mnet device check --device {address}"
