"""Losses by MODEL.LOSS_FUNC: logits [B, K] and targets -> the mean over the batch."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from slowfast.config import Key, add_section
from slowfast.config.valid import registered


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with targets that are classes [B] or distributions over them [B, K] (MixUp)."""
    return F.cross_entropy(logits, targets)


def bce_logit(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each class on its own; targets [B] or [B, K]."""
    return F.binary_cross_entropy_with_logits(logits, as_distribution(targets, logits))


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of the logits' softmax; targets [B] or [B, K].

    It takes logits like every loss here and applies the softmax itself; upstream's `bce` wants probabilities.
    """
    return F.binary_cross_entropy(logits.softmax(-1), as_distribution(targets, logits))


def mse(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the raw outputs; targets [B] or [B, K]."""
    return F.mse_loss(logits, as_distribution(targets, logits))


def as_distribution(targets: Tensor, logits: Tensor) -> Tensor:
    """Classes [B] as one-hot rows [B, K]; distributions as they are."""
    if targets.dim() == 1:
        targets = F.one_hot(targets, logits.shape[-1])
    return targets.to(logits.dtype)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": soft_cross_entropy,
    "soft_cross_entropy": soft_cross_entropy,
    "bce_logit": bce_logit,
    "bce": bce,
    "mse": mse,
}

add_section(
    "MODEL",
    {
        "LOSS_FUNC": Key(
            "cross_entropy",
            "Training loss. All take logits: cross_entropy; soft_cross_entropy (with MIXUP.ENABLE); bce_logit (binary "
            "cross-entropy of each class's sigmoid); bce (of the softmax; upstream's takes probabilities); mse.",
            valid=registered(LOSSES),
        ),
    },
)


def build_loss(cfg) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss MODEL.LOSS_FUNC names."""
    return LOSSES[cfg.MODEL.LOSS_FUNC]
