"""What ssh says comes from OpenSSH 9.2 and a stand-in Raspberry Pi, unless another source is named."""

from pathlib import Path

import pytest

from mnet_deploy.errors import DeviceUnavailable, LinkLost
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.ssh_errors import SshTarget, ssh_error

PI = SshTarget(address=DeviceAddress.parse("ssh://pi@raspberrypi.local"))
BEHIND_A_PORT = SshTarget(address=DeviceAddress.parse("ssh://pi@lab:2222"), config=Path("/etc/my config"))
CLOSED = "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n"
FRAME = "@" * 59 + "\r\n"

UNREACHED = {
    "changed host key": (
        f"{FRAME}@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n{FRAME}"
        "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n"
        "Offending ED25519 key in /home/me/.ssh/known_hosts:3\r\n"
        "Host key for [lab]:2222 has changed and you have requested strict checking.\r\n"
        "Host key verification failed.\r\n",
        ["is not the one that is known", "Only if you know why", "-f /home/me/.ssh/known_hosts -R '[lab]:2222'"],
    ),
    "unknown host key": (
        "No ED25519 host key is known for 10.0.0.7 and you have requested strict checking.\r\n"
        "Host key verification failed.\r\n",
        [
            "host key of 10.0.0.7 is not known",
            "run once: ssh pi@raspberrypi.local, compare the fingerprint",
            "answer yes",
        ],
    ),
    "unknown host key of a proxy": (
        f"Host key verification failed.\r\n{CLOSED}",
        ["run once: ssh pi@raspberrypi.local"],
    ),
    # Raspberry Pi OS, package userconf-pi
    "no user": (
        "\nPlease note that SSH may not work until a valid user has been set up.\n\nSee http://rptl.io/newuser for "
        "details.\npi@raspberrypi.local: Permission denied (publickey,password).\r\n",
        ["has no user yet", "ssh-copy-id pi@raspberrypi.local"],
    ),
    "key that others can read": (
        "Permissions 0644 for '/home/me/.ssh/id_ed25519' are too open.\r\nThis private key will be ignored.\r\n"
        "pi@raspberrypi.local: Permission denied (publickey,password).\r\n",
        ["chmod 600 /home/me/.ssh/id_ed25519"],
    ),
    "too many keys": (
        "Received disconnect from 10.0.0.7 port 22:2: Too many authentication failures\r\n"
        "Disconnected from 10.0.0.7 port 22\r\n",
        ["IdentitiesOnly yes"],
    ),
    "password": (
        "Welcome here\npi@10.0.0.7: Permission denied (publickey,password,keyboard-interactive).\r\n",
        ["ssh-copy-id pi@raspberrypi.local ", "ssh-keygen", "ssh-add"],
    ),
    "password of a proxy": (
        f"me@jump.org: Permission denied (publickey,password).\r\n{CLOSED}",
        ["ssh-copy-id me@jump.org "],
    ),
    "no key fits": (
        "pi@10.0.0.7: Permission denied (publickey).\r\n",
        ["none of your keys for pi@10.0.0.7", "ssh pi@raspberrypi.local -v"],
    ),
    "unknown name": (
        "ssh: Could not resolve hostname raspberrypi.local: Name or service not known\r\n",
        ["the name raspberrypi.local;", "IP address"],
    ),
    "unknown name on macOS": (  # its libc
        "ssh: Could not resolve hostname raspberrypi.local: nodename nor servname provided, or not known\r\n",
        ["the name raspberrypi.local;"],
    ),
    "refused": (
        "ssh: connect to host 10.0.0.7 port 22: Connection refused\r\n",
        ["10.0.0.7 answers, but not for ssh", "raspi-config"],
    ),
    "refused behind a proxy": (
        f"channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n{CLOSED}",
        ["raspberrypi.local answers, but not for ssh"],
    ),
    "no route": ("ssh: connect to host 10.0.0.7 port 22: No route to host\r\n", ["ping 10.0.0.7"]),
    "no network": ("ssh: connect to host 10.0.0.7 port 22: Network is unreachable\r\n", ["ping 10.0.0.7"]),
    "timeout": (
        "ssh: connect to host 10.0.0.7 port 22: Connection timed out\r\n",
        ["does not answer", "ping 10.0.0.7"],
    ),
    "timeout on macOS": ("ssh: connect to host 10.0.0.7 port 22: Operation timed out\r\n", ["does not answer"]),
    "silent server": (
        "Connection timed out during banner exchange\r\nConnection to 10.0.0.7 port 22 timed out\r\n",
        ["raspberrypi.local does not answer"],
    ),
    "still starting": (
        "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 10.0.0.7 port 22\r\n",
        ["Try again in a minute"],
    ),
    "nothing in common": (
        "Unable to negotiate with 10.0.0.7 port 22: no matching host key type found. Their offer: ssh-rsa\r\n",
        ["no host key type in common (it offers ssh-rsa)"],
    ),
    "configuration": (
        "/home/me/.ssh/config: line 1: Bad configuration option: nonsense\r\n"
        "/home/me/.ssh/config: terminating, 1 bad configuration options\r\n",
        ["(/home/me/.ssh/config: line 1: Bad configuration option: nonsense); correct it"],
    ),
    "proxy": (CLOSED, ["the way through the proxy failed"]),
    "forced command": (
        "This account is currently not available.\n\n",
        ["(This account is currently not available.)", "ssh pi@raspberrypi.local must work first"],
    ),
    "nothing": ("", ["ssh ended before uname was started; ssh pi@raspberrypi.local must work first"]),
}

LOST = {
    "keepalive": ("Timeout, server 10.0.0.7 not responding.\r\n", "has not answered for 9 s"),
    "session ended": ("Connection to 10.0.0.7 closed by remote host.\r\n", "its ssh server ended the connection"),
    "reset": ("client_loop: send disconnect: Broken pipe\r\n", "the connection broke"),
    "shared connection gone": ("", "ended without a word; run it again when ssh pi@raspberrypi.local works"),
}


@pytest.mark.parametrize("case", UNREACHED)
def test_what_keeps_ssh_from_the_device_says_what_to_do(case):
    said, expected = UNREACHED[case]
    error = ssh_error(PI, said, started=False, what="uname")
    assert type(error) is DeviceUnavailable
    message = str(error)
    assert message.startswith("ssh://pi@raspberrypi.local: ")
    assert "\n" not in message
    assert [words for words in expected if words not in message] == []


@pytest.mark.parametrize("case", LOST)
def test_what_ends_a_connection_is_a_lost_link(case):
    said, expected = LOST[case]
    error = ssh_error(PI, said, started=True, what="uname")
    assert type(error) is LinkLost
    assert expected in str(error)
    assert str(error).endswith("(while uname was running)")


def test_a_shared_connection_that_breaks_before_the_program_starts_is_a_lost_link():
    said = "mux_client_request_session: read from master failed: Broken pipe\r\n"
    error = ssh_error(PI, said, started=False, what="uname")
    assert type(error) is LinkLost
    assert str(error).endswith("(when uname was to be started)")


def test_a_programs_own_words_do_not_pass_for_those_of_ssh():
    error = ssh_error(PI, "cp: Permission denied (publickey).\n", started=True, what="cp")
    assert type(error) is LinkLost


def test_commands_to_run_have_the_port_and_the_configuration():
    error = ssh_error(BEHIND_A_PORT, UNREACHED["password"][0], started=False, what="uname")
    assert "ssh-copy-id -F '/etc/my config' -p 2222 pi@lab " in str(error)
