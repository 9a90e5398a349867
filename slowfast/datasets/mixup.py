"""MixUp and CutMix of a batch with its reverse, on the device."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class MixUp:
    """Mixes clips [B, C, T, H, W] with the batch in reverse order, and their labels alike.

    MixUp (Zhang et al. 2018): lam * x + (1 - lam) * x[::-1], lam ~ Beta(alpha, alpha). CutMix (Yun et al. 2019):
    one box of a share 1 - lam of the frame, the same in all frames, comes from the partner.
    Labels become rows with 1 - smoothing + smoothing / K on the class and smoothing / K elsewhere, mixed by the
    share of pixels each clip kept.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        alpha: float,
        cutmix_alpha: float,
        prob: float,
        switch_prob: float,
        smoothing: float,
        seed: int,
    ):
        self.num_classes, self.smoothing, self.seed = num_classes, smoothing, seed
        self.alpha, self.cutmix_alpha = alpha, cutmix_alpha
        self.prob = prob
        self.cutmix_prob = switch_prob if alpha > 0 and cutmix_alpha > 0 else float(cutmix_alpha > 0)

    @classmethod
    def from_config(cls, cfg) -> "MixUp":
        return cls(
            cfg.MODEL.NUM_CLASSES,
            alpha=cfg.MIXUP.ALPHA,
            cutmix_alpha=cfg.MIXUP.CUTMIX_ALPHA,
            prob=cfg.MIXUP.PROB,
            switch_prob=cfg.MIXUP.SWITCH_PROB,
            smoothing=cfg.MIXUP.LABEL_SMOOTH_VALUE,
            seed=cfg.RNG_SEED,
        )

    def __call__(self, clips: Tensor, labels: Tensor, draw: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Mixed clips and label distributions [B, K]; random numbers come from (seed, *draw) alone."""
        rng = np.random.default_rng((self.seed, *draw))
        share = 1.0  # of each clip that stays its own
        if rng.random() < self.prob:
            if rng.random() < self.cutmix_prob:
                clips, share = cutmix(clips, rng.beta(self.cutmix_alpha, self.cutmix_alpha), rng)
            else:
                share = rng.beta(self.alpha, self.alpha)
                clips = torch.lerp(clips.flip(0), clips, share)
        return clips, self.mixed_labels(labels, share)

    def mixed_labels(self, labels: Tensor, share: float) -> Tensor:
        rows = F.one_hot(labels, self.num_classes).float()
        rows = rows * (1.0 - self.smoothing) + self.smoothing / self.num_classes
        return share * rows + (1.0 - share) * rows.flip(0)


def cutmix(clips: Tensor, lam: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Clips with one box from their partners, cut at the border, and the share of pixels that stayed."""
    height, width = clips.shape[-2:]
    half_height, half_width = (int(size * np.sqrt(1.0 - lam)) // 2 for size in (height, width))
    row, column = rng.integers(height), rng.integers(width)
    top, bottom = max(row - half_height, 0), min(row + half_height, height)
    left, right = max(column - half_width, 0), min(column + half_width, width)
    mixed = clips.clone()
    mixed[..., top:bottom, left:right] = clips.flip(0)[..., top:bottom, left:right]
    return mixed, 1.0 - (bottom - top) * (right - left) / (height * width)
