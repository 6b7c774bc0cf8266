"""The diagnosis of a file, and its accuracy where it was measured, as an HTML page."""

from mnet_deploy.artifact import Artifact
from mnet_deploy.intervals import wilson_interval
from mnet_deploy.pipeline.accuracy import Accuracy
from mnet_deploy.pipeline.layer_diagnosis import LayerDiagnosis
from mnet_deploy.pipeline.layer_statistics import LayerFigures
from mnet_deploy.pipeline.verify import Verification
from mnet_deploy.pipeline.verify_text import preparation_sentences
from mnet_deploy.report.page import AccuracyRow, FindingText, LayerRow, Page, render_page


def diagnosis_page(diagnosis: LayerDiagnosis, verification: Verification | None) -> str:
    """Return the page.

    Args:
        diagnosis: of the file.
        verification: its accuracy; None if there were no photos with classes.
    """
    marked = {finding.layer for finding in diagnosis.findings}
    notes = (*diagnosis.notes, *(verification.notes if verification else ()), *_unfit(diagnosis.artifact))
    return render_page(
        Page(
            title=diagnosis.artifact.file,
            facts=_facts(diagnosis.artifact),
            findings=(*_preparation(verification), *_findings(diagnosis)),
            accuracy=_accuracy(verification),
            accuracy_note=_accuracy_note(verification),
            layers=tuple(_row(layer, marked) for layer in diagnosis.layers),
            layers_note=f"Energy of the float model's output over that of the file's difference to it, over "
            f"{diagnosis.images} images. A fault shows in all layers behind it: look where the bars begin to fall.",
            notes=tuple(dict.fromkeys(notes)),
        )
    )


def _facts(artifact: Artifact) -> tuple[tuple[str, str], ...]:
    calibration = artifact.calibration
    return (
        ("model", artifact.spec.name),
        ("format", f"{artifact.file_format}, {artifact.precision}, {artifact.size_bytes:,} bytes"),
        ("sha256", artifact.sha256),
        ("made from", str(artifact.weights["origin"])),
        ("calibration", f"{calibration['count']} images, {calibration['source']}"),
        ("input", str(artifact.normalization)),
    )


def _unfit(artifact: Artifact) -> tuple[str, ...]:
    return tuple(f"unfit for accuracy: {reason}" for reason in artifact.unfit_for_accuracy)


def _findings(diagnosis: LayerDiagnosis) -> tuple[FindingText, ...]:
    return tuple(
        FindingText(title=f"{one.layer}: {one.cause}", what=one.what[:1].upper() + one.what[1:], remedy=one.remedy)
        for one in diagnosis.findings
    )


def _preparation(verification: Verification | None) -> tuple[FindingText, ...]:
    if verification is None or verification.preparation is None or not verification.preparation.causes:
        return ()
    return (FindingText(title="preprocessing", what=". ".join(preparation_sentences(verification)), remedy=""),)


def _accuracy(verification: Verification | None) -> tuple[AccuracyRow, ...]:
    if verification is None:
        return ()
    rows = [_accuracy_row(verification.file, verification.converted, verification.images)]
    if verification.reference is not None:
        rows.insert(0, _accuracy_row("float model", verification.reference, verification.images))
    return tuple(rows)


def _accuracy_row(name: str, found: Accuracy, images: int) -> AccuracyRow:
    low, high = wilson_interval(round(found.top1 * images), images)
    return AccuracyRow(name=name, top1=found.top1, low=low, high=high, top5=found.top5)


def _accuracy_note(verification: Verification | None) -> str:
    if verification is None:
        return ""
    found, images = verification.difference, f"Over {verification.images} images."
    if found is None:
        return images
    inside = "contains" if found.low <= 0 <= found.high else "does not contain"
    return (
        f"{images} The file's top-1 less that of float: {found.top1:+.1%}, with a paired 95% interval of "
        f"{found.low:+.1%} to {found.high:+.1%}, which {inside} 0."
    )


def _row(layer: LayerFigures, marked: set[str]) -> LayerRow:
    return LayerRow(
        name=layer.layer,
        sqnr_db=layer.sqnr_db,
        cosine=layer.cosine,
        mean_shift=layer.mean_shift,
        saturated=layer.saturated,
        stored_range=layer.stored_range,
        marked=layer.layer in marked,
    )
