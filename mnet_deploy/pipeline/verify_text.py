"""The figures of a verification as text for a terminal, and what they mean in sentences."""

from mnet_deploy.pipeline.accuracy import PairedDifference
from mnet_deploy.pipeline.preparation import Kind
from mnet_deploy.pipeline.preparation_diagnosis import SIGNIFICANT_P, Cause, PreparationDiagnosis
from mnet_deploy.pipeline.verify import Verification
from mnet_deploy.text_table import render_table


def verification_text(found: Verification) -> str:
    """Return the figures and the diagnosis, without a newline at the end."""
    parts = [_accuracy_text(found)]
    if found.preparation is not None:
        parts += [_trials_text(found.preparation), "\n".join(preparation_sentences(found))]
    return "\n\n".join(parts)


def preparation_sentences(found: Verification) -> tuple[str, ...]:
    """Return what is wrong with how photos are prepared, cause and remedy; else that nothing is known to be wrong."""
    diagnosis = found.preparation
    if diagnosis is None:
        return ()
    exported = found.artifact is not None
    causes = [_cause_sentence(cause, diagnosis.images, exported=exported) for cause in diagnosis.causes]
    if not causes:
        return (_no_cause_sentence(diagnosis),)
    before, after = (f"{right / diagnosis.images:.1%}" for right in (diagnosis.right, diagnosis.right_after))
    return (*causes, f"with that put right: top-1 {after} in place of {before} ({diagnosis.tried_on})")


def _accuracy_text(found: Verification) -> str:
    rows = [(found.file, f"{found.converted.top1:.1%}", f"{found.converted.top5:.1%}")]
    if found.reference is not None:
        rows.insert(0, ("float model", f"{found.reference.top1:.1%}", f"{found.reference.top5:.1%}"))
    table = render_table(("", "top-1", "top-5"), rows, align="<>>")
    agreement = "" if found.top1_agreement is None else f"; same best class on {found.top1_agreement:.1%}"
    difference = "" if found.difference is None else f"\n{_difference_text(found.difference)}"
    return f"{table}\n{found.images} images{agreement}{difference}"


def _difference_text(found: PairedDifference) -> str:
    verdict = "contains" if found.low <= 0 <= found.high else "does not contain"
    return (
        f"top-1 less that of float: {found.top1:+.1%}, 95% interval {found.low:+.1%} to {found.high:+.1%}, which "
        f"{verdict} 0 ({found.gained} gained, {found.lost} lost; exact McNemar p = {_p_text(found.p_value)})"
    )


def _trials_text(diagnosis: PreparationDiagnosis) -> str:
    rows = [("as it is", "", f"{diagnosis.right}", "", "", "")]
    for trial in diagnosis.trials:
        counts = (f"{trial.right}", f"{trial.gained}", f"{trial.lost}", _p_text(trial.p_value))
        rows.append((str(trial.alternative.kind), trial.alternative.name, *counts))
    table = render_table(("preparation", "instead", "right", "gained", "lost", "p"), rows, align="<<>>>>")
    return (
        f"{table}\n{diagnosis.images} images, answers of {diagnosis.tried_on}; exact McNemar p after Holm's correction"
    )


def _cause_sentence(cause: Cause, images: int, *, exported: bool) -> str:
    trial = cause.trial
    what, remedy = _words(cause, exported=exported)
    rivals = f"; on these images as good: {', '.join(cause.as_good)}" if cause.as_good else ""
    return (
        f"CAUSE: {what} ({trial.gained} gained, {trial.lost} lost on {images} images, p = {_p_text(trial.p_value)}"
        f"{rivals}). Remedy: {remedy}"
    )


def _words(cause: Cause, *, exported: bool) -> tuple[str, str]:
    """Return what is wrong, and what to do about it."""
    name, given = cause.trial.alternative.name, cause.instead_of
    match cause.trial.alternative.kind:
        case Kind.NORMALIZATION:
            remedy = "export again" if exported else "prepare photos so in the app, and measure"
            return f"the normalisation is {given}, the model wants {name}", f"{remedy} with --normalization={name}"
        case Kind.CHANNELS:
            return f"the channels come as {given}, the model wants {name}", _channels_remedy(name, exported=exported)
        case Kind.GEOMETRY:
            what = f"photos become squares by {given}, the model wants {name}"
            flag = "" if exported else ", and measure with --squash" if name == "squash" else ", and leave out --squash"
            return what, f"make squares by {name} in the app, as in training{flag}"
        case Kind.LABELS if name == "+1":
            return (
                "labels are off by one: the class names lack a line before the first",
                "put the missing class, such as background, before the first line of the class names",
            )
        case Kind.LABELS:
            return (
                "labels are off by one: the class names have a line too many before the first",
                "take the first line, such as background, out of the class names",
            )


def _channels_remedy(name: str, *, exported: bool) -> str:
    if exported:
        return "reverse the input channels of the first kernel in the checkpoint and export again"
    return f"give {name} in the app, and {'measure with' if name == 'BGR' else 'leave out'} --bgr"


def _no_cause_sentence(diagnosis: PreparationDiagnosis) -> str:
    alike = [
        f"{each.alternative.kind} {each.alternative.name}" for each in diagnosis.trials if not each.is_distinguishable
    ]
    if not alike:
        return f"preparation: nothing wrong; every alternative is worse (p < {SIGNIFICANT_P:g})"
    if len(alike) == len(diagnosis.trials):
        return f"preparation: not distinguishable on {diagnosis.images} photos"
    return (
        f"preparation: no alternative is better; not distinguishable on {diagnosis.images} photos: {', '.join(alike)}"
    )


def _p_text(p_value: float) -> str:
    return f"{p_value:.2f}" if p_value >= 0.01 else f"{p_value:.0e}" if p_value > 0 else "0"
