"""Figures of predictions, drawn without any display."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

MAX_WRITTEN = 20  # up to so many classes, cells carry their numbers and every class its name


def confusion_counts(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How often class i (row) was taken for class j (column), int64 [K, K]."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def confusion_matrix_figure(counts: np.ndarray, names: list[str], figsize: tuple[float, float] = (8, 8)) -> Figure:
    """Confusion matrix [K, K] with rows normalised to the share of the true class."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    every = max(1, -(-len(names) // 50))  # thinned where they would overlap
    ticks = np.arange(0, len(names), every)
    size = 9 if len(names) <= MAX_WRITTEN else 5
    axes.set_xticks(ticks, [names[i] for i in ticks], rotation=90, fontsize=size)
    axes.set_yticks(ticks, [names[i] for i in ticks], fontsize=size)
    axes.set(xlabel="predicted", ylabel="true", title=f"{np.trace(counts) / max(counts.sum(), 1):.1%} right")
    if len(names) <= MAX_WRITTEN:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=8)
    return figure


def taken_for_figure(
    counts: np.ndarray, names: list[str], label: int, topk: int, figsize: tuple[float, float] = (8, 8)
) -> Figure:
    """What the videos of class `label` are taken for: a bar for each of the `topk` most frequent predictions."""
    order = np.argsort(-counts[label], kind="stable")[:topk]
    share = counts[label, order] / max(counts[label].sum(), 1)
    figure = Figure(figsize, layout="constrained")
    axes = figure.add_subplot()
    colors = ["tab:green" if i == label else "tab:gray" for i in order]
    axes.barh([names[i] for i in order], share, color=colors)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of its videos", title=f"{names[label]} is taken for")
    return figure


def save_confusion_matrix(path: str | Path, logits: np.ndarray, labels: np.ndarray, names: list[str]) -> None:
    """Writes the confusion matrix of scores [N, K] and labels [N] as an image."""
    counts = confusion_counts(logits.argmax(1), labels, len(names))
    side = min(8 + len(names) / 25, 20)
    confusion_matrix_figure(counts, names, (side, side)).savefig(path, dpi=120)
