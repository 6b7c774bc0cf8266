"""A real device given with --device: the tests reach it the way they reach the stand-in."""

from urllib.parse import urlsplit

from device_tests.emulated_pi.ssh_client import SshClient


class RealPi:
    """What of `EmulatedPi` a real device has, too."""

    ssh_config = None  # ssh's own

    def __init__(self, address: str, python: str) -> None:
        parts = urlsplit(address)
        if parts.scheme != "ssh" or not parts.hostname:
            raise ValueError(f"--device must be ssh://[USER@]HOST[:PORT]. Received: {address}")
        self.address = address
        self.python = python
        host = parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}")  # as typed: an alias may have capitals
        user = ["-o", f"User={parts.username}"] if parts.username else []
        port = ["-o", f"Port={parts.port}"] if parts.port else []
        self.client = SshClient(host, [*user, *port])
        self.ssh = self.client.run
