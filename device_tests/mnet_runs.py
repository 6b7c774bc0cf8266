"""Running `mnet` against a device as a user does, and looking at what it leaves on both sides."""

import errno
import json
import os
import pty
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

MNET = "import sys; from mnet_deploy.cli import main; sys.exit(main())"
# As little as there can be of everything: what is measured is not what these tests are about.
SHORT_BLOCKS = ("--block", "0.1s", "--warmup", "0s", "--warmup-count", "1", "--min-count", "2")
ONE_BLOCK = (*SHORT_BLOCKS, "--min-blocks", "1", "--max-blocks", "1")
NO_END = (*SHORT_BLOCKS, "--min-blocks", "1000", "--time-limit", "1h", "--block-timeout", "60s")
AGENT_RUNS = " time --model "
POLL_S = 0.1
TIMEOUT_S = 180  # of whatever a test waits for: an emulated program on a busy machine takes its time
CLEARED = re.compile(r"\r?\x1b\[K")


def until(condition, what):
    """Wait until a condition holds and return what it gave."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no sign of {what} within {TIMEOUT_S} s")
        time.sleep(POLL_S)
    return found


def make_ready(pi):
    """Let a stand-in look as if `mnet device setup` had made its environment, which it has in another place."""
    pi.path("/opt/bench/mnet-ready.json").write_text("{}")
    done = pi.ssh("mkdir -p .local/share/mnet-deploy && ln -sfn /opt/bench .local/share/mnet-deploy/venv")
    assert done.returncode == 0, done.stderr


class Run:
    """`mnet` as a process of its own, whose messages go to a terminal: so it tells its stages, too."""

    def __init__(self, folder, *words, ssh_config=None, env=None):
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self._screen, screen = pty.openpty()
        os.set_blocking(self._screen, False)
        self._said = b""
        self.control_folders = set()
        with (folder / "stdout").open("wb") as stdout:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MNET, *map(str, words)],
                cwd=folder,
                env=environment(ssh_config) | (env or {}) | {"TMPDIR": str(self.temporary)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=screen,
            )
        os.close(screen)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait(timeout=TIMEOUT_S)
        self.said()
        os.close(self._screen)
        self._screen = None

    def said(self):
        """Return everything on the screen so far, as lines."""
        with suppress(BlockingIOError):
            while chunk := self._read():
                self._said += chunk
        text = CLEARED.sub("\n", self._said.decode())
        return [line for line in text.splitlines() if line]

    def _read(self):
        if self._screen is None:
            return b""
        try:
            return os.read(self._screen, 1 << 16)
        except OSError as error:
            if error.errno == errno.EIO:  # the other end is closed
                return b""
            raise

    def until_round(self, number, pi):
        """Wait until an inference of that round runs."""

        def there():
            self._require_life(f"round {number}")
            self._note_control_folders(pi)
            started = any(line.startswith(f"round {number},") for line in self.said())
            return started and any(AGENT_RUNS in command for command in pi.processes())

        until(there, f"round {number}")
        assert self.control_folders, connected_to(pi)

    def _require_life(self, what):
        if self.process.poll() is not None:
            raise AssertionError(f"mnet ended before {what}: {self.said()[-3:]}")

    def _note_control_folders(self, pi):
        for command in connected_to(pi):
            if found := re.search(r"(?:ControlPath=|ssh: )(/\S+)/s\b", command):
                self.control_folders.add(Path(found[1]))

    def end(self):
        """Wait for its end and return the exit status."""

        def ended():
            self.said()  # a full screen would stop it
            return self.process.poll() is not None

        until(ended, "the end of mnet")
        return self.process.returncode

    @property
    def messages(self):
        """What stays on the screen for the user."""
        return [line.removeprefix("mnet: ") for line in self.said() if line.startswith("mnet: ")]

    @property
    def stdout(self):
        return (self.folder / "stdout").read_text()

    def stored(self):
        """Return the stored runs."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("mnet-results/*.json"))]

    def leftovers(self, pi):
        """Return what it should have removed from this machine and has not."""
        files = [*self.temporary.rglob("*"), *self.folder.glob("mnet-results/**/.*.*")]
        folders = [folder for folder in self.control_folders if folder.exists()]
        return [*map(str, files), *map(str, folders), *(connected_to(pi) if hasattr(pi, "ip") else ())]


def environment(ssh_config):
    own = {} if ssh_config is None else {"MNET_SSH_CONFIG": str(ssh_config)}
    return {name: value for name, value in os.environ.items() if name != "MNET_SSH_CONFIG"} | own


def connected_to(pi):
    """Return the command lines of the programs of this machine that are connected to a stand-in."""
    command = ("ss", "--no-header", "--tcp", "--numeric", "--processes", "dst", pi.ip)
    listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    commands = []
    for pid in sorted(set(re.findall(r"pid=(\d+)", listed))):
        with suppress(OSError):  # it has ended
            commands.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip())
    return commands
