"""A NaN or infinite loss or gradient: the step is undone and explained, and a run of them ends the training."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from slowfast.spiking.norm import frozen_statistics
from slowfast.utils.distributed import gather_objects
from slowfast.utils.logging import logger


class NonFiniteLossError(ValueError):
    """More than TRAIN.MAX_NONFINITE_STEPS steps in a row, or all of the last epoch, had no finite loss or gradient."""

    on_every_rank = True


class NonFiniteGuard:
    """Undoes what a bad step did to a model's buffers (a NaN stays in running statistics for good) and counts it."""

    def __init__(self, model: nn.Module, most_in_a_row: int, advice: str):
        self.model, self.most_in_a_row, self.advice = model, most_in_a_row, advice
        self.total = self.in_a_row = 0
        self.buffers = list(model.buffers())
        self.before = [buffer.clone() for buffer in self.buffers]

    def begin_step(self) -> None:
        copy_all(self.before, self.buffers)

    def undo(self) -> None:
        copy_all(self.buffers, self.before)

    def passed(self) -> None:
        self.in_a_row = 0

    def skipped(self, what: str, rows: list[int], layer: str) -> None:
        """Logs a skipped step with the list rows of its samples, on every rank.

        Raises:
            NonFiniteLossError: it is one too many in a row.
        """
        self.total += 1
        self.in_a_row += 1
        found = gather_objects((rows, layer))
        videos = ", ".join(str(row) for rank_rows, _ in found for row in rank_rows)
        layers = ", ".join(dict.fromkeys(name for _, name in found if name))
        message = (
            f"{what} is not finite; first in {layers or 'the loss or backward'}. Rows of the training list (from 0): "
            f"{videos}."
        )
        if self.in_a_row > self.most_in_a_row:
            raise NonFiniteLossError(
                f"{message} These are {self.in_a_row} in a row, and TRAIN.MAX_NONFINITE_STEPS is {self.most_in_a_row}. "
                f"{self.advice}"
            )
        logger.warning("%s The step is skipped (%d in a row, %d so far).", message, self.in_a_row, self.total)


def advice(cfg) -> str:
    """What may help a run whose losses or gradients are not finite, as far as it does not do so already."""
    ways = [f"lower SOLVER.BASE_LR (now {cfg.SOLVER.BASE_LR:g})"]
    if not (cfg.SOLVER.CLIP_GRAD_L2NORM or cfg.SOLVER.CLIP_GRAD_VAL):
        ways.append("set SOLVER.CLIP_GRAD_L2NORM")
    if cfg.TRAIN.MIXED_PRECISION and cfg.TRAIN.AMP_DTYPE == "float16":
        ways.append("set TRAIN.AMP_DTYPE bfloat16")
    return (
        "Checkpoints in OUTPUT_DIR, if there are any, hold the weights from before, which may already be too large. "
        f"Start again with a new OUTPUT_DIR, and {' or '.join(ways)}."
    )


@torch.no_grad()
def copy_all(to: list[Tensor], from_: list[Tensor]) -> None:
    """Copies tensor by tensor, of which there may be none."""
    if to:
        torch._foreach_copy_(to, from_)


def first_nonfinite_layer(model: nn.Module, forward: Callable[[], Tensor]) -> str:
    """The first layer whose output is not finite when `forward()` is run again; empty if every output is."""
    found: list[str] = []

    def look(name: str):
        def hook(module, inputs, output) -> None:
            if isinstance(output, Tensor) and not found and not output.isfinite().all():
                found.append(f"{name} ({type(module).__name__})")

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(look(name)) for name, module in leaves]
    try:
        with torch.no_grad(), frozen_statistics():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""
