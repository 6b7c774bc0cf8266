"""What the PAD ops of symmetric padding cost: 1.0-224 with symmetric padding against Keras' padding, random weights.

Usage: padding_cost.py [BLOCKS]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PRECISIONS = ("fp32", "int8")
KERNELS = {"XNNPACK": (), "no XNNPACK": ("--no-xnnpack",)}


def export(padding: str, folder: Path) -> Path:
    """Write 1.0-224 with one of the padding rules; return its folder."""
    out = folder / padding
    command = [str(Path(sys.executable).with_name("mnet")), "export", "--weights", "random", "--padding", padding]
    subprocess.run([*command, "--precision", ",".join(PRECISIONS), "--out", str(out)], check=True, capture_output=True)
    return out


def main() -> None:
    blocks = sys.argv[1] if len(sys.argv) > 1 else "10"
    with tempfile.TemporaryDirectory(prefix="mnet-padding-") as folder:
        symmetric, keras = (export(padding, Path(folder)) for padding in ("symmetric", "keras"))
        print(f"{'':20}{'symmetric':>12}{'keras':>12}{'ratio':>9}")
        for precision in PRECISIONS:
            files = [str(out / f"mobilenet_v1_1.0_224_{precision}.tflite") for out in (symmetric, keras)]
            for name, options in KERNELS.items():
                command = [sys.executable, str(HERE / "latency_pair.py"), *files, blocks, *options]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                ours, theirs = (median(block_medians_s) for block_medians_s in json.loads(done.stdout))
                ratio = ours / theirs
                print(f"{precision + ', ' + name:20}{ours * 1e3:9.2f} ms{theirs * 1e3:9.2f} ms   x {ratio:.3f}")


if __name__ == "__main__":
    main()
