"""From an address to the way there."""

import os
from pathlib import Path

from mnet_deploy.errors import SpecError
from mnet_deploy.runners.transports.adb_transport import AdbTransport
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.local_transport import LocalTransport
from mnet_deploy.runners.transports.ssh_transport import SshTransport
from mnet_deploy.runners.transports.transport import Transport

SSH_CONFIG = "MNET_SSH_CONFIG"  # environment variable: a file for `ssh -F`, instead of the user's own configuration


def open_transport(address: DeviceAddress) -> Transport:
    """Return the way to a device; it connects when it is first used.

    Raises:
        ToolMissing: the program that leads there is not installed here.
        SpecError: `MNET_SSH_CONFIG` names no file, or `MNET_ADB` no program.
    """
    if address.scheme == "local":
        return LocalTransport()
    if address.scheme == "adb":
        return AdbTransport(address)
    config = os.environ.get(SSH_CONFIG)
    if config and not Path(config).is_file():
        raise SpecError(f"{SSH_CONFIG} must name a file of ssh's configuration. Received: {config}")
    return SshTransport(address, config=Path(config).absolute() if config else None)
