"""Compare the toolkit with the least that does the same job, on this machine, in one run (`make bench-self`).

Prints medians, ratios and the goal beside them; it asserts nothing, because a busy machine is no defect.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from side_by_side import run_pairs

from mnet_deploy.units import format_bytes, format_seconds

HERE = Path(__file__).resolve().parent
MNET = str(Path(sys.executable).parent / "mnet")
START_ROUNDS_FACTOR = 3  # starting takes a tenth of a second: more rounds cost nothing
LATENCY_BLOCKS = 40


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", type=Path, help="folder of photos (default: 100 synthetic ones)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of exports (default: %(default)s)")
    args = parser.parse_args()
    print(f"{'':42}{'ours':>12}{'plain':>12}{'':>12}  goal")
    compare_start("--help", args.rounds)
    compare_start("cost", args.rounds)
    with tempfile.TemporaryDirectory(prefix="mnet-bench-self-") as folder:
        ours, plain = compare_export(Path(folder), args.calibration, args.rounds)
        compare_files(ours, plain)
    return 0


def row(what: str, ours: str, theirs: str, verdict: str, goal: str) -> None:
    print(f"{what:42}{ours:>12}{theirs:>12}{verdict:>12}  {goal}", flush=True)


def compare_start(argument: str, rounds: int) -> None:
    pairs = run_pairs([MNET, argument], [sys.executable, "-c", "pass"], rounds=rounds * START_ROUNDS_FACTOR)
    ours_s, theirs_s = pairs.wall_s
    row(
        f"mnet {argument}: wall, against python -c pass",
        format_seconds(ours_s),
        format_seconds(theirs_s),
        f"+{format_seconds(pairs.wall_difference_s)}",
        "at most +0.3 s",
    )


def compare_export(folder: Path, photos: Path | None, rounds: int) -> tuple[Path, Path]:
    """Export int8 1.0-224 with 100 photos both ways, ours as .tflite and .onnx together; return the two .tflite."""
    weights, made, plain = folder / "mobilenet.weights.h5", folder / "photos", folder / "plain.tflite"
    subprocess.run([sys.executable, HERE / "prepare_inputs.py", weights, made], check=True, stderr=subprocess.DEVNULL)
    source = str(photos or made)
    options = {"--format": "tflite,onnx", "--precision": "int8", "--alpha": "1.0", "--resolution": "224"}
    out = str(folder / "ours")
    ours = [MNET, "export", "--weights", str(weights), "--calibration", source, "--out", out, "--force"]
    script = [sys.executable, str(HERE / "plain_tflite_export.py"), str(weights), source, str(plain)]
    goals = {"fast": ("at most x 0.33", "at most x 0.50"), "best": ("at most x 1.50", "-")}
    for effort, (wall_goal, memory_goal) in goals.items():
        chosen = [*ours, "--effort", effort, *(text for option in options.items() for text in option)]
        pairs = run_pairs(chosen, script, rounds=rounds)
        ours_s, theirs_s = map(format_seconds, pairs.wall_s)
        row(f"int8 export, {effort}: wall", ours_s, theirs_s, f"x {pairs.wall_ratio:.2f}", wall_goal)
        ours_rss, theirs_rss = (format_bytes(round(size)) for size in pairs.peak_rss_bytes)
        row(f"int8 export, {effort}: peak memory", ours_rss, theirs_rss, f"x {pairs.peak_rss_ratio:.2f}", memory_goal)
    (written,) = (folder / "ours").glob("*_int8.tflite")
    return written, plain


def compare_files(ours: Path, plain: Path) -> None:
    done = subprocess.run(
        [sys.executable, HERE / "latency_pair.py", ours, plain, str(LATENCY_BLOCKS)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    ours_s, plain_s = json.loads(done.stdout)
    ratio = median(a / b for a, b in zip(ours_s, plain_s, strict=True))
    row(
        "int8 file: latency, one thread",
        format_seconds(median(ours_s)),
        format_seconds(median(plain_s)),
        f"x {ratio:.3f}",
        "at most x 1.010",
    )
    ours_bytes, plain_bytes = ours.stat().st_size, plain.stat().st_size
    difference = f"{ours_bytes - plain_bytes:+d} B"
    row("int8 file: size", format_bytes(ours_bytes), format_bytes(plain_bytes), difference, "not above")


if __name__ == "__main__":
    sys.exit(main())
