"""A comparison of twins as text for a terminal."""

from mnet_deploy.pipeline.accuracy import Accuracy
from mnet_deploy.pipeline.layer_comparison import SCALE_TOLERANCE, LayerPair, LayerSide
from mnet_deploy.pipeline.twin_answers import TwinAnswers
from mnet_deploy.pipeline.twins import TwinComparison
from mnet_deploy.text_table import render_table

_UNKNOWN = "-"
_HEADER = ("layer", "scale A", "scale B", "zero A", "zero B", "SQNR A", "SQNR B", "A to B", "differs")


def twins_text(found: TwinComparison) -> str:
    """Return everything that is said of two files on standard output."""
    names = f"A  {found.a.file} ({found.a.precision})\nB  {found.b.file} ({found.b.precision})"
    table = render_table(_HEADER, [_layer_row(layer) for layer in found.layers], align="<>>>>>>><")
    how = (
        f"SQNR in dB over {found.layer_images} images: of A and of B against the float model, A to B against each "
        f"other.\ndiffers: scales more than {SCALE_TOLERANCE:.0%} apart, or other zero points."
    )
    sections = [names, table, how]
    if found.answers is not None:
        sections.append(_answers_text(found.answers))
    return "\n\n".join(sections) + "".join(f"\nWARNING: {warning}" for warning in found.warnings)


def _layer_row(pair: LayerPair) -> tuple[str, ...]:
    sides = (pair.a, pair.b)
    missing = ", ".join(name for name, side in zip("AB", sides, strict=True) if side is None)
    remark = f"not found in {missing}" if missing else f"* {', '.join(pair.differs)}" if pair.differs else ""
    return (
        pair.layer,
        *(_scale(side) for side in sides),
        *(_zero_point(side) for side in sides),
        *(_UNKNOWN if side is None else _decibels(side.sqnr_db, side.equal) for side in sides),
        _decibels(pair.between_db, pair.equal),
        remark,
    )


def _scale(side: LayerSide | None) -> str:
    return _UNKNOWN if side is None or side.scale is None else f"{side.scale:.5g}"


def _zero_point(side: LayerSide | None) -> str:
    return _UNKNOWN if side is None or side.zero_point is None else str(side.zero_point)


def _decibels(value: float | None, equal: bool | None) -> str:
    return "equal" if equal else _UNKNOWN if value is None else f"{value:.1f}"


def _answers_text(answers: TwinAnswers) -> str:
    shares = [share for share in (answers.a_with_float, answers.b_with_float) if share is not None]
    with_float = ", ".join(f"{share:.1%}" for share in shares) or "unknown"
    agreement = f"twins agree on {answers.between:.1%} of {answers.images} images (each with float: {with_float})"
    found = answers.accuracy
    if found is None:
        return agreement
    rows = [_accuracy_row("A", found.a), _accuracy_row("B", found.b)]
    if found.reference is not None:
        rows.insert(0, _accuracy_row("float model", found.reference))
    inside = "contains 0" if found.low <= 0 <= found.high else "does not contain 0"
    difference = (
        f"top-1 of B less that of A: {found.difference:+.1%}, 95% interval {found.low:+.1%} to {found.high:+.1%}, "
        f"which {inside}"
    )
    return "\n".join((render_table(("", "top-1", "top-5"), rows, align="<>>"), "", agreement, difference))


def _accuracy_row(name: str, figures: Accuracy) -> tuple[str, str, str]:
    return name, f"{figures.top1:.1%}", f"{figures.top5:.1%}"
