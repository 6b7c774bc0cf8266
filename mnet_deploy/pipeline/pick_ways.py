"""Models of latency as ways to run a model."""

from collections.abc import Sequence
from pathlib import Path

from mnet_deploy.latency import LatencyModel
from mnet_deploy.latency.model_file import read_model
from mnet_deploy.pipeline.pick_candidates import Way
from mnet_deploy.selection import Latency
from mnet_deploy.spec import ModelSpec


def read_ways(paths: Sequence[Path]) -> tuple[Way, ...]:
    """Read models of latency.

    Raises:
        SpecError: there is no file that can be read.
        ResultFormatError: a file is no model of latency.
    """
    return tuple(way_of(read_model(path), name=path.name) for path in paths)


def way_of(model: LatencyModel, *, name: str) -> Way:
    """Return what a model of latency is about.

    Args:
        model: of latency.
        name: of its file.
    """
    return Way(
        name=name,
        setting=model.setting,
        families=model.families,
        predict=lambda specs: _latencies(model, specs),
    )


def _latencies(model: LatencyModel, specs: Sequence[ModelSpec]) -> list[Latency]:
    return [
        Latency(latency_s=found.latency_s, low_s=found.low_s, high_s=found.high_s)
        for found in model.predict_many(specs)
    ]
