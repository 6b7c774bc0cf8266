"""A session with this machine whose keeper does nothing but make a folder."""

import sys

import pytest

from mnet_deploy.runners.device_programs import DevicePrograms
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.transports.local_transport import LocalTransport

KEEPER = """
import json, sys
print(json.dumps(dict(event="ready", folder=sys.argv[1], swept=[])), flush=True)
while sys.stdin.readline() != "end\\n": pass
print(json.dumps(dict(event="end", not_restored=[])), flush=True)
"""


@pytest.fixture
def session(tmp_path):
    folder = tmp_path / "device"
    folder.mkdir()
    programs = DevicePrograms(keeper=(sys.executable, "-c", KEEPER, str(folder)))
    with DeviceSession(LocalTransport(), programs=programs) as held:
        yield held
