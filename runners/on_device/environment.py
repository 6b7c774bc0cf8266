"""The program that makes the environment of the agent on a device: one file, the standard library, Python 3.9 or later.

    python3 environment.py FOLDER '{"requirements": ["onnxruntime==1.31.1"], "wheels": true, "system_packages": false,
        "imports": {"onnxruntime": "onnxruntime"}, "marker": FILE, "timeout_s": 900}'

A virtual environment cannot be moved: its programs hold its path. So it is built where it stays. An older one is moved
aside first and comes back if anything fails; what is half built is removed; the marker that says it is whole is written
last, after each engine was loaded. A lock on the folder above keeps two of these apart, and what one that was killed
has left, the next one puts right. It stops when its stdin is closed (the link is gone), on SIGTERM, or when the time is
up.

With `wheels` it makes a folder for them, says which (`send`), and waits for the line `go` before it installs from
there; without, it installs from the package index. The folder is removed in any case.
Standard output is JSON Lines: `send`, `stage` with what is done now, then `end`, or `error` with kind and message.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

UNFINISHED = "mnet-unfinished"
POLL_S = 0.1
LAST_WORDS = 400  # characters of an error
PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "--no-cache-dir")
# Compiling all modules takes longer than installing them; Python compiles those that are used.
ONLY_WHEELS = ("--no-compile", "--only-binary=:all:", "--progress-bar=off")


class Failed(Exception):
    """It cannot be made; `kind` is `busy`, `foreign`, `venv`, `pip`, `import`, `time`, `stopped` or `system`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def emit(event: str, **fields: object) -> None:
    with suppress(OSError):  # nobody listens any more: that must not keep it from cleaning up
        print(json.dumps({"event": event, **fields}), flush=True)


class Runner:
    """Runs programs until they end, this one is to end, or the time is up."""

    def __init__(self, timeout_s: float) -> None:
        self._until = time.monotonic() + timeout_s
        self._go, self._stop = threading.Event(), threading.Event()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with suppress(OSError):
            while said := os.read(0, 4096):
                if b"go" in said:
                    self._go.set()
        self._stop.set()

    def wait_for_go(self) -> None:
        """Wait for the line that says that the wheels are there."""
        while not self._go.wait(POLL_S):
            self.check()

    def run(self, kind: str, command: list[str]) -> None:
        """Run a program that has to succeed."""
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
            try:
                while process.poll() is None:
                    self.check()
                    time.sleep(POLL_S)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            said.seek(0)
            if process.returncode:
                raise Failed(kind, last_words(said.read(), process.returncode))

    def check(self) -> None:
        """Raise if it is time to stop."""
        if self._stop.is_set():
            raise Failed("stopped", "it was stopped before its end")
        if time.monotonic() > self._until:
            raise Failed("time", "it did not end in time and was stopped")


def last_words(said: bytes, return_code: int) -> str:
    """Return the last line (of those that pip calls errors, if any) and the signal that killed the program."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    words = (errors or lines or ["it said nothing"])[-1][:LAST_WORDS]
    if return_code < 0:
        return f"killed by {signal.Signals(-return_code).name}: {words}"
    return words


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others out of a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed("busy", f"another setup is at work in {folder}") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def in_place(venv: Path, marker: str) -> Iterator[None]:
    """Give way for a new environment: it is there afterwards, or the older one is."""
    older = venv.with_name(f"{venv.name}.previous")
    settle(venv, older, ready=(venv / marker).is_file())
    if venv.exists():
        venv.rename(older)
    try:
        venv.mkdir()
        (venv / UNFINISHED).touch()
        yield
    except BaseException:
        shutil.rmtree(venv, ignore_errors=True)
        if older.exists():
            older.rename(venv)
        raise
    shutil.rmtree(older, ignore_errors=True)


def settle(venv: Path, older: Path, *, ready: bool) -> None:
    """Put right what a setup that was killed has left."""
    if venv.exists() and not ready and not (venv / UNFINISHED).exists() and any(venv.iterdir()):
        raise Failed("foreign", f"{venv} is there and was not made by mnet; move it away")
    if not ready:
        shutil.rmtree(venv, ignore_errors=True)
        if older.exists():
            older.rename(venv)
    shutil.rmtree(older, ignore_errors=True)


@contextmanager
def wheels_sent(folder: Path, runner: Runner, *, wanted: bool) -> Iterator[list[str]]:
    """Yield pip's options to install from wheels that are sent, none if they are not `wanted`."""
    for left in folder.glob("wheels.*"):
        shutil.rmtree(left, ignore_errors=True)  # of a setup that was killed
    if not wanted:
        yield []
        return
    wheels = tempfile.mkdtemp(prefix="wheels.", dir=folder)
    try:
        emit("send", folder=wheels)
        runner.wait_for_go()
        yield ["--no-index", "--find-links", wheels]
    finally:
        shutil.rmtree(wheels, ignore_errors=True)


def build(venv: Path, order: dict[str, Any], source: list[str], runner: Runner) -> None:
    # What pip unpacks lies here and not in /tmp: it goes with the rest, even if pip is killed.
    temporary = venv / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    python = str(venv / "bin" / "python")
    emit("stage", text="making the environment")
    runner.run(
        "venv", [sys.executable, "-m", "venv", *["--system-site-packages"] * order["system_packages"], str(venv)]
    )
    emit("stage", text=f"installing {', '.join(order['requirements'])}")
    # Where NumPy is the system's, pip would look for a wheel of it that does not exist.
    dependencies = ["--no-deps"] * order["system_packages"]
    runner.run("pip", [python, *PIP, *ONLY_WHEELS, *source, *dependencies, *order["requirements"]])
    for engine, module in order["imports"].items():
        emit("stage", text=f"loading {engine}")
        runner.run("import", [python, "-I", "-c", f"import numpy, {module}"])
    runner.check()
    shutil.rmtree(temporary)
    write_marker(venv, order)


def write_marker(venv: Path, order: dict[str, Any]) -> None:
    facts = {"format": "mnet.environment/1", "requirements": order["requirements"], "python": sys.version.split()[0]}
    part = venv / f"{order['marker']}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(venv / order["marker"])
    (venv / UNFINISHED).unlink()


def main() -> int:
    venv, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    base = venv.parent
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime reports to Microsoft from its import on
    try:
        runner = Runner(order["timeout_s"])
        with locked(base), wheels_sent(base, runner, wanted=order["wheels"]) as source, in_place(venv, order["marker"]):
            build(venv, order, source, runner)
        emit("end", path=str(venv / "bin" / "python"))
        return 0
    except Failed as error:
        emit("error", kind=error.kind, message=str(error))
    except OSError as error:
        emit("error", kind="system", message=f"{error.filename or venv}: {error.strerror}")
    finally:
        with suppress(OSError):
            base.rmdir()  # it is empty if nothing came of it
    return 1


if __name__ == "__main__":
    sys.exit(main())
