"""What an exported file answered to generated images, kept beside it, and the same asked of a copy of it.

Random damage to a file often changes its answers without any error, and a copy may run elsewhere: another engine,
another processor, a delegate. Kernels legitimately round in different places, so the answers need not be equal. How
far they may be apart is measured when the goldens are made: the same file is run with two sets of kernels, and the
answers of both are kept.
"""

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.artifact import Artifact, TensorInfo, file_sha256, read_sidecar, sidecar_path
from mnet_deploy.errors import ResultFormatError, SpecError
from mnet_deploy.normalization import Normalization
from mnet_deploy.pipeline.golden_images import GoldenImages, Pixels, decode, generate
from mnet_deploy.pipeline.golden_tolerance import (
    OTHER_MACHINE_MARGIN,
    Distance,
    Moved,
    margin_of,
    rounding_step,
    tolerance_of,
    unit_of,
)
from mnet_deploy.runners import local
from mnet_deploy.runners.local import Inference

Infer = Callable[[Path, NDArray[Any]], Inference]

# History: 1 = first.
REPLAY_FORMAT = "mnet.golden-replay/1"
GOLDENS_SUFFIX = ".goldens.npz"

_OUTPUTS = ("outputs", "outputs_of_other_kernels")
_IN_INTEGERS = ("int8", "int16x8")
_RECORD = {"sha256", "input_sha256", "images", "engine", "tolerance", "unit"}  # what a replay needs of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Goldens:
    """Goldens that are to be written.

    Attributes:
        content: of the .npz.
        record: for the sidecar's `goldens`.
    """

    content: bytes = field(repr=False)
    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenReplay:
    """What a copy answers to the images of its goldens.

    Attributes:
        artifact: the sidecar.
        images: how many.
        engine: that ran the copy, with its version.
        same_file: whether the copy is byte for byte the file that was exported.
        same_engine: whether this engine, in this version and on this kind of processor, gave the golden answers.
        same_input: whether decoding, cropping and normalising gave the same input tensor.
        distance: of the answers from the nearer one of the two sets of golden answers.
        tolerance: what kernels may differ by, on the kind of processor that answered.
        step: what every single answer may be off by, all of them at once: rounding.
        unit: of all three.
        moved: how many of the answers are others than the nearer ones.
    """

    artifact: Artifact
    images: int
    engine: str
    same_file: bool
    same_engine: bool
    same_input: bool
    distance: Distance
    tolerance: Distance
    step: float
    unit: str
    moved: Moved

    @property
    def equal(self) -> bool:
        """Whether the answers are exactly those of one of the two sets of kernels."""
        return self.distance.largest == 0

    @property
    def altered(self) -> bool:
        """Whether the bytes were changed and the answers with them, by less than kernels differ, perhaps.

        What an engine computes in integers it always computes alike.
        """
        in_integers = self.artifact.precision in _IN_INTEGERS
        return in_integers and self.same_engine and not self.same_file and not self.equal

    @property
    def passed(self) -> bool:
        """Whether input and answers are those of the export, whatever the bytes of the file are."""
        return self.same_input and self.share <= 1 and not self.altered

    @property
    def share(self) -> float:
        """How much of what is allowed the answers take: 1 is just allowed, and no more than a step always is."""
        share = self.distance.share_of(self.tolerance)
        return min(share, 1.0) if self.distance.largest <= self.step else share

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "format": REPLAY_FORMAT,
            "file": self.artifact.file,
            "images": self.images,
            "engine": self.engine,
            "passed": self.passed,
            "equal": self.equal,
            "same_file": self.same_file,
            "same_engine": self.same_engine,
            "same_input": self.same_input,
            "distance": self.distance.to_json(),
            "tolerance": self.tolerance.to_json(),
            "unit": self.unit,
        }


def goldens_path(path: Path) -> Path:
    """Return where the goldens of an exported file lie."""
    return path.with_name(path.name + GOLDENS_SUFFIX)


