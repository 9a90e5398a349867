"""Figures of predictions, drawn without any display."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

MAX_WRITTEN = 20  # up to so many classes, cells carry their numbers
FONT_SIZES = (6, 10)  # points; below six, a name cannot be read
MAX_NAME = 28  # characters; a whole sentence (Something-Something) would leave no room for the matrix


def confusion_counts(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How often class i (row) was taken for class j (column), int64 [K, K + 1].

    The last column counts the videos without a score, whose prediction is -1.
    """
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def confusion_matrix_figure(
    counts: np.ndarray,
    names: Sequence[str],
    figsize: tuple[float, float] = (8, 8),
    *,
    shown: Sequence[int] | None = None,
) -> Figure:
    """Confusion matrix of `confusion_counts`: each cell the share of its true class, all videos counted.

    Args:
        shown: the classes to draw, in this order; all by default. What is taken for another class than these
            stays in the denominators, so a cell has the same colour in the part as in the whole.
    """
    shown = range(len(names)) if shown is None else shown
    videos = counts[shown].sum(1)
    part = counts[np.ix_(shown, shown)]
    shares = part / np.maximum(videos, 1)[:, None]
    figure = Figure(figsize, layout="compressed")
    axes = figure.add_subplot()
    # The square root of the share: one confused video in thirty can still be seen.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1])
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "10 %", "25 %", "50 %", "75 %", "100 %"])
    bar.set_label("share of the true class")
    room = 0.75 * min(figsize) * 72 / len(shown)  # points for each name
    size = float(np.clip(0.8 * room, *FONT_SIZES))
    ticks = np.arange(0, len(shown), ceil(1.1 * size / room))  # thinned where they would overlap
    written = [short_name(names[shown[i]]) for i in ticks]
    axes.set_xticks(ticks, written, rotation=90, fontsize=size)
    axes.set_yticks(ticks, written, fontsize=size)
    right = np.trace(part) / max(videos.sum(), 1)
    unscored = counts[shown, len(names) :].sum()
    title = f"top-1 {right:.1%} of {videos.sum()} videos" + (
        f", {unscored} of them without a score" if unscored else ""
    )
    axes.set(xlabel="predicted", ylabel="true", title=title)
    if len(shown) <= MAX_WRITTEN:
        for row, column in zip(*np.nonzero(part), strict=True):
            color = "white" if image.norm(shares[row, column]) > 0.6 else "black"
            axes.text(column, row, str(part[row, column]), ha="center", va="center", color=color, fontsize=size)
    return figure


def topk_histogram_figure(
    counts: np.ndarray, names: Sequence[str], label: int, topk: int, figsize: tuple[float, float] = (8, 8)
) -> Figure:
    """What the videos of class `label` are taken for: a bar for each of the `topk` most frequent predictions.

    `counts` is `confusion_counts` of all classes; a class that is never predicted gets no bar.
    """
    order = np.argsort(-counts[label], kind="stable")[:topk]
    order = order[counts[label, order] > 0]
    videos = counts[label].sum()
    figure = Figure(figsize, layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(order))  # not the names: two of them may be shortened to the same
    bars = axes.barh(
        places, counts[label, order] / max(videos, 1), color=["tab:green" if i == label else "tab:gray" for i in order]
    )
    axes.bar_label(bars, [str(count) for count in counts[label, order]], padding=4)
    axes.set_yticks(places, [short_name([*names, "(no score)"][i]) for i in order])
    # Room for topk bars whatever there is, so that figures of two classes, or of two epochs, can be compared.
    axes.set(xlim=(0, 1.08), ylim=(min(topk, len(names)) - 0.5, -0.5), xlabel="share of its videos")
    axes.set_title(f"{short_name(names[label])}: what its {videos} videos are taken for")
    return figure


def save_confusion_matrix(path: str | Path, predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
    """Writes the confusion matrix of classes [V] (-1: no score) and labels [V] as an image that grows with K."""
    counts = confusion_counts(predictions, labels, len(names))
    side = min(8 + len(names) / 16, 24)
    confusion_matrix_figure(counts, names, (side, side)).savefig(path, dpi=120)


def short_name(name: str) -> str:
    """A class name as a figure has room for it: the middle left out, a dollar sign not taken for mathematics."""
    if len(name) > MAX_NAME:
        head = MAX_NAME * 2 // 3
        name = f"{name[:head].rstrip()}…{name[head - MAX_NAME + 1 :].lstrip()}"
    return name.replace("$", r"\$")
