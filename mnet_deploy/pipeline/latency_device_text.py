"""What `mnet latency fit`, `predict` and `check --device` print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnet_deploy.latency import LatencyModel, Point, Setting
from mnet_deploy.pipeline.latency_pick_text import interval_text
from mnet_deploy.pipeline.latency_predict import PredictedModel
from mnet_deploy.spec import Family, ModelSpec
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_seconds

if TYPE_CHECKING:  # measuring needs more than predicting does
    from mnet_deploy.pipeline.latency_device_check import DeviceCheck

_SHARES_AT = ModelSpec(alpha=0.5, resolution_px=160)  # the middle of the family
_FEW = 6
_NANOSECONDS_UP_TO_S = 1e-6
_EXTRAPOLATED, _DOUBTED = " ?", " !"


def model_text(model: LatencyModel) -> str:
    """Return a fitted model: its points with the back-test, and what each term costs."""
    errors = model.back_test.errors
    rows = [
        (
            spec_text(point.spec),
            format_seconds(point.latency_s) + (_DOUBTED if point.doubts else ""),
            format_seconds(point.latency_s * (1 + error)),
            _signed(error),
        )
        for point, error in zip(model.points, errors, strict=True)
    ]
    back_test = (
        f"Back-test, each predicted from the others: mean error {_percent(model.back_test.mean_error)}, largest "
        f"{_percent(model.back_test.max_error)}, {model.back_test.covered} of {len(errors)} in their 90 % interval."
    )
    if len(errors) <= _FEW:
        back_test += "\nWith so few models, each is predicted from further away than any that lies between them."
    parts = [
        setting_text(model.setting),
        render_table(("model", "measured", "without it", "error"), rows, align="<>>>"),
        back_test,
        _terms(model),
        *_doubts(model.points),
    ]
    return "\n\n".join(parts)


def predictions_text(model: LatencyModel, predicted: Sequence[PredictedModel]) -> str:
    """Return predictions with their intervals, and what of each is which term."""
    rows = [
        (
            spec_text(one.spec),
            format_seconds(one.prediction.latency_s) + (_EXTRAPOLATED if one.extrapolated else ""),
            interval_text(one.prediction.low_s, one.prediction.high_s),
        )
        for one in predicted
    ]
    shares = [
        (spec_text(one.spec), *(f"{seconds / one.prediction.latency_s:.0%}" for seconds in one.parts.values()))
        for one in predicted
    ]
    header = ("of it", *(name.removesuffix("_bytes") for name in predicted[0].parts))
    parts = [
        setting_text(model.setting),
        render_table(("model", "latency", "90 % interval"), rows, align="<>>"),
        render_table(header, shares, align="<" + ">" * (len(header) - 1)),
    ]
    if any(one.extrapolated for one in predicted):
        parts.append("?: no model of its family was measured: its interval may be too narrow. Measure one of them.")
    return "\n\n".join(parts)


def check_text(check: "DeviceCheck") -> str:
    """Return predicted beside measured, and the verdict."""
    rows = [
        (
            spec_text(point.spec),
            format_seconds(prediction.latency_s) + ("" if point.spec.family in check.model.families else _EXTRAPOLATED),
            interval_text(prediction.low_s, prediction.high_s),
            format_seconds(point.latency_s) + (_DOUBTED if point.doubts else ""),
            _signed(error),
        )
        for point, prediction, error in zip(
            check.measured.points, check.predictions, check.errors.relative.tolist(), strict=True
        )
    ]
    parts = [
        setting_text(check.model.setting),
        render_table(("model", "predicted", "90 % interval", "measured", "error"), rows, align="<>>>>"),
        _summary(check),
        *_doubts(check.measured.points),
    ]
    return "\n\n".join(parts)


def spec_text(spec: ModelSpec) -> str:
    """Return a model's name; the family of most of them goes without saying."""
    size = f"{spec.alpha_text}-{spec.resolution_px}"
    return size if spec.family is Family.MOBILENET_V1 else f"{spec.family} {size}"


def setting_text(setting: Setting) -> str:
    """Return what a model is for in a line; what is unknown is left out."""
    threads = None if setting.threads is None else f"{setting.threads} thread{'s' * (setting.threads > 1)}"
    clock = None if setting.clock_hz is None else f"up to {setting.clock_hz / 1e6:.0f} MHz"
    engine = setting.engine if setting.engine_version is None else f"{setting.engine} {setting.engine_version}"
    said = (setting.device, engine, setting.delegate, str(setting.precision), threads, clock)
    return ", ".join(text for text in said if text)


def _terms(model: LatencyModel) -> str:
    parts = model.parts(_SHARES_AT)
    total_s = sum(parts.values())
    rows = [
        (name, _cost_text(cost), f"{parts[name] / total_s:.0%}")
        for name, cost in zip(parts, model.coefficients, strict=True)
    ]
    return render_table(("term", "each", f"of {spec_text(_SHARES_AT)}"), rows, align="<>>")


def _cost_text(cost_s: float) -> str:
    return format_seconds(cost_s) if cost_s >= _NANOSECONDS_UP_TO_S else f"{cost_s * 1e9:.3g} ns"


def _summary(check: "DeviceCheck") -> str:
    errors, count = check.errors, len(check.predictions)
    rank = "" if check.rank_correlation is None else f", rank correlation {check.rank_correlation:.3f}"
    beyond = sum(abs(error) > check.max_error for error in errors.relative.tolist())
    limit = f"{check.max_error * 100:.4g} %"
    verdict = f"GOOD: all within {limit}." if check.passed else f"NOT GOOD: {beyond} of {count} beyond {limit}."
    return (
        f"Mean error {_percent(errors.mape)}, largest {_percent(errors.worst)}{rank}, {check.covered} of {count} in "
        f"their 90 % interval.\n{verdict}"
    )


def _doubts(points: Sequence[Point]) -> list[str]:
    """Return each reason once, with the models that it is about."""
    models: dict[str, list[str]] = {}
    for point in points:
        for doubt in point.doubts:
            models.setdefault(doubt, []).append(spec_text(point.spec))
    lines = [f"- {', '.join(names)}: {doubt}" for doubt, names in models.items()]
    return ["\n".join(("!: SUSPECT, to be read with its reasons:", *lines))] if lines else []


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _signed(share: float) -> str:
    return f"{share * 100:+.1f} %"
