"""What there is to choose from: a grid of models times the ways to run them, with what each costs and is good for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mnet_deploy.cost import CostEstimate, estimate
from mnet_deploy.errors import SpecError
from mnet_deploy.latency import Setting
from mnet_deploy.pipeline.file_size import predicted_size_bytes
from mnet_deploy.selection import Candidate, Latency
from mnet_deploy.selection.published_accuracy import Release, published_accuracy
from mnet_deploy.spec import Family, ModelSpec

_OWN_DELEGATES = (None, "xnnpack", "cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to run models on a device, whose latency can be predicted.

    Attributes:
        name: of the file that predicts it.
        setting: device, engine, threads and precision.
        families: that the prediction was fitted on.
        predict: returns the latency of each model.
    """

    name: str
    setting: Setting
    families: frozenset[Family]
    predict: Callable[[Sequence[ModelSpec]], Sequence[Latency]]

    @property
    def engine_text(self) -> str:
        """The engine, with the delegate where it is not the one that the engine takes by itself."""
        engine, delegate = self.setting.engine, self.setting.delegate
        if delegate in _OWN_DELEGATES:
            return engine
        return f"{engine} ({'no delegate' if delegate == 'none' else delegate})"

    @property
    def file_format(self) -> str:
        """Of the files that the engine runs."""
        return "onnx" if self.setting.engine == "onnxruntime" else "tflite"


def spec_grid(
    families: Iterable[Family], alphas: Iterable[float], resolutions_px: Iterable[int], classes: int
) -> tuple[ModelSpec, ...]:
    """Return each combination once."""
    return tuple(
        ModelSpec(family=family, alpha=alpha, resolution_px=size, classes=classes)
        for family in dict.fromkeys(families)
        for alpha in dict.fromkeys(alphas)
        for size in dict.fromkeys(resolutions_px)
    )


def require_one_device(ways: Sequence[Way]) -> None:
    """Refuse what cannot be chosen between: two devices, or two predictions for the same.

    Raises:
        SpecError: either of them.
    """
    first = ways[0]
    for way in ways[1:]:
        ours, theirs = first.setting.device, way.setting.device
        if ours != theirs:
            raise SpecError(
                f"all models of latency are of one device. Received: {first.name} of {ours} and {way.name} of "
                f"{theirs}. Choose for one device at a time"
            )
    seen: dict[tuple[str, int | None, str], Way] = {}
    for way in ways:
        key = (way.engine_text, way.setting.threads, way.setting.precision)
        other = seen.setdefault(key, way)
        if other is not way:
            raise SpecError(
                f"one model of latency for each engine, number of threads and precision. Received: {other.name} and "
                f"{way.name}, both for {way.engine_text}, {way.setting.threads} threads, {key[2]}. Leave one out"
            )


def candidates_of(ways: Sequence[Way], specs: Sequence[ModelSpec], release: Release) -> tuple[Candidate, ...]:
    """Return every model with every way to run it."""
    costs = [estimate(spec) for spec in specs]
    return tuple(
        _candidate(way, spec, cost, latency, release)
        for way in ways
        for spec, cost, latency in zip(specs, costs, way.predict(specs), strict=True)
    )


def _candidate(way: Way, spec: ModelSpec, cost: CostEstimate, latency: Latency, release: Release) -> Candidate:
    precision = way.setting.precision
    return Candidate(
        spec=spec,
        precision=str(precision),
        engine=way.engine_text,
        threads=way.setting.threads,
        latency=latency,
        size_bytes=predicted_size_bytes(cost, way.file_format, precision),
        memory_bytes=cost.peak_bytes(precision),
        accuracy=published_accuracy(spec, precision, release),
        extrapolated=spec.family not in way.families,
    )
