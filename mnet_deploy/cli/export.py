"""Write a model as .tflite, .onnx and .ort, checked before it is written.

Each file gets a sidecar FILE.json that says what it is, what it was made from and what was checked. A file that fails
its checks is kept under a .rejected name, and the exit status is 1.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mnet_deploy.cli.model_options import add_model_options, spec_overrides
from mnet_deploy.cli.values import member, whole_number
from mnet_deploy.errors import SpecError
from mnet_deploy.text_table import render_table

if TYPE_CHECKING:
    from mnet_deploy.pipeline.export import ExportResult
    from mnet_deploy.progress import Progress

HELP = "write a model as .tflite and .onnx, with checks and a sidecar"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "--weights",
        default="shipped",
        metavar="FILE|NAME",
        help="a .keras, .weights.h5, .h5 or .safetensors checkpoint; imagenet (downloaded by Keras); random; shipped "
        "(default: 43 kinds of groceries, with its labels)",
    )
    parser.add_argument("--format", default="tflite", metavar="LIST", help="of tflite,onnx,ort (default tflite)")
    parser.add_argument(
        "--precision", default="int8", metavar="LIST", help="of fp32,fp16,dynamic,int8,int16x8 (default int8)"
    )
    parser.add_argument(
        "--io",
        metavar="TYPE",
        help="of int8 files: int8, uint8 or float (default int8 for .tflite, float for .onnx)",
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class names, one a line; also writes a uint8 twin")
    parser.add_argument("--out", type=Path, default=Path("exports"), metavar="FOLDER", help="(default exports)")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument("--json", action="store_true", help="print the sidecars as JSON")
    add_model_options(parser)
    parser.add_argument("--no-top", action="store_true", help="leave out pooling, classifier and softmax")
    onnx = parser.add_argument_group("of .onnx and .ort files")
    onnx.add_argument("--layout", default="nchw", metavar="AXES", help="nchw (default) or nhwc: of the input")
    onnx.add_argument("--batch", default="1", metavar="SIZE", help="1 (default) or dynamic")
    onnx.add_argument(
        "--tune",
        default="portable",
        metavar="TARGET",
        help="int8: portable (default) or x86, for ONNX Runtime there",
    )
    images = parser.add_argument_group("calibration")
    images.add_argument("--calibration", type=Path, metavar="FOLDER", help="photos like those the model will see")
    images.add_argument(
        "--calibration-source",
        default="generated",
        metavar="NAME",
        help="without photos: generated (default), statistics (of the batch normalisations) or noise",
    )
    images.add_argument("--calibration-count", default="100", metavar="N", help="images to use (default 100)")
    images.add_argument("--effort", default="best", metavar="LEVEL", help="of int8: best (default) or fast")
    images.add_argument("--seed", default="0", metavar="N", help="of the choice of photos and of random weights")
    images.add_argument(
        "--normalization",
        default="-1..1",
        metavar="RULE",
        help="of pixels: 0..1, imagenet, or MEAN/STD in pixel units (default: --normalization=-1..1)",
    )


def run(args: argparse.Namespace) -> int:
    """Export and print what was written."""
    overrides = spec_overrides(args)
    if args.no_top:
        if "classes" in overrides:
            raise SpecError(f"--no-top leaves out the classifier. Received: --classes {args.classes} as well")
        overrides["classes"] = None
    from mnet_deploy.converters.options import BatchSize, Effort, FileFormat, IoType, Layout, Tune
    from mnet_deploy.cost import Precision
    from mnet_deploy.normalization import Normalization
    from mnet_deploy.pipeline.request import CalibrationFrom, ExportRequest
    from mnet_deploy.progress import Progress

    request = ExportRequest(
        weights=args.weights,
        spec_overrides=overrides,
        formats=tuple(member(FileFormat, name, "--format") for name in args.format.split(",")),
        precisions=tuple(member(Precision, name, "--precision") for name in args.precision.split(",")),
        io=None if args.io is None else member(IoType, args.io, "--io"),
        layout=member(Layout, args.layout, "--layout"),
        batch=member(BatchSize, args.batch, "--batch"),
        tune=member(Tune, args.tune, "--tune"),
        calibration=args.calibration,
        calibration_source=member(CalibrationFrom, args.calibration_source, "--calibration-source"),
        calibration_count=whole_number(args.calibration_count, "--calibration-count"),
        effort=member(Effort, args.effort, "--effort"),
        seed=whole_number(args.seed, "--seed"),
        normalization=Normalization.parse(args.normalization),
        labels=args.labels,
        out=args.out,
        force=args.force,
    )
    progress = Progress()
    progress.stage("starting")
    from mnet_deploy.pipeline.export import export

    result = export(request, progress)
    if args.json:
        print(json.dumps([json.loads(artifact.to_json()) for _, artifact in result.artifacts], indent=2))
    elif result.artifacts:
        print(_table(result))
    _say_what_to_know(result, progress)
    return 1 if result.rejected else 0


def _table(result: "ExportResult") -> str:
    header = ("file", "bytes", "in/out", "ops", "cosine", "SQNR dB", "top-1 agreement")
    rows = []
    for path, artifact in result.artifacts:
        figures, judged = artifact.checks["fidelity"], artifact.checks["fidelity_judged"]
        shown = [
            f"{figures['cosine']:.4f}",
            "-" if figures["sqnr_db"] is None else f"{figures['sqnr_db']:.1f}",
            "-" if figures["top1_agreement"] is None else f"{figures['top1_agreement']:.1%}",
        ]
        ops = sum(artifact.op_histogram.values())
        rows.append((str(path), str(artifact.size_bytes), artifact.io, str(ops), *(shown if judged else "---")))
    return render_table(header, rows, align="<><>>>>")


def _say_what_to_know(result: "ExportResult", progress: "Progress") -> None:
    for reason in dict.fromkeys(reason for _, artifact in result.artifacts for reason in artifact.unfit_for_accuracy):
        progress.note(f"UNFIT FOR ACCURACY, good for size and latency: {reason}")
    if result.artifacts and all(artifact.checks["fidelity_judged"] for _, artifact in result.artifacts):
        first = result.artifacts[0][1]
        images = "calibration photos" if first.calibration["source"] == "folder" else "generated images, not photos"
        progress.note(f"figures: against the float model, on {first.checks['fidelity']['images']} {images}")
    _say_what_steps_gained(result, progress)
    for path, failures in result.rejected:
        progress.note(f"rejected, kept as {path}: {'; '.join(failures)}")


def _say_what_steps_gained(result: "ExportResult", progress: "Progress") -> None:
    records = (artifact.quantizer for _, artifact in result.artifacts if artifact.weights["trained"])
    report = next((record["report"] for record in records if record is not None and record["report"]), None)
    if report is None:
        return
    for step in report["steps"]:
        gained = step["loss_before"] - step["loss_after"]
        verdict = "" if step["kept"] else ": left out, it makes the images worse"
        if step["kept"] and abs(gained) <= step["noise"]:
            verdict = ": within the noise"
        progress.note(
            f"{step['name']}: {report['metric']} {step['loss_before']:.2g} -> {step['loss_after']:.2g} "
            f"(+-{step['noise']:.1g}, {step['images']} images){verdict}"
        )
