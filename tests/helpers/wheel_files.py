"""Small wheels of engines, made for tests."""

import hashlib
import zipfile
from base64 import urlsafe_b64encode


def record_line(name, content):
    """Return a line of a wheel's RECORD."""
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}\n"


def write_wheel(path, files, *, record=None):
    """Write a wheel with these files; `record` is its RECORD, by default the right one."""
    dist_info = "-".join(path.name.split("-")[:2]) + ".dist-info"
    if record is None:
        record = "".join(record_line(name, content) for name, content in files.items()) + f"{dist_info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
        if record:
            wheel.writestr(f"{dist_info}/RECORD", record)
    return path
