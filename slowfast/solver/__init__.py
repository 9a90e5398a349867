"""Optimizers, parameter groups and learning-rate policies: the section SOLVER."""

from slowfast.solver.lr_policy import build_lr_schedule
from slowfast.solver.optimizer import build_optimizer, describe_groups, set_learning_rate

__all__ = ["build_lr_schedule", "build_optimizer", "describe_groups", "set_learning_rate"]
