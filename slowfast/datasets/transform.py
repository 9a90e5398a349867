"""Spatial transforms of whole clips: boxes are drawn as numbers, then one crop-and-resize on uint8 pixels."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Box(NamedTuple):
    """A region of the source frame, in its pixels."""

    top: int
    left: int
    height: int
    width: int


def jittered_box(
    height: int,
    width: int,
    crop: int,
    scales: tuple[int, int],
    rng: np.random.Generator,
    *,
    inverse_uniform: bool = False,
) -> Box:
    """The part of the frame that a random square `crop` shows after its short side is resized to a random scale.

    The scale is uniform over `scales`, both included; with `inverse_uniform` its inverse is.
    """
    low, high = scales
    if inverse_uniform:
        scale = round(1.0 / rng.uniform(1.0 / high, 1.0 / low))
    else:
        scale = round(rng.uniform(low, high))
    side = min(round(crop * min(height, width) / scale), height, width)
    top, left = rng.integers(0, [height - side, width - side], endpoint=True)
    return Box(int(top), int(left), side, side)


def resized_box(
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    rng: np.random.Generator,
) -> Box:
    """A random box of a share `area` of the frame, aspect ratio log-uniform over `aspect`; 10 tries, else centred."""
    for _ in range(10):
        pixels = rng.uniform(*area) * height * width
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        box_width, box_height = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top, left = rng.integers(0, [height - box_height, width - box_width], endpoint=True)
            return Box(int(top), int(left), box_height, box_width)
    ratio = min(max(width / height, aspect[0]), aspect[1])
    box_width, box_height = min(width, round(height * ratio)), min(height, round(width / ratio))
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def uniform_box(height: int, width: int, crop: int) -> Box:
    """The largest square at one end of the long side (0: left or top), its centre (1), or the other end (2)."""
    side = min(height, width)
    return Box((height - side) * crop // 2, (width - side) * crop // 2, side, side)


def crop_clip(frames: np.ndarray, box: Box, size: int, *, flip: bool = False) -> Tensor:
    """uint8 frames [T, H, W, C] -> uint8 clip [C, T, size, size]: the box resized (bilinear, antialiased)."""
    pixels = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]
    clip = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)  # channels last in memory
    if (box.height, box.width) != (size, size):
        clip = F.interpolate(clip, (size, size), mode="bilinear", antialias=True)
    if flip:
        clip = clip.flip(-1)
    return clip.permute(1, 0, 2, 3).contiguous()


def normalize(clips: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """uint8 clips [B, C, T, H, W] on any device -> float32 (pixel / 255 - mean) / std."""
    shape = (1, -1, 1, 1, 1)
    mean = torch.tensor(mean, device=clips.device).view(shape)
    std = torch.tensor(std, device=clips.device).view(shape)
    # One multiply and one add over the pixels.
    return torch.addcmul(-mean / std, clips, 1.0 / (255.0 * std))
