"""What a latency model says of models: how long each takes, within which interval, and what of it is which term."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnet_deploy.latency import LatencyModel, Prediction
from mnet_deploy.measurement.json_values import as_value
from mnet_deploy.spec import ModelSpec

# History: 1 = first.
PREDICTION_FORMAT = "mnet.latency-prediction/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedModel:
    """What is said of one model.

    Attributes:
        spec: of it.
        prediction: with its interval.
        parts: seconds of each term, which sum up to the prediction.
        extrapolated: whether no model of its family was measured.
    """

    spec: ModelSpec
    prediction: Prediction
    parts: Mapping[str, float]
    extrapolated: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "spec": self.spec.to_json(),
            **as_value(self.prediction),
            "parts_s": dict(self.parts),
            "extrapolated": self.extrapolated,
        }


def predict_models(model: LatencyModel, specs: Sequence[ModelSpec]) -> tuple[PredictedModel, ...]:
    """Return what the latency model says of each."""
    return tuple(
        PredictedModel(
            spec=spec,
            prediction=prediction,
            parts=model.parts(spec),
            extrapolated=spec.family not in model.families,
        )
        for spec, prediction in zip(specs, model.predict_many(specs), strict=True)
    )


def predictions_json(model: LatencyModel, predicted: Sequence[PredictedModel]) -> dict[str, Any]:
    """Return all of it as JSON values."""
    return {
        "format": PREDICTION_FORMAT,
        "setting": as_value(model.setting),
        "models": [one.to_json() for one in predicted],
    }
