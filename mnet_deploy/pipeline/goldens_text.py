"""What is said of replayed goldens, here and on a device."""

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite

from mnet_deploy.measurement.text import device_text
from mnet_deploy.pipeline.device_goldens import DelegateReplay, DeviceReplay
from mnet_deploy.pipeline.golden_tolerance import Distance, Moved
from mnet_deploy.pipeline.goldens import GoldenReplay
from mnet_deploy.terminal import printable
from mnet_deploy.text_table import render_table

MOST_OUTPUTS_LISTED = 3
MOST_STEPS_LISTED = 6
_OTHER_FILE = "WARNING: the file is not the one that was exported, its sha256 differs: copy it again"


def replay_text(replay: GoldenReplay) -> str:
    """Return what is said of a replay on this machine."""
    rows = [("apart", *_figures(replay.distance)), ("allowed", *_figures(replay.tolerance))]
    unit = "" if replay.unit == "1" else f", in {replay.unit}"
    lines = [
        render_table(("", "largest", "mean"), rows, align="<>>"),
        f"{replay.images} golden images, {replay.engine}{unit}",
    ]
    return "\n".join((*lines, *_verdict(replay)))


def device_replay_text(found: DeviceReplay) -> str:
    """Return what is said of a replay on a device: a row for each delegate, and what is wrong with it."""
    record = found.goldens.record
    lines = [device_text(replace(found.device, emulated=None))]
    if found.device.emulated:
        lines.append(f"emulated by {found.device.emulated}: not the answers of a real device")
    if found.replays:
        allowed = ("allowed", "", "", *_figures(found.tolerance), "100%", "")
        rows = [*(_row(one, emulated=bool(found.device.emulated)) for one in found.replays), (), allowed]
        header = ("engine", "delegate", "moved", "largest", "mean", "of allowed", "verdict")
        lines += ["", render_table(header, rows, align="<<>>>><")]
    unit = "" if record["unit"] == "1" else f", in {record['unit']}"
    lines.append(f"{found.goldens.images} golden images, exported with {record['engine']}{unit}")
    lines += [text for one in found.replays for text in _remarks(one)]
    lines += [f"WARNING: {refusal}" for refusal in found.refusals]
    return "\n".join(lines if found.same_file else [*lines, _OTHER_FILE])


def _figures(distance: Distance) -> tuple[str, str]:
    return f"{distance.largest:.3g}", f"{distance.mean:.3g}"


def _verdict(replay: GoldenReplay) -> list[str]:
    passed = "exactly" if replay.equal else "but for what kernels differ by"
    answers = f"the answers are those of the export, {passed}"
    found = list(_warnings(replay))
    if not replay.same_file:
        other = "" if found else f". {answers[:1].upper()}{answers[1:]}, but to other images they may not be"
        found.append(f"{_OTHER_FILE}{other}")
    return found or [answers]


def _warnings(replay: GoldenReplay) -> Iterator[str]:
    if not replay.same_input:
        yield (
            "WARNING: the same images gave another input than at the export: look for another decoder, crop or "
            "normalisation"
        )
    if replay.share > 1:
        yield (
            "WARNING: the answers are further apart than kernels differ: the file is damaged, or the engine computes "
            "something else. Copy the file again, or try another engine or delegate"
        )
    elif replay.altered:
        yield "WARNING: the file was changed, and its answers with it, though by less than kernels differ"


def _row(one: DelegateReplay, *, emulated: bool) -> tuple[str, ...]:
    moved = one.replay.moved
    verdict = "not as exported"
    if one.replay.passed:
        verdict = "equal, bit for bit" if moved.count == 0 else "within tolerance"
    return (
        f"{one.answered.engine} {one.answered.engine_version or ''}".rstrip(),
        _delegate(one),
        f"{moved.count} of {moved.outputs}",
        *_figures(one.replay.distance),
        _percent(one.replay.share),
        f"{verdict} (emulated)" if emulated else verdict,
    )


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "<1%"
    return f"{share:.0%}" if isfinite(share) else "-"


def _delegate(one: DelegateReplay) -> str:
    """Return what computed, and whether that is what the engine takes by itself."""
    if one.config.delegate == "default":
        return f"{one.answered.delegate} (default)" if one.answered.delegate else "default"
    return one.answered.delegate or one.config.delegate


def _remarks(one: DelegateReplay) -> Iterator[str]:
    who = f"{one.answered.engine}, {_delegate(one)}"
    if by_steps := _steps(one.replay.moved):
        yield f"{who}: {by_steps}; {_furthest(one.replay)}"
    for warning in _warnings(one.replay):
        yield warning.replace("WARNING: ", f"WARNING: {who}: ", 1)


def _furthest(replay: GoldenReplay) -> str:
    """Return the outputs that moved most, with the names of their classes."""
    labels = replay.artifact.labels or ()
    listed = [
        f"{printable(str(labels[each.output])) if each.output < len(labels) else f'output {each.output}'} "
        f"of image {each.image} "
        f"({each.golden} -> {each.answered})"
        for each in replay.moved.furthest[:MOST_OUTPUTS_LISTED]
    ]
    return f"most: {', '.join(listed)}"


def _steps(moved: Moved) -> str:
    """Return how many integers moved by how much, the smallest steps first; empty if none did or they are floats."""
    if not moved.by_steps:
        return ""
    steps = sorted(moved.by_steps.items())
    listed = [f"{count} moved by {step}" for step, count in steps[:MOST_STEPS_LISTED]]
    if rest := steps[MOST_STEPS_LISTED:]:
        listed.append(f"{sum(count for _, count in rest)} by {rest[0][0]} to {rest[-1][0]}")
    return ", ".join(listed)
