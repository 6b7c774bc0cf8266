"""Write a file on this machine so that it is there whole or not at all."""

import hashlib
import os
import tempfile
from pathlib import Path

from mnet_deploy.errors import CommandFailed, SpecError


def read_whole(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name, sync, compare the SHA-256 of what is there, and rename.

    Raises:
        CommandFailed: the system refused it (a full disk, for example), or something else arrived.
    """
    part = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            part = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if hashlib.sha256(part.read_bytes()).digest() != hashlib.sha256(content).digest():
            raise _refused(path, "it was damaged on the way")
        part.replace(path)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _refused(path: Path, reason: str) -> CommandFailed:
    return CommandFailed(f"{path} cannot be written: {reason}", command=["write", str(path)], return_code=1, output="")
