"""An exported file and its sidecar: what it is, what it was made from, and what was checked."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.normalization import Normalization
from mnet_deploy.spec import ModelSpec

# History: 1 = first.
SIDECAR_FORMAT = "mnet.artifact/1"
SIDECAR_SUFFIX = ".json"
_HALF_UP = np.float32(0.501)  # a thousandth of a step more than half, which float32 may lose


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """An input or output of an exported model.

    Attributes:
        name: in the file.
        shape: with the batch first.
        layout: what the axes are: `NHWC`, `NCHW` or `NC`.
        dtype: NumPy's name, e.g. `int8`.
        scale: of a quantised tensor: real = (stored - zero_point) * scale; None for a float one.
        zero_point: None for a float tensor.
    """

    name: str
    shape: tuple[int, ...]
    layout: str
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    def store(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Turn real values into what the tensor holds, rounded and clipped when quantised.

        Half to even in int8 and int16. In uint8, the type of pixels, half up: 8-bit pixels normalised to -1..1 all lie
        in the middle between two values, and become themselves so.

        Args:
            values: [images, height, width, channels] or [images, channels].
        """
        if self.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        if self.scale is None or self.zero_point is None:
            return values.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        stored = np.empty(values.shape, self.dtype)
        for index, value in enumerate(values):  # one image at a time: the steps between take more memory
            steps = value / np.float32(self.scale)
            rounded = np.floor(steps + _HALF_UP) if self.dtype == "uint8" else np.rint(steps)
            stored[index] = (rounded + self.zero_point).clip(limits.min, limits.max)
        return stored

    def real(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Turn what the tensor holds into real values: [images, height, width, channels] or [images, channels]."""
        if self.layout == "NCHW":
            stored = stored.transpose(0, 2, 3, 1)
        if self.scale is None or self.zero_point is None:
            return stored.astype(np.float32, copy=False)
        return (stored.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What the sidecar of an exported file says.

    Attributes:
        file: name of the file beside the sidecar.
        file_format: `tflite`, `onnx` or `ort`.
        precision: `fp32`, `fp16`, `dynamic`, `int8` or `int16x8`.
        io: element type of input and output: `float`, `int8`, `uint8` or `int16`.
        sha256: of the file.
        size_bytes: of the file.
        spec: of the model.
        normalization: from 8-bit pixels to the model's real input.
        preprocessing: how photos are resized and cropped.
        input: of the file.
        output: of the file.
        op_histogram: how often each kind of op occurs.
        labels: of the classes, in order; None if not given.
        weights: `origin`, `path`, `sha256`, `trained` and `notes` of what was exported.
        calibration: `source`, `count`, `seed`, `digest` and `skipped` of the images.
        checks: figures of the comparison with the model it was made from, and what was required.
        unfit_for_accuracy: why its answers are not to be trusted, a sentence each; empty if nothing speaks against it.
        tool_versions: of everything that had a part in it.
        tune: what an .onnx is arranged for: `portable` or `x86`; None for a .tflite.
        runtime: engine, session options and call that the toolkit runs and times the file with; None for a .tflite,
            which has no options beside the number of threads.
        quantizer: of an int8 file, `effort` and `report`: what each step of the quantiser gained (None where no image
            was run for it); None for other files.
        mobile: of an .ort, `usability` (ONNX Runtime's verdict for each accelerator) and `required_operators` (name of
            the file for a reduced build); None for other files.
        derived_from: sha256 of the artefact that it was derived from; None if converted from the model itself.
        goldens: what the file beside it with images and answers is, and how far other kernels may be from them (see
            `pipeline.goldens`); None without.
    """

    file: str
    file_format: str
    precision: str
    io: str
    sha256: str
    size_bytes: int
    spec: ModelSpec
    normalization: Normalization
    preprocessing: dict[str, Any]
    input: TensorInfo
    output: TensorInfo
    op_histogram: dict[str, int]
    labels: tuple[str, ...] | None
    weights: dict[str, Any]
    calibration: dict[str, Any]
    checks: dict[str, Any]
    unfit_for_accuracy: tuple[str, ...]
    tool_versions: dict[str, str]
    tune: str | None = None
    runtime: dict[str, Any] | None = None
    quantizer: dict[str, Any] | None = None
    mobile: dict[str, Any] | None = None
    derived_from: str | None = None
    goldens: dict[str, Any] | None = None
    format: str = field(default=SIDECAR_FORMAT)

    def to_json(self) -> str:
        """Return the sidecar's text."""
        fields = asdict(self)
        fields |= {"spec": self.spec.to_json(), "normalization": self.normalization.to_json()}
        return json.dumps({"format": fields.pop("format"), **fields}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> Self:
        """Build from a sidecar's text.

        Raises:
            ResultFormatError: it is no sidecar, or one of a format that this version does not read.
        """
        try:
            fields = json.loads(text)
            if fields["format"] != SIDECAR_FORMAT:
                raise ResultFormatError(
                    f"{origin}: expected the format {SIDECAR_FORMAT}. Received: {fields['format']}. Export the model "
                    "again with this version"
                )
            fields["spec"] = ModelSpec.from_json(fields["spec"])
            fields["normalization"] = Normalization.from_json(fields["normalization"])
            for name in ("input", "output"):
                fields[name] = TensorInfo(**{**fields[name], "shape": tuple(fields[name]["shape"])})
            fields["labels"] = None if fields["labels"] is None else tuple(fields["labels"])
            fields["unfit_for_accuracy"] = tuple(fields["unfit_for_accuracy"])
            for name, keys in _RECORDS.items():
                _require_keys(name, fields[name], keys)
            return cls(**fields)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ResultFormatError(
                f"{origin}: expected a sidecar of `mnet export`. Received: {error!r}. Export the model again"
            ) from error


# What readers of a sidecar rely on, of the fields that are free-form records.
_RECORDS = {
    "weights": {"origin", "path", "sha256", "trained", "notes"},
    "calibration": {"source", "count", "seed", "digest", "skipped"},
}


def _require_keys(name: str, record: object, keys: set[str]) -> None:
    missing = sorted(keys - set(record)) if isinstance(record, dict) else sorted(keys)
    if missing:
        raise KeyError(f"{name} without {', '.join(missing)}")


def sidecar_path(path: Path) -> Path:
    """Return where the sidecar of an exported file lies."""
    return path.with_name(path.name + SIDECAR_SUFFIX)


def read_sidecar(sidecar: Path) -> Artifact:
    """Read a sidecar, whether or not its file is still there.

    Raises:
        ResultFormatError: it cannot be read, is damaged or of another version.
    """
    try:
        text = sidecar.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultFormatError(f"{sidecar}: expected a sidecar of `mnet export`. Received: {error}") from error
    return Artifact.from_json(text, origin=str(sidecar))


def read_artifact(path: Path) -> Artifact:
    """Read the sidecar of an exported file and check that the file is still the one it describes.

    Raises:
        SpecError: the file or its sidecar is not there, or the file was changed.
        ResultFormatError: the sidecar is damaged or of another version.
    """
    sidecar = sidecar_path(path)
    for needed in (path, sidecar):
        if not needed.is_file():
            raise SpecError(f"{path}: expected an exported file with its sidecar. Received: no {needed.name} there")
    artifact = read_sidecar(sidecar)
    actual = file_sha256(path)
    if actual != artifact.sha256:
        raise SpecError(
            f"{path} was changed after its export: its sidecar has sha256 {artifact.sha256[:12]}, the file has "
            f"{actual[:12]}. Export it again"
        )
    return artifact


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
