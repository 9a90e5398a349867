"""TensorBoard event files: the section TENSORBOARD."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from slowfast.utils.classes import load_class_names, read_subset
from slowfast.utils.distributed import is_master
from slowfast.utils.logging import logger
from slowfast.visualization.plots import confusion_counts, confusion_matrix_figure, topk_histogram_figure


class EventFile:
    """A file of TensorBoard's events. Each is on disk when `add` returns, or raises.

    torch's SummaryWriter writes on a thread, which dies with a traceback when the disk is full.
    """

    def __init__(self, folder: Path, start_step: int | None):
        """Raises OSError if the file cannot be made. A reader hides what older files have from `start_step` on."""
        # Slow to import, and not always wanted.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.event = Event
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self.records = RecordWriter(open(folder / name, "wb"))  # noqa: SIM115
        self.add(file_version="brain.Event:2")
        if start_step is not None:
            self.add(step=start_step, session_log=SessionLog(status=SessionLog.START))

    def add(self, **fields) -> None:
        """Writes an event of these fields: `summary` and `step`."""
        self.records.write(self.event(wall_time=time.time(), **fields).SerializeToString())
        self.records.flush()

    def close(self) -> None:
        self.records.close()


class TensorboardWriter:
    """Writes where TENSORBOARD.ENABLE says so, on the master; elsewhere each call does nothing.

    A run that goes on at `start_step` hides what an earlier, cut-off process wrote from there on. An event that cannot
    be written is the last of this process; the run goes on, as a warning says.

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
        self.folder = Path(cfg.OUTPUT_DIR) / (cfg.TENSORBOARD.LOG_DIR or f"runs-{cfg.TRAIN.DATASET}")
        try:
            self.events = EventFile(self.folder, start_step)
        except OSError as error:
            self.give_up(error)

    def add_scalars(self, scalars: dict[str, float], step: int) -> None:
        """One point of every curve."""
        if self.events is not None:
            from torch.utils.tensorboard.summary import scalar

            for name, value in scalars.items():
                self.add(scalar(name, value), step)

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
        """Draws and writes one figure, without pyplot, which looks for a display."""
        from torch.utils.tensorboard.summary import image

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.add(image(tag, np.asarray(canvas.buffer_rgba())[..., :3], dataformats="HWC"), step)

    def add(self, summary, step: int) -> None:
        if self.events is not None:
            try:
                self.events.add(summary=summary, step=step)
            except OSError as error:
                self.give_up(error)

    def give_up(self, error: OSError) -> None:
        logger.warning("TensorBoard's events in %s end here, and the run goes on: %s", self.folder, error)
        self.close()
        self.events = None

    def close(self) -> None:
        if self.events is not None:
            with suppress(OSError):  # of what could not be written
                self.events.close()
