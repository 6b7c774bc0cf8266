"""Start `benchmark_model` on a device, and refuse whatever is no measurement of what was asked."""

from collections.abc import Sequence

from mnet_deploy.errors import CommandFailed, CommandTimeout, SpecError
from mnet_deploy.measurement.core_groups import affinity_mask
from mnet_deploy.measurement.run_config import RunConfig
from mnet_deploy.runners.benchmark_model.delegation import Delegate
from mnet_deploy.runners.benchmark_model.flags import BenchmarkFlags, flag_list
from mnet_deploy.runners.benchmark_model.text import unconsumed_flags
from mnet_deploy.runners.benchmark_model.tool import BenchmarkTool
from mnet_deploy.runners.benchmark_model.tool_errors import failure
from mnet_deploy.runners.device_session import DeviceSession
from mnet_deploy.runners.transports.transport import CommandResult

PROGRAM = "benchmark_model"
_DELEGATE_FLAGS = ("use_xnnpack", "use_gpu", "use_nnapi")
_FP16_FLAGS = ("gpu_precision_loss_allowed", "allow_fp16")  # of the classic tool, and of LiteRT's


class UnknownFlags(CommandFailed):
    """This version of the tool does not know all flags, and ran without them.

    Attributes:
        flags: those, as the tool joins them: with blanks.
    """

    def __init__(self, message: str, *, flags: str, result: CommandResult) -> None:
        super().__init__(message, command=result.argv, return_code=result.return_code, output=result.stderr)
        self.flags = flags


def flags_of(config: RunConfig, remote: str) -> BenchmarkFlags:
    """Return the flags that a configuration is about; how long it runs is still to be set.

    Args:
        config: of `benchmark_model`.
        remote: path of the model on the device.

    Raises:
        SpecError: the tool has no such flag or value.
    """
    others, gpu_fp16 = {}, True
    for option in config.session_options:
        name, found, value = option.partition("=")
        if not found or name.startswith("-"):
            raise SpecError(f"an option of benchmark_model is name=value, without dashes. Received: {option!r}")
        if name in _DELEGATE_FLAGS:
            raise SpecError(f"a delegate is proved from the log, and so has an option of its own. Received: {option!r}")
        if name in _FP16_FLAGS and config.delegate == Delegate.GPU:
            if value not in ("true", "false"):
                raise SpecError(f"{name} is true or false. Received: {option!r}")
            gpu_fp16 = value == "true"
        else:
            others[name] = value
    return BenchmarkFlags(
        graph=remote, delegate=Delegate(config.delegate), threads=config.threads, gpu_fp16=gpu_fp16, others=others
    )


def run_tool(
    session: DeviceSession,
    tool: BenchmarkTool,
    flags: BenchmarkFlags,
    *,
    affinity: Sequence[int] | None,
    what: str,
    timeout_s: float,
    too_long: str = "look what keeps the device busy",
) -> CommandResult:
    """Run the tool to its end; it and its libraries are copied once.

    Args:
        session: with the device.
        tool: that is run.
        flags: of it.
        affinity: numbers of the cores that it may use; None for all.
        what: is run, for messages.
        timeout_s: after which it is stopped.
        too_long: what the user can do then.

    Raises:
        CommandFailed: it failed; the message says why, and what to do.
        UnknownFlags: it ran otherwise than asked.
        CommandTimeout: it took too long.
        DeviceError: the device or the link failed.
        SpecError: this flavour of the tool cannot do it.
    """
    arguments = flag_list(flags, tool.flavour)
    program = session.push(tool.path, name=PROGRAM, executable=True)
    argv = [*_binding(affinity), *_with_libraries(session, tool), program, *arguments]
    try:
        result = session.run_program(argv, timeout_s=timeout_s)
    except CommandTimeout:
        raise CommandTimeout(
            f"{what}: benchmark_model did not end within {timeout_s:g} s and was stopped; {too_long}"
        ) from None
    if unknown := unconsumed_flags(result.stdout, result.stderr):
        raise UnknownFlags(
            f"{what}: this version of benchmark_model does not know {unknown} and ran without; take another version",
            flags=unknown,
            result=result,
        )
    if result.return_code != 0:
        raise failure(what, result, program)
    return result


def _binding(affinity: Sequence[int] | None) -> list[str]:
    """Return the prefix that binds to cores."""
    return [] if affinity is None else ["taskset", affinity_mask(affinity)]


def _with_libraries(session: DeviceSession, tool: BenchmarkTool) -> list[str]:
    for library in tool.companions:
        session.push(library.path, name=library.name)
    return ["env", f"LD_LIBRARY_PATH={session.folder}"] if tool.companions else []
