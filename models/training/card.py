"""The model card of a training run, as Markdown."""

from typing import Any


def model_card(record: dict[str, Any]) -> str:
    """Return the card of a run.

    Args:
        record: what `training.json` says of it.
    """
    spec, data, result = record["spec"], record["data"], record["result"]
    lines = [
        f"# {record['name']}",
        "",
        f"{spec['family']}, alpha {spec['alpha']}, {spec['resolution_px']} px, {spec['classes']} classes; "
        f"{result['params']:,} parameters ({result['float_bytes']:,} bytes as float32).",
        "",
        "## Data",
        "",
        f"- {data['name']}: {data['train']} photos to train, {data['val']} to validate"
        + (f", {data['test']} to test" if data["test"] is not None else ""),
        f"- sha256 over the files of all splits: `{data['digest']}`",
        *([f"- source: {data['source']}"] if data.get("source") else []),
        *([f"- licence: {data['licence']}"] if data.get("licence") else []),
        *(f"- {note}" for note in data["notes"]),
        "",
        "## Training",
        "",
        f"- start: {record['start']}",
        *(f"- {name}: {value}" for name, value in _shown_options(record["options"]).items()),
        f"- kept: epoch {result['best_epoch']} of {result['epochs']}, chosen on the validation photos",
        f"- {result['images_per_s']:.0f} images/s; forward and backward alone {result['bound_images_per_s']:.0f}",
        "",
        "## Accuracy (float, centre crop)",
        "",
        "| split | photos | top-1 | 95 % interval |",
        "|---|---|---|---|",
        *(
            f"| {name} | {figures['photos']} | {figures['top1']:.1%} | {figures['low']:.1%} to {figures['high']:.1%} |"
            for name, figures in result["accuracy"].items()
        ),
        "",
        "![learning curve](learning_curve.png)",
        "",
        "![confusion matrix](confusion_matrix.png)",
        "",
    ]
    return "\n".join(lines)


def _shown_options(options: dict[str, Any]) -> dict[str, Any]:
    hidden = ("weights", "spec_overrides", "normalization")
    return {
        name.replace("_", " "): value
        for name, value in options.items()
        if name not in hidden and value not in (None, False)
    }
