"""From a request to what is measured: every file with every engine, delegate and number of threads that fit."""

from collections.abc import Sequence

from mnet_deploy.errors import DeviceUnavailable, SpecError
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL, RunConfig, delegates_of
from mnet_deploy.pipeline.bench_files import BenchFile
from mnet_deploy.pipeline.bench_request import BenchRequest
from mnet_deploy.pipeline.device_runtime import DeviceRuntime
from mnet_deploy.runners.timed_block import Candidate


def plan(found: Sequence[BenchFile], request: BenchRequest, runtime: DeviceRuntime) -> tuple[Candidate, ...]:
    """Return what is to be measured, in the order of a round.

    Raises:
        SpecError: an engine or delegate is asked for that fits none of the files, or more than one way to sustain.
        DeviceUnavailable: an engine is not there.
    """
    candidates = tuple(
        Candidate(
            path=each.path,
            file=each.file,
            config=RunConfig(
                engine=engine,
                delegate=delegate,
                threads=threads,
                cpu_affinity=runtime.affinity(threads)
                if request.cpu_affinity is None
                else request.cpu_affinity or None,
                session_options=_options(each, engine, request),
            ),
        )
        for each in found
        for engine in _engines_of(each, request, runtime)
        for delegate in _delegates(engine, request)
        for threads in request.threads
    )
    engines = {candidate.config.engine for candidate in candidates}
    if request.layers and not runtime.profiles and BENCHMARK_MODEL not in engines:
        raise SpecError(
            "--layers is not for our C program, which has no profile of them: leave it out, or bring TensorFlow Lite's "
            "own tool (--benchmark-model)"
        )
    if request.sustain and len(candidates) > 1:
        raise SpecError(f"--sustain keeps one file running, one way. Received: {', '.join(map(str, candidates))}")
    idle = set(request.engines) - {candidate.config.engine for candidate in candidates}
    if idle:
        raise SpecError(f"--engine {', '.join(sorted(idle))}: runs none of the files; leave it out")
    used = {delegate for candidate in candidates for delegate in delegates_of(candidate.config.engine)}
    if unused := set(request.delegates) - used:
        raise SpecError(
            f"--delegate {', '.join(sorted(unused))} needs TensorFlow Lite's own tool: give --benchmark-model FILE"
        )
    if not {candidate.config.delegate for candidate in candidates} & set(request.delegates):
        raise SpecError(f"--delegate {', '.join(request.delegates)} is of .tflite files. Received: none; leave it out")
    return candidates


def _options(each: BenchFile, engine: str, request: BenchRequest) -> tuple[str, ...]:
    if engine == "onnxruntime":
        return each.session_options
    return request.tool.flags if engine == BENCHMARK_MODEL and request.tool else ()


def _delegates(engine: str, request: BenchRequest) -> tuple[str, ...]:
    if engine == "onnxruntime":
        return ("default",)
    return tuple(delegate for delegate in request.delegates if delegate in delegates_of(engine))


def _engines_of(each: BenchFile, request: BenchRequest, runtime: DeviceRuntime) -> tuple[str, ...]:
    wanted = tuple(name for name in each.engines if name in request.engines) if request.engines else each.engines
    if request.engines and not wanted:
        raise SpecError(
            f"{each.path.name} runs on {' or '.join(each.engines)}. Received: --engine {','.join(request.engines)}"
        )
    usable = tuple(name for name in wanted if name in runtime.engines)
    if request.engines and (missing := [name for name in wanted if name not in usable]):
        raise DeviceUnavailable(runtime.missing(missing[0]))
    if not usable:
        raise DeviceUnavailable(runtime.missing(each.engines[0]))
    if request.engines:
        return usable
    # Who brings the tool wants its numbers.
    return (BENCHMARK_MODEL,) if BENCHMARK_MODEL in usable else usable[:1]
