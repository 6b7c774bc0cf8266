"""How close a converted file's answers are to those of the model it was made from."""

from dataclasses import asdict, dataclass
from math import isfinite, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet_deploy.cost import Precision

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """A comparison of outputs over a set of images.

    Attributes:
        images: how many were compared.
        cosine: mean over the images of the cosine between the two outputs.
        sqnr_db: energy of the reference over the energy of the difference, over all images; None where one of the two
            is zero: equal outputs, or a reference that is zero throughout.
        max_abs_error: largest difference of a single output.
        top1_agreement: share of images with the same best class; None for a model without a classifier.
    """

    images: int
    cosine: float
    sqnr_db: float | None
    max_abs_error: float
    top1_agreement: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures; null for what is not finite, which JSON does not have."""
        return {key: value if value is None or isfinite(value) else None for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a precision must reach on real photos."""

    cosine: float
    top1_agreement: float
    max_abs_error: float | None = None


# A file below these is broken, not merely lossy. With the published ImageNet weights at alpha 0.25, the most fragile of
# the 16, TensorFlow's int8 on 100 photos has cosine 0.92 and agreement 0.82; calibrated on noise, 0.42 and 0.13.
_LOSSY = Requirement(cosine=0.8, top1_agreement=0.6)
REQUIREMENTS = {
    Precision.FP32: Requirement(cosine=0.9999, top1_agreement=0.99, max_abs_error=1e-3),
    Precision.FP16: Requirement(cosine=0.99, top1_agreement=0.9),
    Precision.DYNAMIC: _LOSSY,
    Precision.INT8: _LOSSY,
    Precision.INT16X8: _LOSSY,
}


def compare(reference: FloatArray, outputs: FloatArray, *, classifier: bool) -> Fidelity:
    """Compare real-valued outputs of shape [images, ...]."""
    expected = reference.reshape(len(reference), -1).astype(np.float64)
    actual = outputs.reshape(len(outputs), -1).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # outputs that are no numbers show in the figures
        error = actual - expected
        norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
        cosines = (expected * actual).sum(axis=1) / np.where(norms == 0, 1, norms)
        signal, noise = float((expected**2).sum()), float((error**2).sum())
    return Fidelity(
        images=len(expected),
        cosine=float(cosines.mean()),
        sqnr_db=sqnr_db(signal, noise),
        max_abs_error=float(np.abs(error).max()),
        top1_agreement=float((expected.argmax(axis=1) == actual.argmax(axis=1)).mean()) if classifier else None,
    )


def sqnr_db(signal: float, noise: float) -> float | None:
    """Return how much larger a signal's energy is than that of its error; None where one of the two is zero."""
    return 10 * (log10(signal) - log10(noise)) if signal and noise else None


def failures(fidelity: Fidelity, precision: Precision) -> tuple[str, ...]:
    """Return what a file misses of the requirement for its precision, a phrase each."""
    need = REQUIREMENTS[precision]
    found = []
    if not fidelity.cosine >= need.cosine:  # written so that NaN fails
        found.append(f"cosine {fidelity.cosine:.4f}, at least {need.cosine} needed")
    if fidelity.top1_agreement is not None and not fidelity.top1_agreement >= need.top1_agreement:
        found.append(f"top-1 agreement {fidelity.top1_agreement:.1%}, at least {need.top1_agreement:.0%} needed")
    if need.max_abs_error is not None and not fidelity.max_abs_error <= need.max_abs_error:
        found.append(f"largest error {fidelity.max_abs_error:.2g}, at most {need.max_abs_error:g} allowed")
    return tuple(found)
