"""Record what the fast tests replay: sessions with the stand-in Raspberry Pi. Run it with `make transcripts`.

    python device_tests/record_transcripts.py FOLDER

The stand-in's times mean nothing, but a quiet machine repeats them well enough for a VALID verdict, from which the
tests start; it tries a few times until it gets one. What a test changes, it changes by itself in the recorded lines.
"""

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this folder is not installed: it is imported as `device_tests` from the repository

from device_tests.emulated_pi.emulated_pi import EmulatedPi
from mnet_deploy.measurement.measurement import Verdict
from mnet_deploy.measurement.run_config import Protocol
from mnet_deploy.pipeline.bench import bench_on
from mnet_deploy.pipeline.bench_files import read_bench_file
from mnet_deploy.pipeline.bench_request import BenchRequest
from mnet_deploy.progress import Progress
from mnet_deploy.runners.setup.device_setup import SetupRequest, set_up
from mnet_deploy.runners.transports.address import DeviceAddress
from mnet_deploy.runners.transports.recording_transport import RecordingTransport
from mnet_deploy.runners.transports.ssh_transport import SshTransport

ATTEMPTS = 20
MODEL = ("--weights", "random", "--alpha", "0.25", "--resolution", "32", "--classes", "10", "--effort", "fast")
# More blocks than needed: a test may make one of them another one, and the rest still agree.
PROTOCOL = Protocol(min_blocks=8, time_limit_s=240.0)


def main() -> int:
    """Record every transcript into the folder given."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name, EmulatedPi("pi4") as pi:
        model = exported(Path(name))
        print("setting up the stand-in", file=sys.stderr)
        with reached(pi) as transport:
            set_up(transport, SetupRequest(engines=("litert",), online=False), Progress())
        record_valid(pi, model, (1,), folder / "bench.jsonl")
        record_valid(pi, model, (1, 2), folder / "bench_threads.jsonl")
    return 0


def exported(folder: Path) -> Path:
    """Return a small int8 model."""
    mnet = (sys.executable, "-c", "import sys; from mnet_deploy.cli import main; sys.exit(main())")
    subprocess.run([*mnet, "export", *MODEL, "--out", str(folder)], check=True, capture_output=True, timeout=250)
    return next(folder.glob("*_int8.tflite"))


@contextmanager
def reached(pi):
    with SshTransport(DeviceAddress(scheme="ssh", host="pi4"), config=pi.ssh_config) as transport:
        yield transport


def record_valid(pi, model: Path, threads: tuple[int, ...], path: Path) -> None:
    """Measure until the verdict is VALID, and keep what was said then."""
    request = BenchRequest(
        files=(model,), device=DeviceAddress(scheme="ssh", host="pi4"), threads=threads, protocol=PROTOCOL
    )
    for attempt in range(1, ATTEMPTS + 1):
        with reached(pi) as inner, RecordingTransport(inner, path) as transport:
            result = bench_on(transport, [read_bench_file(model)], request, Progress())
        if all(each.verdict is Verdict.VALID for each in result.measurements):
            print(f"{path}: VALID at attempt {attempt}", file=sys.stderr)
            return
        for reason in (reason for each in result.measurements for reason in each.reasons):
            print(f"attempt {attempt}: {reason.text}", file=sys.stderr)
    raise SystemExit(f"{path}: not VALID in {ATTEMPTS} attempts; is anything else running here?")


if __name__ == "__main__":
    raise SystemExit(main())
