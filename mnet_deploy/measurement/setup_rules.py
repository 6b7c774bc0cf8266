"""Rules about what was measured: is it what was asked for, and does it fit the device?"""

from mnet_deploy.measurement.device_info import NATIVE_RUNNER, OFFICIAL_TOOL, X86_MACHINES
from mnet_deploy.measurement.engine_packages import ENGINE_PACKAGES
from mnet_deploy.measurement.measurement import Measurement
from mnet_deploy.measurement.run_config import Protocol

# With less of the graph in the delegate, its name says little about the number.
DELEGATED_SHARE = 0.5

# Of unknown kernels, by what timed.
_REMEDIES = {
    OFFICIAL_TOOL: "ask for one (--delegate), which it then has to show",
    NATIVE_RUNNER: "measure with benchmark_model, the official tool, which does",
}
_USUAL_REMEDY = "use the version that mnet device setup installs"

LESS_IS_WEAKER = ("warmup_count", "warmup_s", "block_s", "min_count", "min_blocks")
MORE_IS_WEAKER = ("max_interval", "max_start_temperature_c")


def other_engine(measurement: Measurement) -> str | None:
    """Find engines, threads and cores that are not those asked for: the number would stand under a wrong name."""
    config, engine = measurement.config, measurement.engine
    asked: dict[str, tuple[object, object]] = {
        "The engine": (_name_of(config.engine), engine.name),
        "The number of threads": (config.threads, engine.threads),
    }
    if config.cpu_affinity is not None:
        asked["The list of cores"] = (sorted(config.cpu_affinity), sorted(engine.affinity or ()))
    for what, (wanted, found) in asked.items():
        if wanted != found:
            return f"{what} was {found} instead of {wanted}, which was asked for; look at how the device is set up."
    return None


def _name_of(engine: str) -> str:
    """Return how an engine calls itself: by its package, or as it is asked for where it comes in none."""
    package = ENGINE_PACKAGES.get(engine)
    return package.package if package else engine


def delegate_unasked(measurement: Measurement) -> str | None:
    """Find delegates that are not the one asked for: the number would stand under a wrong name."""
    asked, used = measurement.config.delegate, measurement.engine.delegate
    if asked == "default" or used in (asked, None):
        return None
    if asked == "none":
        return f"Asked to leave the delegate out, the engine used {used}; measure with --delegate default."
    return f"Asked for the delegate {asked}, the engine used {used}; measure with --delegate {used}, or another tool."


def delegate_fallback(measurement: Measurement) -> str | None:
    """Find delegates that did not take the graph, which no engine says.

    tflite-runtime's XNNPACK takes no int8 graphs, and LiteRT leaves it out where it cannot read the number of
    processors; both then compute with their own kernels, several times slower and with other answers.
    """
    engine, asked = measurement.engine, measurement.config.delegate
    if asked == "none" or measurement.config.engine == "onnxruntime":
        return None
    if asked == "default" and (engine.delegate == "none" or engine.delegated_nodes == 0):
        return (
            f"The engine ({engine.name}) fell back to its own kernels without a word: XNNPACK did not take this "
            "file; if that is what is meant, say so with --delegate none."
        )
    if engine.nodes and engine.delegated_nodes is not None and engine.delegated_nodes < DELEGATED_SHARE * engine.nodes:
        return (
            f"{'XNNPACK' if engine.delegate in ('xnnpack', None) else engine.delegate} took {engine.delegated_nodes} "
            f"of {engine.nodes} nodes of the graph, {engine.name} computed the others with its own kernels; see with "
            "mnet inspect which ops the file has."
        )
    return None


def delegate_unknown(measurement: Measurement) -> str | None:
    """Find engines that do not show which of their kernels computed, which makes a difference of several times."""
    engine = measurement.engine
    if engine.delegate is not None or delegate_fallback(measurement):
        return None
    return (
        f"Which kernels computed is not known: {engine.name} {engine.version or ''}".rstrip()
        + f" does not show what its delegate took; {_REMEDIES.get(engine.runner or '', _USUAL_REMEDY)}."
    )


def too_many_threads(measurement: Measurement) -> str | None:
    affinity = measurement.engine.affinity
    cores = len(affinity if affinity is not None else measurement.device.cores)
    if not cores or measurement.config.threads <= cores:
        return None
    return (
        f"The {measurement.config.threads} threads share {cores} cores and wait for each other; use {cores} or fewer."
    )


def other_target(measurement: Measurement) -> str | None:
    tune, machine = measurement.file.tune, measurement.engine.machine or measurement.device.machine
    if tune != "x86" or machine is None or machine in X86_MACHINES:
        return None
    return f"The file is arranged for x86 and ran on {machine}; export it with --tune portable."


def weaker_protocol(measurement: Measurement) -> str | None:
    """Find protocols that ask for less than the default one, which is what VALID stands for."""
    protocol, default = measurement.protocol, Protocol()
    weaker = [
        f"{name} {getattr(protocol, name):g} instead of {getattr(default, name):g}"
        for names, sign in ((LESS_IS_WEAKER, 1), (MORE_IS_WEAKER, -1))
        for name in names
        if getattr(protocol, name) is not None and sign * getattr(protocol, name) < sign * getattr(default, name)
    ]
    if not weaker:
        return None
    return (
        f"The protocol asked for less than the default one ({', '.join(weaker)}); measure again without these options."
    )
