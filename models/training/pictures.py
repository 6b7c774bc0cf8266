"""The learning curve and the confusion matrix as PNG."""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("agg")  # no window system is needed

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

MAX_NAMED_CLASSES = 60  # more would not be readable


def learning_curve(history: Sequence[dict[str, float]], *, best_epoch: int) -> bytes:
    """Draw loss and top-1 of training and validation over the epochs."""
    epochs = [record["epoch"] for record in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, key, title in ((left, "loss", "cross-entropy"), (right, "top1", "top-1")):
        axes.plot(epochs, [record[key] for record in history], label="training (varied photos)")
        axes.plot(epochs, [record[f"val_{key}"] for record in history], label="validation")
        axes.axvline(best_epoch, color="grey", linewidth=0.8, linestyle="--", label=f"kept: epoch {best_epoch}")
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
    right.set_ylim(0, 1)
    left.legend()
    return _png(figure)


def confusion_matrix(
    expected: npt.NDArray[np.int32], predicted: npt.NDArray[np.intp], labels: Sequence[str], *, split: str
) -> bytes:
    """Draw the share of each true class (row) that was taken for each class (column)."""
    counts = np.zeros((len(labels), len(labels)))
    np.add.at(counts, (expected, predicted), 1)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    side = 4 + 0.17 * min(len(labels), MAX_NAMED_CLASSES)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="viridis")
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    if len(labels) <= MAX_NAMED_CLASSES:
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set(xlabel="predicted", ylabel="true", title=f"{split}: {np.trace(counts) / counts.sum():.1%} right")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return content.getvalue()
