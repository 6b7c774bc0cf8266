"""Hold a latency model against models that it was not fitted on, measured on its device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnet_deploy.converters.options import FileFormat
from mnet_deploy.errors import SpecError
from mnet_deploy.latency import LatencyModel, Point, Prediction, Setting
from mnet_deploy.latency.prediction_errors import Errors
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.measurement.json_values import as_value
from mnet_deploy.pipeline.latency_points import MeasuredPoints, PointsRequest, measure_points
from mnet_deploy.progress import Progress
from mnet_deploy.spec import ModelSpec

# History: 1 = first.
CHECK_FORMAT = "mnet.latency-check/1"
DEFAULT_COUNT = 5
# Between the models of a fit, in both directions; the first ones that it was not fitted on are taken.
_SPREAD = (
    (0.75, 192),
    (0.5, 224),
    (0.75, 128),
    (1.0, 160),
    (0.25, 192),
    (0.5, 128),
    (1.0, 192),
    (0.75, 224),
    (0.25, 160),
    (0.75, 160),
    (0.5, 192),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCheck:
    """What was predicted, and what was measured.

    Attributes:
        model: that predicted.
        measured: on its device, under its conditions.
        predictions: of the same models, in their order.
        max_error: that counts as good, as a fraction.
    """

    model: LatencyModel
    measured: MeasuredPoints
    predictions: tuple[Prediction, ...]
    max_error: float

    @property
    def errors(self) -> Errors:
        """Of the predictions."""
        return Errors(
            predicted_s=tuple(one.latency_s for one in self.predictions),
            measured_s=tuple(point.latency_s for point in self.measured.points),
        )

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's; None where there is no order to compare."""
        errors = self.errors
        orders = (errors.predicted_s, errors.measured_s)
        return errors.rank_correlation if min(len(set(values)) for values in orders) > 1 else None

    @property
    def covered(self) -> int:
        """How many of the measured latencies lie in their interval."""
        pairs = zip(self.predictions, self.measured.points, strict=True)
        return sum(one.low_s <= point.latency_s <= one.high_s for one, point in pairs)

    @property
    def passed(self) -> bool:
        """Whether no error is larger than allowed."""
        return self.errors.worst <= self.max_error

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        errors = self.errors
        return {
            "format": CHECK_FORMAT,
            "setting": as_value(self.model.setting),
            "models": [
                _row(point, prediction, error)
                for point, prediction, error in zip(
                    self.measured.points, self.predictions, errors.relative.tolist(), strict=True
                )
            ],
            "mean_error": errors.mape,
            "largest_error": errors.worst,
            "rank_correlation": self.rank_correlation,
            "covered": self.covered,
            "max_error": self.max_error,
            "passed": self.passed,
        }


def check_on_device(
    model: LatencyModel, request: PointsRequest, specs: Sequence[ModelSpec], max_error: float, progress: Progress
) -> DeviceCheck:
    """Measure models that the latency model has not seen, and compare.

    Args:
        model: to check.
        request: as of `request_for`.
        specs: what to measure; empty for `DEFAULT_COUNT` of the grid.
        max_error: that counts as good, as a fraction.
        progress: shows what is being done.

    Raises:
        SpecError: a spec is one of the model's points or given twice, or the device, the engine or its version, the
            threads, the delegate or the clock differ.
        DeviceError: the device cannot be used, or a measurement is INVALID.
    """
    chosen = tuple(specs) or unseen_models(model)
    _require_unseen(model, chosen)
    measured = measure_points(request, chosen, progress)
    model.require_same(measured.setting)
    return DeviceCheck(model=model, measured=measured, predictions=model.predict_many(chosen), max_error=max_error)


def engine_and_format(setting: Setting) -> tuple[str, FileFormat]:
    """Return the engine that measures for a setting, and what it runs.

    Raises:
        SpecError: it is none that this toolkit measures with.
    """
    if setting.engine not in ENGINE_PACKAGES:
        raise SpecError(
            f"a model can be checked on a device if its engine is one of {', '.join(ENGINE_PACKAGES)}. "
            f"Received: {setting.engine}. Fit one with mnet latency fit"
        )
    return setting.engine, FileFormat.ONNX if setting.engine == "onnxruntime" else FileFormat.TFLITE


def unseen_models(model: LatencyModel) -> tuple[ModelSpec, ...]:
    """Return models of the grid that the latency model was not fitted on."""
    seen = {point.spec for point in model.points}
    grid = (ModelSpec(alpha=alpha, resolution_px=size) for alpha, size in _SPREAD)
    return tuple(spec for spec in grid if spec not in seen)[:DEFAULT_COUNT]


def _require_unseen(model: LatencyModel, specs: Sequence[ModelSpec]) -> None:
    if not specs:
        raise SpecError(
            "the model was fitted on all models that are measured by default. Received: no other; name some"
        )
    for index, spec in enumerate(specs):
        if spec in specs[:index]:
            raise SpecError(f"each model is measured once. Received: {spec.name} twice")
        if any(spec == point.spec for point in model.points):
            raise SpecError(
                f"a check takes models that the model was not fitted on. Received: {spec.name}; leave it out"
            )


def _row(point: Point, prediction: Prediction, error: float) -> dict[str, Any]:
    return {
        "spec": point.spec.to_json(),
        "predicted": as_value(prediction),
        "measured_s": point.latency_s,
        "error": error,
        "doubts": list(point.doubts),
    }
