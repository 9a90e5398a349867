"""TensorBoard event files: the section TENSORBOARD."""

from pathlib import Path

import numpy as np

from slowfast.utils.classes import read_subset
from slowfast.utils.distributed import is_master
from slowfast.visualization.plots import confusion_counts, confusion_matrix_figure, taken_for_figure


class TensorboardWriter:
    """Writes where TENSORBOARD.ENABLE says so, on the master; elsewhere each call does nothing."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.events = None
        if cfg.TENSORBOARD.ENABLE and is_master():
            from torch.utils.tensorboard import SummaryWriter  # slow to import, and not always wanted

            folder = cfg.TENSORBOARD.LOG_DIR or f"runs-{cfg.TRAIN.DATASET}"
            self.events = SummaryWriter(str(Path(cfg.OUTPUT_DIR) / folder))

    def add_scalars(self, scalars: dict[str, float], step: int) -> None:
        """One point of every curve."""
        if self.events is not None:
            for name, value in scalars.items():
                self.events.add_scalar(name, value, step)

    def add_evaluation(self, split: str, logits: np.ndarray, labels: np.ndarray, names: list[str], step: int) -> None:
        """Confusion matrix and per-class histograms, as far as they are enabled, of scores [N, K] and labels [N]."""
        if self.events is None:
            return
        counts = confusion_counts(logits.argmax(1), labels, len(names))
        if self.cfg.TENSORBOARD.CONFUSION_MATRIX.ENABLE:
            chosen = read_subset(self.cfg.TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH, names)
            size = tuple(self.cfg.TENSORBOARD.CONFUSION_MATRIX.FIGSIZE)
            figure = confusion_matrix_figure(counts[np.ix_(chosen, chosen)], [names[i] for i in chosen], size)
            self.events.add_figure(f"{split}/Confusion_Matrix", figure, step)
        if self.cfg.TENSORBOARD.HISTOGRAM.ENABLE:
            size, topk = tuple(self.cfg.TENSORBOARD.HISTOGRAM.FIGSIZE), self.cfg.TENSORBOARD.HISTOGRAM.TOPK
            for label in read_subset(self.cfg.TENSORBOARD.HISTOGRAM.SUBSET_PATH, names):
                figure = taken_for_figure(counts, names, label, topk, size)
                self.events.add_figure(f"{split}/Top_{topk}_Histogram/{names[label]}", figure, step)

    def close(self) -> None:
        if self.events is not None:
            self.events.close()
