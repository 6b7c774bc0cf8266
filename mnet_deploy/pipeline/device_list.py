"""The devices that can be named: this machine, the phones that adb knows, and the hosts of ssh's configuration."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnet_deploy.errors import DeviceError
from mnet_deploy.runners.transports.adb_devices import AdbPhone, connected_phones
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.runners.transports.open_transport import SSH_CONFIG
from mnet_deploy.runners.transports.ssh_hosts import SshHost, reachable_hosts
from mnet_deploy.text_table import render_table

FORMAT = "mnet.device-list/1"
TIMEOUT_S = 4.0
ADB_TIMEOUT_S = 10.0  # its server may have to start


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDevice:
    """A device that can be named.

    Attributes:
        address: for `--device`.
        answers: whether it does; None if that was not tried.
        state: the same in words.
        server: what its ssh server calls itself.
        model: of a phone.
        next_command: what to run or do next.
    """

    address: DeviceAddress
    answers: bool | None
    state: str
    server: str | None = None
    model: str | None = None
    next_command: str


def list_devices() -> tuple[ListedDevice, ...]:
    """Return this machine, phones and the hosts of ssh's configuration. Nobody is logged in, no phone asked."""
    here = DeviceAddress(scheme="local")
    first = ListedDevice(address=here, answers=True, state="this machine", next_command=_check_command(here))
    config = os.environ.get(SSH_CONFIG)
    hosts = reachable_hosts(Deadline.after(TIMEOUT_S), Path(config) if config else None)
    return (first, *_phones(), *(_listed(host) for host in hosts))


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
                "model": device.model,
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
            f"{device.state} ({named})" if (named := device.server or device.model) else device.state,
            device.next_command,
        )
        for device in devices
    ]
    return render_table(("device", "state", "next"), rows, align="<<<")


def _phones() -> tuple[ListedDevice, ...]:
    try:
        return tuple(_listed_phone(phone) for phone in connected_phones(Deadline.after(ADB_TIMEOUT_S)))
    except DeviceError as error:
        address = DeviceAddress(scheme="adb")
        return (ListedDevice(address=address, answers=False, state=str(error), next_command=_check_command(address)),)


def _listed_phone(phone: AdbPhone) -> ListedDevice:
    return ListedDevice(
        address=phone.address,
        answers=phone.ready,
        state="answers" if phone.ready else phone.state,
        model=phone.model,
        next_command=_check_command(phone.address),  # which says what to do on one that is not ready
    )


def _listed(host: SshHost) -> ListedDevice:
    following = f"ssh {host.address.destination}" if host.answers is False else _check_command(host.address)
    return ListedDevice(
        address=host.address, answers=host.answers, state=host.state, server=host.server, next_command=following
    )


def _check_command(address: DeviceAddress) -> str:
    return f"mnet device check --device {address}"
