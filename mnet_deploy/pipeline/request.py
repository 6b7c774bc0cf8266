"""What an export is asked to do, checked before any framework is imported."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnet_deploy.cost import Precision
from mnet_deploy.errors import SpecError
from mnet_deploy.normalization import Normalization


class Io(StrEnum):
    """Element type of the input and output of an int8 file."""

    INT8 = "int8"
    UINT8 = "uint8"
    FLOAT = "float"


class CalibrationFrom(StrEnum):
    """Where calibration images come from when no folder is given."""

    GENERATED = "generated"
    NOISE = "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """The options of `mnet export`.

    Attributes:
        weights: `shipped`, `random`, `imagenet` or a checkpoint file.
        spec_overrides: fields of `ModelSpec` that the user gave.
        precisions: one file each.
        io: element type of the int8 file's input and output; the other precisions take and give floats.
        calibration: folder with photos; None for images from `calibration_source`.
        calibration_source: used without a folder.
        calibration_count: how many images.
        seed: for the choice of photos, generated images, random weights.
        normalization: from pixels to the model's input.
        labels: label file; None for none.
        out: folder to write to.
        force: whether existing files may be replaced.
    """

    weights: str
    spec_overrides: dict[str, Any] = field(default_factory=dict)
    precisions: tuple[Precision, ...] = (Precision.INT8,)
    io: Io = Io.INT8
    calibration: Path | None = None
    calibration_source: CalibrationFrom = CalibrationFrom.GENERATED
    calibration_count: int = 100
    seed: int = 0
    normalization: Normalization = field(default_factory=Normalization)
    labels: Path | None = None
    out: Path = Path("exports")
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            SpecError: no precision, or an integer interface for files that have none.
        """
        if not self.precisions or len(set(self.precisions)) != len(self.precisions):
            raise SpecError(f"--precision takes each of {', '.join(Precision)} at most once, at least one of them")
        if self.io is not Io.INT8 and Precision.INT8 not in self.precisions:
            raise SpecError(f"--io is for int8 files. Received: {self.io} with {', '.join(self.precisions)}")
