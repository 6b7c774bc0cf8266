"""Get a file from an https address, once: what has the expected SHA-256 is kept, anything else is not."""

import hashlib
import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from mnet_deploy.errors import CommandTimeout, DeviceError, LinkLost, SpecError
from mnet_deploy.progress import Progress
from mnet_deploy.runners.kept_folder import kept_folder
from mnet_deploy.runners.transports.deadline import Deadline
from mnet_deploy.terminal import printable
from mnet_deploy.units import format_bytes

LARGEST_BYTES = 256 << 20  # a benchmark_model with all of TensorFlow's ops has about 150 MB
TIMEOUT_S = 600.0
STALLED_S = 30.0
_CHUNK_BYTES = 1 << 18
_MOST_DIGITS = 18
_ADDRESS = re.compile("[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_OTHERWISE = "or get it in another way and give its path"


class Response(Protocol):
    """What an opener returns, as far as it is used here."""

    headers: Mapping[str, str]

    def read1(self, amount: int, /) -> bytes: ...

    def close(self) -> None: ...


class Opener(Protocol):
    """Opens addresses: urllib's `OpenerDirector`."""

    def open(self, url: str, /, *, timeout: float) -> Response: ...


class HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to other https addresses alone."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Refuse any other."""
        if urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"it leads to {newurl[:200]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_address(source: str) -> bool:
    """Return whether it is an address of any scheme, not a path."""
    return _ADDRESS.match(source) is not None


def require_https(url: str) -> None:
    """Raise SpecError unless a file may be got from there."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise SpecError(f"{printable(url)}: is no address ({error})") from None
    if parts.scheme.lower() != "https" or not parts.hostname or url != printable(url) or " " in url:
        raise SpecError(f"an address begins with https:// and a name. Received: {printable(url)!r}")
    if parts.username is not None or parts.password is not None:
        raise SpecError("an address is saved with the results: it must not have a name and a password in it")


def download(url: str, sha256: str, *, name: str, progress: Progress, opener: Opener | None = None) -> Path:
    """Return a file of that content: the one kept from an earlier time, or what is at the address.

    Args:
        url: https.
        sha256: that the content has to have, 64 hexadecimal digits in lower case.
        name: of the file; it is kept in a folder named by its digest.
        progress: shows how far it is.
        opener: opens the address; by default urllib's, which takes a proxy from the environment.

    Raises:
        SpecError: the address is none of https, something else is there, or it cannot be kept.
        CommandTimeout: it took too long.
        DeviceError: it cannot be reached, or the connection ended.
    """
    require_https(url)

    def get(folder: Path) -> None:
        content = _get(url, opener or urllib.request.build_opener(HttpsOnly), progress)
        received = hashlib.sha256(content).hexdigest()
        if received != sha256:
            raise SpecError(
                f"{url}: its SHA-256 has to be {sha256}. Received: {received}; nothing was kept. What is there has "
                "changed, or the digest is of another file"
            )
        (folder / name).write_bytes(content)

    kept = kept_folder(f"benchmark_model/{sha256}", get, Deadline.after(TIMEOUT_S)) / name
    if digest_of(kept) != sha256:
        raise SpecError(f"{kept}: is not the file that was kept there; remove {kept.parent}, and it is got again")
    return kept


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None


def _get(url: str, opener: Opener, progress: Progress) -> bytes:
    deadline = Deadline.after(TIMEOUT_S)
    try:
        response = opener.open(url, timeout=STALLED_S)
        try:
            return _content(url, response, deadline, progress)
        finally:
            response.close()
            progress.done()
    except urllib.error.HTTPError as error:
        error.close()
        raise DeviceError(
            f"{url}: the server answers {error.code} {printable(str(error.reason))}; look whether the address is "
            f"right, {_OTHERWISE}"
        ) from None
    except TimeoutError:
        raise _timeout(url, STALLED_S) from None
    except (OSError, http.client.HTTPException) as error:
        reason: Any = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise _timeout(url, STALLED_S) from None
        why = "its certificate is not trusted: " if isinstance(reason, ssl.SSLCertVerificationError) else ""
        raise DeviceError(f"{url}: cannot be got ({why}{printable(str(reason))}); try again, {_OTHERWISE}") from None


def _content(url: str, response: Response, deadline: Deadline, progress: Progress) -> bytes:
    size = response.headers.get("Content-Length", "")
    expected = int(size) if size.isascii() and size.isdecimal() and len(size) <= _MOST_DIGITS else None
    content = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):  # what has arrived: to wait for more would outlast the deadline
        content += chunk
        if max(len(content), expected or 0) > LARGEST_BYTES:
            raise SpecError(f"{url}: has more than {format_bytes(LARGEST_BYTES)}, and no benchmark_model is as large")
        if deadline.expired:
            raise _timeout(url, TIMEOUT_S)
        total = "" if expected is None else f" of {format_bytes(expected)}"
        progress.stage(f"getting {url}: {format_bytes(len(content))}{total}")
    if expected is not None and len(content) != expected:
        raise LinkLost(f"{url}: {expected} bytes were announced and {len(content)} arrived; try again, {_OTHERWISE}")
    return bytes(content)


def _timeout(url: str, limit_s: float) -> CommandTimeout:
    return CommandTimeout(f"{url}: did not arrive within {limit_s:g} s; try again, {_OTHERWISE}")
