"""The loops of a run and what starts them: sections TRAIN and TEST."""

from slowfast.engine.launch import launch
from slowfast.engine.run import run

__all__ = ["launch", "run"]
