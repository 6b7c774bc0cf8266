"""Fit a latency model on a device: measure the five models, or more, and write what they teach."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnet_deploy.errors import SpecError
from mnet_deploy.latency import LatencyModel
from mnet_deploy.latency.fit import FIVE_MODELS, fit
from mnet_deploy.latency.model_file import write_model
from mnet_deploy.output_folder import OutputFolder
from mnet_deploy.pipeline.latency_points import PointsRequest, measure_points
from mnet_deploy.progress import Progress
from mnet_deploy.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """A fitted model.

    Attributes:
        model: with its back-test.
        warnings: what the user should know of the device.
    """

    model: LatencyModel
    warnings: tuple[str, ...] = ()


def fit_on_device(
    request: PointsRequest, also: Sequence[ModelSpec], out: Path, progress: Progress, *, force: bool
) -> FitResult:
    """Measure the five models and others, fit, and write the model.

    Args:
        request: how they are measured.
        also: models besides the five.
        out: file of the model.
        progress: shows what is being done.
        force: whether a file that exists may be replaced.

    Raises:
        SpecError: a model is given twice, or the file cannot be written; both before anything is measured.
        DeviceError: the device cannot be used, or a measurement is INVALID.
    """
    specs = (*FIVE_MODELS, *also)
    for index, spec in enumerate(specs):
        if spec in specs[:index]:
            five = ", ".join(one.name for one in FIVE_MODELS)
            raise SpecError(f"--also takes models besides {five}, each once. Received: {spec.name}")
    with OutputFolder(out.parent, stem=out.name, names={out.name: None}, force=force):
        pass  # that it cannot be written should not show after minutes
    measured = measure_points(request, specs, progress)
    model = fit(measured.points, measured.setting)
    write_model(out, model, force=force)
    return FitResult(model=model, warnings=measured.warnings)