def make_goldens(
    path: Path,
    artifact: Artifact,
    images: GoldenImages | None = None,
    *,
    usual: Inference | None = None,
    source: bytes | None = None,
) -> Goldens | None:
    """Run a checked file on generated images, with the engine's usual kernels and with others.

    Args:
        path: where the file lies now.
        artifact: its sidecar.
        images: for files of one model; made anew if None.
        usual: what it answers to `golden_input` with the usual kernels, where that is known already.
        source: of an .ort the .onnx that it was made from: an .ort itself has been optimised for good.

    Returns:
        None where the answers are no numbers.

    Raises:
        DeviceError: the engine is missing or crashed.
    """
    images = images or generate(artifact.spec)
    stored = golden_input(artifact.input, artifact.normalization, images.pixels)
    usual = usual or local.infer(path, stored)
    others = _other_kernels(path, stored, source)
    spread = Distance.between(usual.outputs, others.outputs)
    if not isfinite(spread.largest):
        return None
    content = _npz(images.pngs, stored, usual.outputs, others.outputs)
    record = {
        "file": goldens_path(Path(artifact.file)).name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "images": len(images.pngs),
        "seed": images.seed,
        "input_sha256": _digest(stored),
        "engine": _engine(usual),
        "unit": unit_of(artifact),
        "spread": spread.to_json(),
        "spread_between": _two_ways(usual),
        "margin": margin_of(artifact),
        "tolerance": tolerance_of(artifact, usual.outputs, spread).to_json(),
    }
    return Goldens(content=content, record=record)


def _other_kernels(path: Path, stored: NDArray[Any], source: bytes | None) -> Inference:
    with tempfile.TemporaryDirectory(prefix="mnet-") as folder:
        if source is not None:
            path = Path(folder, "source.onnx")
            path.write_bytes(source)
        return local.infer(path, stored, threads=2, xnnpack=False, optimizer=False)


def golden_input(tensor: TensorInfo, normalization: Normalization, pixels: Pixels) -> NDArray[Any]:
    """Return what a model whose input is `tensor` is given for golden images."""
    return tensor.store(normalization.apply(pixels))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGoldens:
    """The goldens of a copy of an exported file, as read.

    Attributes:
        path: the copy.
        artifact: its sidecar.
        images: how many.
        inputs: what the images give, [images, ...] in the file's own layout and element type.
        answers: golden ones, of the usual and of other kernels.
        record: the sidecar's.
    """

    path: Path
    artifact: Artifact
    images: int
    inputs: NDArray[Any] = field(repr=False)
    answers: tuple[NDArray[Any], ...] = field(repr=False)
    record: dict[str, Any]

    def compare(self, answered: Inference) -> GoldenReplay:
        """Return how far the answers to `inputs` are from the golden ones."""
        nearer = min(self.answers, key=lambda golden: Distance.between(golden, answered.outputs).mean)
        same_machine = answered.machine in (None, _machine(self.record["engine"]))
        return GoldenReplay(
            artifact=self.artifact,
            images=self.images,
            engine=_engine(answered),
            same_file=file_sha256(self.path) == self.artifact.sha256,
            same_engine=_engine(answered) == self.record["engine"],
            same_input=_digest(self.inputs) == self.record["input_sha256"],
            distance=Distance.between(nearer, answered.outputs),
            tolerance=Distance(**self.record["tolerance"]).times(1.0 if same_machine else OTHER_MACHINE_MARGIN),
            step=rounding_step(self.artifact, self.answers[0]),
            unit=self.record["unit"],
            moved=Moved.between(nearer, answered.outputs),
        )


def replay_goldens(path: Path, *, infer: Infer = local.infer) -> GoldenReplay:
    """Ask a copy of an exported file what its goldens answer.

    Args:
        path: the copy; sidecar and goldens lie beside it. It need not be the same bytes any more.
        infer: runs inputs of the model's own layout and element type through the file: here, with other kernels, or on
            another device.

    Raises:
        SpecError: the file, its sidecar or its goldens are not there.
        ResultFormatError: sidecar or goldens are damaged.
        DeviceError: the engine is missing, refused the file or crashed.
    """
    goldens = read_goldens(path)
    return goldens.compare(infer(path, goldens.inputs))


