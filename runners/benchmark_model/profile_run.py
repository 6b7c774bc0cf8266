"""Where the time of a run goes, from the op profile of TensorFlow Lite's `benchmark_model`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mnet_deploy.errors import ResultFormatError
from mnet_deploy.runners.agent_events import AgentRefusal
from mnet_deploy.runners.benchmark_model.flags import BenchmarkFlags, Flavour
from mnet_deploy.runners.benchmark_model.profile import OpTable, ProfiledOp, run_profile
from mnet_deploy.runners.benchmark_model.text import parse_log
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool
from mnet_deploy.runners.benchmark_model.tool_run import UnknownFlags, flags_of, run_tool
from mnet_deploy.runners.device_events import Layers, Op
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.layer_times import TOOL_PROFILE
from mnet_deploy.runners.timed_block import Candidate
from mnet_deploy.runners.transports.transport import CommandResult

SOURCE = TOOL_PROFILE
RUNS = 50
LONGEST_S = 60.0
TIMEOUT_S = 300.0
PROFILED_THREADS = 1  # one thread's times add up
_DELEGATE = "Delegate"  # the end of the type of a node that a delegate computes, as in TfLiteXNNPackDelegate


def profile_layers(session: DeviceSession, candidate: Candidate, tool: BenchmarkTool) -> Layers:
    """Return the time of each op, in the order in which they run, and that of a call without the profiler.

    Args:
        session: with the device.
        candidate: with the engine `benchmark_model`; it runs with one thread, whatever it was timed with.
        tool: that profiles.

    Raises:
        AgentRefusal: of the kind `layers_unavailable`: this tool has no such profile.
        CommandFailed: the tool refused the file or crashed.
        DeviceError: the device or the link failed.
    """
    config = replace(candidate.config, threads=PROFILED_THREADS)
    what = f"{candidate.file.file} on {session.transport.address.label}"
    if tool.flavour is not Flavour.CLASSIC:
        raise _unavailable(f"{what}: LiteRT's benchmark_model ({tool.flavour}) does not print the time of each op")
    flags = replace(
        flags_of(config, session.push(candidate.path)), min_count=RUNS, min_s=0, max_s=LONGEST_S, profile=True
    )

    def run(flags: BenchmarkFlags) -> CommandResult:
        return run_tool(session, tool, flags, affinity=config.cpu_affinity, what=what, timeout_s=TIMEOUT_S)

    try:
        profiled = run(flags)
    except UnknownFlags as unknown:
        raise _unavailable(str(unknown)) from unknown
    try:
        ops = tuple(_ops(run_profile(profiled.stdout)))
        plain = run(replace(flags, profile=False))
        measured = parse_log(plain.stdout, plain.stderr).measured
    except ResultFormatError as error:
        raise _unavailable(f"{what}: {error}", profiled) from error
    total_s = measured.mean_s if measured.median_s is None else measured.median_s
    return Layers(source=SOURCE, total_s=total_s, ops=ops)


def _ops(tables: Sequence[OpTable]) -> Iterator[Op]:
    """Yield the ops of the graph; where a table of what delegates do follows, that stands for their nodes."""
    inside = [op for table in tables if table.in_delegate for op in table.ops]
    outside = [op for table in tables if not table.in_delegate for op in table.ops]
    if not inside:
        yield from map(_op, outside)
        return
    first = next((index for index, op in enumerate(outside) if op.op.endswith(_DELEGATE)), len(outside))
    yield from map(_op, outside[:first])
    yield from map(_op, inside)
    yield from (_op(op) for op in outside[first:] if not op.op.endswith(_DELEGATE))


def _op(op: ProfiledOp) -> Op:
    """Return an op with the time of all its calls in one run; what the tool prints is that of one call."""
    return Op(name=op.name, op=op.op, mean_s=op.mean_s * op.calls, count=op.calls)


def _unavailable(message: str, result: CommandResult | None = None) -> AgentRefusal:
    return AgentRefusal(
        message,
        kind="layers_unavailable",
        command=() if result is None else result.argv,
        return_code=0 if result is None else result.return_code,
        output="",
    )
