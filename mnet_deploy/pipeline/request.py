"""What an export is asked to do, checked before any framework is imported."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnet_deploy.converters.options import BatchSize, Effort, FileFormat, IoType, Layout, Tune
from mnet_deploy.cost import Precision
from mnet_deploy.errors import SpecError
from mnet_deploy.normalization import Normalization


class CalibrationFrom(StrEnum):
    """Where calibration images come from when no folder is given."""

    GENERATED = "generated"
    STATISTICS = "statistics"
    NOISE = "noise"


ONNX_PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)
_ONNX_DEFAULTS = (Layout.NCHW, BatchSize.ONE, Tune.PORTABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """The options of `mnet export`.

    Attributes:
        weights: `shipped`, `random`, `imagenet` or a checkpoint file.
        spec_overrides: fields of `ModelSpec` that the user gave.
        formats: one file each for every precision.
        precisions: one file each for every format.
        io: element type of the int8 files' input and output; None for int8 in a .tflite and float in an .onnx. The
            other precisions take and give floats.
        layout: of the input of an .onnx; a .tflite is always NHWC.
        batch: of an .onnx; a .tflite always takes one image.
        tune: of an int8 .onnx.
        calibration: folder with photos; None for images from `calibration_source`.
        calibration_source: used without a folder.
        effort: how much is tried for the accuracy of int8 files.
        calibration_count: how many images.
        seed: for the choice of photos, generated images, random weights.
        normalization: from pixels to the model's input.
        labels: label file; None for none.
        out: folder to write to.
        force: whether existing files may be replaced.
    """

    weights: str
    spec_overrides: dict[str, Any] = field(default_factory=dict)
    formats: tuple[FileFormat, ...] = (FileFormat.TFLITE,)
    precisions: tuple[Precision, ...] = (Precision.INT8,)
    io: IoType | None = None
    layout: Layout = Layout.NCHW
    batch: BatchSize = BatchSize.ONE
    tune: Tune = Tune.PORTABLE
    calibration: Path | None = None
    calibration_source: CalibrationFrom = CalibrationFrom.GENERATED
    calibration_count: int = 100
    effort: Effort = Effort.BEST
    seed: int = 0
    normalization: Normalization = field(default_factory=Normalization)
    labels: Path | None = None
    out: Path = Path("exports")
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            SpecError: options that no file of this export would follow.
        """
        _require_each_once("--precision", self.precisions, Precision)
        _require_each_once("--format", self.formats, FileFormat)
        if self.io is not None and Precision.INT8 not in self.precisions:
            raise SpecError(f"--io is for int8 files. Received: {self.io} with {', '.join(self.precisions)}")
        others = [precision for precision in self.precisions if precision not in ONNX_PRECISIONS]
        if others and self.formats != (FileFormat.TFLITE,):
            raise SpecError(f"an .onnx is {', '.join(ONNX_PRECISIONS)}. Received: --precision {others[0]}")
        if not self.onnx_formats and (self.layout, self.batch, self.tune) != _ONNX_DEFAULTS:
            raise SpecError(
                "--layout, --batch and --tune are for .onnx files. Received one of them without --format onnx"
            )
        if self.tune is not Tune.PORTABLE and Precision.INT8 not in self.precisions:
            raise SpecError(f"--tune is for int8 files. Received: {self.tune} with {', '.join(self.precisions)}")
        if FileFormat.ORT in self.formats and self.tune is Tune.X86:
            raise SpecError("an .ort is for phones, which have no x86 CPU. Received: --format ort with --tune x86")
        if FileFormat.ORT in self.formats and Precision.FP16 in self.precisions:
            raise SpecError("an .ort is fp32 or int8: ONNX Runtime would store float16 weights as float32 there")

    @property
    def onnx_formats(self) -> tuple[FileFormat, ...]:
        """Those that are written by way of an .onnx."""
        return tuple(chosen for chosen in self.formats if chosen is not FileFormat.TFLITE)


def _require_each_once(option: str, chosen: tuple[StrEnum, ...], known: type[StrEnum]) -> None:
    if not chosen or len(set(chosen)) != len(chosen):
        raise SpecError(f"{option} takes each of {', '.join(known)} at most once, at least one of them")