def read_goldens(path: Path) -> KeptGoldens:
    """Read what lies beside a copy of an exported file.

    Raises:
        SpecError: the file, its sidecar or its goldens are not there.
        ResultFormatError: sidecar or goldens are damaged.
    """
    sidecar = sidecar_path(path)
    for needed in (path, sidecar):
        if not needed.is_file():
            raise SpecError(f"{path}: expected an exported file with its sidecar. Received: no {needed.name} there")
    artifact = read_sidecar(sidecar)
    pngs, answers = _read(path, artifact)
    return KeptGoldens(
        path=path,
        artifact=artifact,
        images=len(pngs),
        inputs=golden_input(artifact.input, artifact.normalization, decode(artifact.spec, pngs)),
        answers=tuple(answers),
        record=artifact.goldens or {},
    )


def _read(path: Path, artifact: Artifact) -> tuple[list[bytes], list[NDArray[Any]]]:
    """Return the images and the golden answers of both sets of kernels."""
    goldens = goldens_path(path)
    if artifact.goldens is None or not goldens.is_file():
        lacking = f"no {goldens.name} there" if artifact.goldens is not None else "a sidecar without goldens"
        raise SpecError(f"{path}: expected an exported file with its goldens. Received: {lacking}. Export it again")
    if not _is_record(artifact.goldens):
        raise ResultFormatError(
            f"{path}: expected a sidecar that records goldens. Received: a damaged one. Export again"
        )
    if file_sha256(goldens) != artifact.goldens["sha256"]:
        raise ResultFormatError(f"{goldens} is not the file that the sidecar names (sha256 differs). Copy both again")
    try:
        with np.load(goldens, allow_pickle=False) as stored:
            pngs = [bytes(stored[f"image_{number}"]) for number in range(artifact.goldens["images"])]
            return pngs, [stored[name] for name in _OUTPUTS]
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ResultFormatError(f"{goldens}: expected golden answers. Received: {error!r}. Export again") from error


def _is_record(record: dict[str, Any]) -> bool:
    """Whether what a replay needs is there, with the types that an export writes."""
    tolerance = record.get("tolerance")
    if not record.keys() >= _RECORD or not isinstance(tolerance, dict) or set(tolerance) != {"largest", "mean"}:
        return False
    numbers = all(isinstance(value, int | float) for value in tolerance.values())
    return numbers and isinstance(record["images"], int) and record["images"] > 0


def _npz(pngs: Sequence[bytes], stored: NDArray[Any], *outputs: NDArray[Any]) -> bytes:
    """Return the same bytes for the same content: with NumPy's format, without the time of day."""
    arrays: dict[str, NDArray[Any]] = {
        **{f"image_{number}": np.frombuffer(png, np.uint8) for number, png in enumerate(pngs)},
        "input_sha256": np.array(_digest(stored)),
        **dict(zip(_OUTPUTS, outputs, strict=True)),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # not compressed: PNG is already
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), member.getvalue())
    return content.getvalue()


def _digest(stored: NDArray[Any]) -> str:
    return hashlib.sha256(stored.astype(stored.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def _engine(answered: Inference) -> str:
    machine = f" on {answered.machine}" if answered.machine else ""
    return f"{answered.engine} {answered.engine_version}{machine}"


def _machine(engine: str) -> str:
    """Return the kind of processor of an engine's description; empty where it names none."""
    return engine.partition(" on ")[2]


def _two_ways(usual: Inference) -> list[str]:
    other = "graph optimisation" if usual.engine == "onnxruntime" else "XNNPACK"
    return ["as usual, 1 thread", f"without {other}, 2 threads"]
