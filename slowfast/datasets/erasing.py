"""Random erasing (Zhong et al. 2020) of clips: boxes that are the same in all frames."""

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.transform import Box

AREA = (0.02, 1 / 3)  # share of the frame that all boxes of a clip take
ASPECT = (0.3, 1 / 0.3)


class RandomErasing:
    """With probability `prob`, 1 to `max_count` boxes of a clip get noise N(0, 1) in every pixel (`pixel`), one such
    color (`rand`) or 0 (`const`).

    Where there may be several, the first T // max_count frames are left as they are: upstream gives that number
    also as the number of splits, of which it leaves the first.
    The numbers are those of normalised clips, here put back to pixels: 255 (mean + std z), cut at black and white.
    """

    def __init__(self, *, prob: float, mode: str, max_count: int, mean: list[float], std: list[float]):
        self.prob, self.mode, self.max_count = prob, mode, max_count
        self.mean, self.std = (255 * np.array(values)[:, None] for values in (mean, std))  # [C, 1]
        self.noise = self.to_pixels(normal_quantiles())

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> None:
        """Erases in a uint8 clip [C, T, H, W], in place."""
        if rng.random() >= self.prob:
            return
        if self.max_count > 1:
            clip = clip[:, clip.shape[1] // self.max_count :]
        count = rng.integers(1, self.max_count, endpoint=True)
        for _ in range(count):
            box = erased_box(*clip.shape[2:], count, rng)
            if box:
                part = clip[:, :, box.top : box.top + box.height, box.left : box.left + box.width]
                part.copy_(self.content(tuple(part.shape), rng))

    def to_pixels(self, normalised: np.ndarray) -> np.ndarray:
        """Values [C or 1, N] of normalised clips as uint8 [C, N]."""
        return np.clip(self.mean + self.std * normalised + 0.5, 0, 255).astype(np.uint8)

    def content(self, shape: tuple[int, int, int, int], rng: np.random.Generator) -> Tensor:
        if self.mode == "pixel":
            # Looked up at random places: four times faster than drawing normal numbers.
            draws = (rng.integers(0, table.size, shape[1:], np.uint16) for table in self.noise)
            pixels = np.stack([table[places] for table, places in zip(self.noise, draws, strict=True)])
            return torch.from_numpy(pixels)
        colour = rng.standard_normal((shape[0], 1)) if self.mode == "rand" else np.zeros((1, 1))
        return torch.from_numpy(self.to_pixels(colour))[..., None, None]


@cache
def normal_quantiles() -> np.ndarray:
    """65,536 values in the middles of as many equally probable parts of N(0, 1)."""
    return np.array([NormalDist().inv_cdf((part + 0.5) / 65536) for part in range(65536)])


def erased_box(height: int, width: int, count: int, rng: np.random.Generator) -> Box | None:
    """One of `count` boxes that share the area, smaller than the frame in both directions; None after 10 tries."""
    for _ in range(10):
        pixels = rng.uniform(*AREA) * height * width / count
        ratio = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        box_height, box_width = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < box_height < height and 0 < box_width < width:
            top, left = rng.integers(0, [height - box_height, width - box_width], endpoint=True)
            return Box(int(top), int(left), box_height, box_width)
    return None
