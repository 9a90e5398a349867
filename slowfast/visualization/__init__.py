"""Pictures of what a model does: the section TENSORBOARD."""

from slowfast.visualization.plots import save_confusion_matrix
from slowfast.visualization.tensorboard import TensorboardWriter

__all__ = ["TensorboardWriter", "save_confusion_matrix"]
