"""TensorBoard event files: the section TENSORBOARD."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from slowfast.utils.classes import load_class_names, read_subset
from slowfast.utils.distributed import is_master
from slowfast.visualization.plots import confusion_counts, confusion_matrix_figure, topk_histogram_figure


class TensorboardWriter:
    """Writes where TENSORBOARD.ENABLE says so, on the master; elsewhere each call does nothing.

    A run that goes on at `start_step` hides what an earlier, cut-off process wrote from there on.

    Raises:
        ValueError: at once, not after an epoch, if a SUBSET_PATH cannot be read or names no class.
    """

    def __init__(self, cfg, start_step: int | None = None):
        self.cfg = cfg
        self.events = None
        if not (cfg.TENSORBOARD.ENABLE and is_master()):
            return
        names = load_class_names(
            cfg.TENSORBOARD.CLASS_NAMES_PATH, cfg.MODEL.NUM_CLASSES, data_dir=cfg.DATA.PATH_TO_DATA_DIR
        )
        self.matrix_classes = self.histogram_classes = []
        if cfg.TENSORBOARD.CONFUSION_MATRIX.ENABLE:
            self.matrix_classes = read_subset(cfg.TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH, names)
        if cfg.TENSORBOARD.HISTOGRAM.ENABLE:
            self.histogram_classes = read_subset(cfg.TENSORBOARD.HISTOGRAM.SUBSET_PATH, names)
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and not always wanted

        folder = cfg.TENSORBOARD.LOG_DIR or f"runs-{cfg.TRAIN.DATASET}"
        self.events = SummaryWriter(str(Path(cfg.OUTPUT_DIR) / folder), purge_step=start_step)

    def add_scalars(self, scalars: dict[str, float], step: int) -> None:
        """One point of every curve."""
        if self.events is not None:
            for name, value in scalars.items():
                self.events.add_scalar(name, value, step)

    def add_evaluation(
        self, split: str, predictions: np.ndarray, labels: np.ndarray, names: list[str], step: int
    ) -> None:
        """Confusion matrix and per-class histograms, as far as they are enabled, of classes [V] (-1: no score)."""
        if self.events is None:
            return
        counts = confusion_counts(predictions, labels, len(names))
        if self.matrix_classes:
            size = tuple(self.cfg.TENSORBOARD.CONFUSION_MATRIX.FIGSIZE)
            figure = confusion_matrix_figure(counts, names, size, shown=self.matrix_classes)
            self.add_figure(f"{split}/Confusion_Matrix", figure, step)
        size, topk = tuple(self.cfg.TENSORBOARD.HISTOGRAM.FIGSIZE), self.cfg.TENSORBOARD.HISTOGRAM.TOPK
        for label in self.histogram_classes:
            figure = topk_histogram_figure(counts, names, label, topk, size)
            self.add_figure(f"{split}/Top_{topk}_Histogram/{names[label]}", figure, step)

    def add_figure(self, tag: str, figure: Figure, step: int) -> None:
        """Draws and writes one figure; SummaryWriter's own way imports pyplot, which looks for a display."""
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.events.add_image(tag, np.asarray(canvas.buffer_rgba())[..., :3], step, dataformats="HWC")

    def close(self) -> None:
        """Everything given so far is on disk afterwards."""
        if self.events is not None:
            self.events.close()
