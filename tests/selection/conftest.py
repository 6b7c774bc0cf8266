"""Candidates made up by a seed: the whole grid of five families, sixteen sizes, and several ways to run each."""

import random

import pytest

from mnet_deploy.selection import Candidate, Latency
from mnet_deploy.selection.published_accuracy import published_accuracy
from mnet_deploy.spec import Family, ModelSpec

SIZES = [(alpha, px) for alpha in (1.0, 0.75, 0.5, 0.25) for px in (224, 192, 160, 128)]
WAYS = [("int8", "litert", 1), ("int8", "litert", 2), ("fp32", "litert", 1), ("fp32", "onnxruntime", 2)]


@pytest.fixture(scope="session")
def grid():
    """Return 320 candidates; about one in six counts as measured."""
    chance = random.Random(7)
    return tuple(
        made_up(chance, ModelSpec(family=family, alpha=alpha, resolution_px=px), *way)
        for family in Family
        for alpha, px in SIZES
        for way in WAYS
    )


def made_up(chance, spec, precision, engine, threads):
    latency_s = 0.09 * spec.alpha**1.6 * (spec.resolution_px / 224) ** 2 * chance.uniform(0.6, 1.4) / threads
    measured = chance.random() < 0.15
    width = 0.01 if measured else chance.uniform(0.02, 0.25)
    size_bytes = round(4.3e6 * spec.alpha**1.7 * (4 if precision == "fp32" else 1) * chance.choice([1, 1, 1.1]))
    return Candidate(
        spec=spec,
        precision=precision,
        engine=engine,
        threads=threads,
        latency=Latency(
            latency_s=latency_s, low_s=latency_s * (1 - width), high_s=latency_s * (1 + width), measured=measured
        ),
        size_bytes=size_bytes,
        memory_bytes=round(6e6 * spec.alpha * (spec.resolution_px / 224) ** 2),
        accuracy=published_accuracy(spec, precision),
    )
