"""Measurements for people: a table, then everything that has to be said with the numbers."""

from collections.abc import Iterator, Sequence
from statistics import median

from mnet_deploy.measurement.core_groups import core_groups
from mnet_deploy.measurement.device_info import DeviceInfo
from mnet_deploy.measurement.device_rules import not_looked_at
from mnet_deploy.measurement.measurement import Measurement, Verdict
from mnet_deploy.measurement.phone_text import phone_sentences
from mnet_deploy.measurement.statistics import interval_width, percentile
from mnet_deploy.text_table import render_table
from mnet_deploy.units import format_bytes, format_seconds

HEADER = ("file", "engine", "delegate", "threads", "median", "±95%", "p90", "blocks", "init", "peak memory", "verdict")
ALIGN = "<<<>>>>>>><"
UNKNOWN = "-"


def run_text(measurements: Sequence[Measurement]) -> str:
    """Return a run as a table with its device above, and reasons, notes and deviations below, each a sentence."""
    if not measurements:
        return "Nothing was measured."
    devices = dict.fromkeys(device_text(one.device) for one in measurements)
    if len(measurements) == 1:
        table = render_table(HEADER, [_row(measurements[0])], align=ALIGN)
    else:
        rows = ((str(number), *_row(one)) for number, one in enumerate(measurements, 1))
        table = render_table(("#", *HEADER), rows, align=">" + ALIGN)
    return "\n".join([*devices, "", table, *remarks(measurements)])


def device_text(device: DeviceInfo) -> str:
    """Return what a device is, and that it is none if it is emulated."""
    groups = core_groups(device)
    kinds = f" ({', '.join(map(str, groups))})" if len(groups) > 1 else ""
    cores = f"{len(device.cores)} cores{kinds}" if device.cores else None
    memory = format_bytes(device.memory_bytes) if device.memory_bytes else None
    soc = device.soc if device.soc != device.model else None
    level = f" (API {device.android.sdk})" if device.android and device.android.sdk and device.android.release else ""
    system = f"{device.os}{level}" if device.os else None
    known = (device.model, soc, device.machine, cores, memory, system, device.kernel)
    line = f"{device.address}  {', '.join(text for text in known if text)}".rstrip()
    return f"{line}\n{emulated_text(device.emulated)}" if device.emulated else line


def emulated_text(emulator: str) -> str:
    """Return the label of every number from an emulated device."""
    return f"emulated by {emulator}: times say nothing of a real device"


def _row(one: Measurement) -> tuple[str, ...]:
    init_s = [block.init_s for block in one.blocks if block.init_s is not None]
    peak_bytes = [block.peak_rss_bytes for block in one.blocks if block.peak_rss_bytes is not None]
    width = interval_width(one.interval_s, one.median_s) if one.interval_s and one.median_s else None
    p90_s = percentile(one.latency_s or (), 0.90)
    return (
        one.file.file,
        f"{one.engine.name} {one.engine.version or ''}".rstrip(),
        one.engine.delegate or UNKNOWN,
        str(one.config.threads),
        format_seconds(one.median_s) if one.median_s is not None else UNKNOWN,
        f"{width:.1%}" if width is not None else UNKNOWN,
        format_seconds(p90_s) if p90_s is not None else UNKNOWN,
        str(len(one.block_medians_s)),
        format_seconds(median(init_s)) if init_s else UNKNOWN,
        format_bytes(max(peak_bytes)) if peak_bytes else UNKNOWN,
        str(one.verdict) + (" emulated" if one.device.emulated else ""),
    )


def remarks(measurements: Sequence[Measurement]) -> list[str]:
    """Return the lines under the table, with the numbers of the rows they are about unless that is all of them."""
    said: dict[str, list[str]] = {}
    for number, one in enumerate(measurements, 1):
        for text in dict.fromkeys(_sentences(one)):
            said.setdefault(text, []).append(str(number))
    texts = sorted(said, key=_is_no_reason)  # what holds for all beside the reasons comes after them
    lines = [text if len(said[text]) == len(measurements) else f"{', '.join(said[text])}: {text}" for text in texts]
    if any(one.verdict is Verdict.INVALID for one in measurements):
        lines.append("An INVALID median is not a result: do not quote it.")
    return ["", *lines] if lines else []


def _is_no_reason(text: str) -> bool:
    return not text.startswith(tuple(Verdict))


def _sentences(one: Measurement) -> Iterator[str]:
    yield from (f"{reason.verdict}: {reason.text}" for reason in one.reasons)
    yield from (f"note: {note}" for note in one.file.notes)
    if deviations := one.protocol.deviations():
        listed = ", ".join(f"{_option(name)} {_value(name, value)}" for name, value in deviations.items())
        yield f"deviations from the default protocol: {listed}"
    yield from phone_sentences(one)
    if unseen := not_looked_at(one):
        yield f"not looked at: {', '.join(unseen)} (the device does not say)"


def _option(name: str) -> str:
    """Return how the command line calls a field of the protocol."""
    return "--" + name.removesuffix("_s").removesuffix("_c").replace("_", "-")


def _value(name: str, value: float | bool | None) -> str:
    if value is None:
        return "not asked for"
    if isinstance(value, bool):
        return ("off", "on")[value]
    return f"{value:g}s" if name.endswith("_s") else f"{value:g}"
