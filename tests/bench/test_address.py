import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.runners.transports.address import DeviceAddress


@pytest.mark.parametrize(
    ("text", "destination", "port"),
    [
        ("ssh://raspberrypi.local", "raspberrypi.local", None),
        ("ssh://pi@raspberrypi.local", "pi@raspberrypi.local", None),
        ("ssh://pi@192.168.1.7:2222", "pi@192.168.1.7", 2222),
        ("ssh://MyPi", "MyPi", None),
        ("ssh://pi@lab_pi-4.example.org", "pi@lab_pi-4.example.org", None),
        ("ssh://pi@[fe80::1%eth0]:22", "pi@fe80::1%eth0", 22),
        ("ssh://[::1]", "::1", None),
    ],
)
def test_ssh_addresses_survive_the_way_there_and_back(text, destination, port):
    address = DeviceAddress.parse(text)
    assert (address.scheme, address.destination, address.port) == ("ssh", destination, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "serial",
    ["", "emulator-5554", "R58M123ABCD", "192.168.1.5:5555", "[fe80::1%eth0]:5555", "adb-1A2B-x._adb-tls-connect._tcp"],
)
def test_serials_of_phones_survive_the_way_there_and_back(serial):
    address = DeviceAddress.parse(f"adb://{serial}")
    assert (address.scheme, address.host, address.user, address.port) == ("adb", serial, None, None)
    assert str(address) == f"adb://{serial}"


@pytest.mark.parametrize("text", ["local:", "local"])
def test_this_machine(text):
    assert str(DeviceAddress.parse(text)) == "local:"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh://",
        "ssh://@host",
        "ssh://pi@",
        "ssh://-oProxyCommand=id",
        "ssh://-l@host",
        "ssh://pi:secret@host",
        "ssh://pi@host:0",
        "ssh://pi@host:65536",
        "ssh://pi@host:ssh",
        "ssh://pi@host/tmp",
        "ssh://pi@host name",
        "ssh://pi@host\n",
        "ssh://host;id",
        "ssh://$(id)",
        "ssh://[::1",
        "ssh://::1",
        "http://host",
        "adb:",
        "adb://-e",
        "adb://a b",
        "adb://a;id",
        "adb://a/b",
        "adb://user@host",
        "local:/tmp",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(SpecError, match="a device is local:"):
        DeviceAddress.parse(text)


@pytest.mark.parametrize(
    "fields", [{"host": "-oProxyCommand=id"}, {"host": "pi", "user": "-l"}, {"host": "pi", "port": 0}, {"host": ""}]
)
def test_addresses_built_by_hand_are_checked_too(fields):
    with pytest.raises(SpecError, match="a device is local:"):
        DeviceAddress(scheme="ssh", **fields)


@pytest.mark.parametrize("text", ["adb", "adb:", "adb:/"])
def test_a_phone_without_all_of_its_slashes_gets_a_hint(text):
    with pytest.raises(SpecError, match=r"Did you mean adb://\?$"):
        DeviceAddress.parse(text)


def test_forgetting_the_scheme_gets_a_hint():
    with pytest.raises(SpecError, match=r"Did you mean ssh://pi@raspberrypi\.local\?"):
        DeviceAddress.parse("pi@raspberrypi.local")
