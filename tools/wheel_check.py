"""Build sdist and wheel into dist/, install the wheel in a clean environment elsewhere, and use what was installed.

Editable installs hide a forgotten package or data file; this does not. It leaves the files that it tested in dist/.
"""

import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROBE = ROOT / "tools" / "probe_install.py"
FOLDERS = {
    "mnet_deploy": "mnet_deploy",
    "converters": "mnet_deploy/converters",
    "runners": "mnet_deploy/runners",
    "models": "mnet_deploy/models",
}
ALL_EXTRAS = "export,tensorflow,onnx,report,fit"


def main() -> int:
    wheel = _build(ROOT / "dist")
    _compare_with_checkout(wheel)
    with tempfile.TemporaryDirectory(prefix="mnet-wheel-check-") as folder:
        elsewhere = Path(folder)
        venv.create(elsewhere / "env", with_pip=True)
        commands = elsewhere / "env" / "bin"

        def call(*command: str | Path) -> None:
            subprocess.run([str(part) for part in command], check=True, cwd=elsewhere, stdout=sys.stdout)

        print("core install:", flush=True)
        call(commands / "python", "-m", "pip", "install", "--quiet", wheel)
        call(commands / "python", "-I", PROBE, "--core")
        call(commands / "mnet", "--version")
        _silently(commands / "mnet", "--help")
        _silently(commands / "mnet", "cost")
        print(f"with [{ALL_EXTRAS}]:", flush=True)
        call(commands / "python", "-m", "pip", "install", "--quiet", f"{wheel}[{ALL_EXTRAS}]")
        call(commands / "python", "-I", PROBE)
    print(f"ok: {wheel.relative_to(ROOT)} and the sdist beside it")
    return 0


def _silently(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def _build(dist: Path) -> Path:
    """Build the sdist, and the wheel from the sdist, so that a stale build/ folder cannot leak into it."""
    shutil.rmtree(dist, ignore_errors=True)
    _silently(sys.executable, "-m", "build", "--outdir", dist, ROOT)
    (wheel,) = dist.glob("*.whl")
    return wheel


def _compare_with_checkout(wheel: Path) -> None:
    """Exit if the wheel lacks a file of the four folders, or holds one that is not in them."""
    expected = {
        str(Path(target) / path.relative_to(ROOT / source))
        for source, target in FOLDERS.items()
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    if expected != found:
        sys.exit(f"wheel-check: lost: {sorted(expected - found)}; not in the checkout: {sorted(found - expected)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"wheel-check: {' '.join(map(str, error.cmd))} ended with {error.returncode}")
