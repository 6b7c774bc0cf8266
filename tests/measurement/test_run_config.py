"""What a run can be asked for."""

import pytest

from mnet_deploy.errors import SpecError
from mnet_deploy.measurement.run_config import (
    BENCHMARK_MODEL,
    DELEGATES,
    ENGINES,
    RUN_ENGINES,
    TOOL_DELEGATES,
    RunConfig,
    delegates_of,
)


def test_the_tool_is_an_engine_that_comes_in_no_package():
    assert set(ENGINES).isdisjoint({BENCHMARK_MODEL})
    assert set(RUN_ENGINES) == {*ENGINES, BENCHMARK_MODEL}


@pytest.mark.parametrize("delegate", TOOL_DELEGATES)
@pytest.mark.parametrize("engine", RUN_ENGINES)
def test_delegates_are_those_of_the_engine(engine, delegate):
    if delegate in DELEGATES or engine == BENCHMARK_MODEL:
        assert RunConfig(engine=engine, delegate=delegate).delegate in delegates_of(engine)
    else:
        with pytest.raises(
            SpecError, match=rf"a delegate of {engine} is one of default, none\. Received: '{delegate}'"
        ):
            RunConfig(engine=engine, delegate=delegate)


@pytest.mark.parametrize(
    "options",
    [{"engine": "tensorrt"}, {"engine": ""}, {"engine": BENCHMARK_MODEL, "delegate": "hexagon"}, {"threads": 0}],
)
def test_what_no_engine_can_be_told_is_refused(options):
    with pytest.raises(SpecError, match="Received: "):
        RunConfig(**{"engine": "litert", **options})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (RunConfig(engine="litert"), "litert, 1 thread"),
        (RunConfig(engine="litert", delegate="none", threads=2), "litert, no delegate, 2 threads"),
        (
            RunConfig(engine=BENCHMARK_MODEL, delegate="gpu", threads=4, cpu_affinity=(4, 5)),
            "benchmark_model, gpu delegate, 4 threads, cores 4,5",
        ),
    ],
)
def test_a_configuration_says_what_tells_it_from_others(config, expected):
    assert str(config) == expected
