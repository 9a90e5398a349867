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


def multi_scale_box(height: int, width: int, scales: list[float], rng: np.random.Generator) -> Box:
    """A box with sides of shares `scales` of the short side at one of 13 places (Wang et al. 2016, TSN).

    Height and width take the same or neighbouring scales; the places are the centre, the corners, the middles of the
    sides and the centres of the four quarters of the range.
    """
    count = len(scales)
    pairs = [(i, j) for i in range(count) for j in range(count) if abs(i - j) <= 1]
    box_height, box_width = (round(scales[i] * min(height, width)) for i in pairs[rng.integers(len(pairs))])
    places = [(i, j) for i in (0, 2, 4) for j in (0, 2, 4)] + [(i, j) for i in (1, 3) for j in (1, 3)]
    row, column = places[rng.integers(len(places))]
    return Box(row * (height - box_height) // 4, column * (width - box_width) // 4, box_height, box_width)


def moving_boxes(first: Box, last: Box, num_frames: int) -> list[Box]:
    """A box for each frame on the way from one to the other, in whole pixels."""
    return [Box(*sides) for sides in np.linspace(first, last, num_frames).astype(int).tolist()]


def uniform_box(height: int, width: int, crop: int) -> Box:
    """The largest square at one end of the long side (0: left or top), its center (1), or the other end (2).

    Where two places are as near to the center, it is the later one, as upstream.
    """
    side = min(height, width)
    return Box(math.ceil((height - side) * crop / 2), math.ceil((width - side) * crop / 2), side, side)


def whole(frames: np.ndarray) -> Box:
    return Box(0, 0, *frames.shape[1:3])


def cut(frames: np.ndarray, box: Box) -> np.ndarray:
    """The box of frames [T, H, W, C], a view."""
    return frames[:, box.top : box.top + box.height, box.left : box.left + box.width]


def short_side_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of a frame whose short side becomes `side`; the long one is rounded down, as upstream."""
    if min(height, width) == side:
        return height, width
    long = math.floor(max(height, width) / min(height, width) * side)  # in this order: the last bit decides
    return (side, long) if height <= width else (long, side)


def resize(frames: np.ndarray, height: int, width: int, *, antialias: bool = False) -> np.ndarray:
    """uint8 frames [T, H, W, C] in another size: bilinear, pixel centers at halves.

    Without `antialias` an output pixel is made of the four input pixels around its center however much smaller the
    frame becomes, as upstream; with it of all that it covers.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)  # channels last in memory
    if antialias:
        resized = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    else:
        # torch rounds to bytes after each axis, halves up. The second axis is done in the negative, where that is down,
        # and the two cancel: at half the size the mean error is 0.25 grey levels, as of rounding once, and not 0.5.
        wide = F.interpolate(pixels, (frames.shape[1], width), mode="bilinear")
        resized = F.interpolate(wide.bitwise_not_(), (height, width), mode="bilinear").bitwise_not_()
    return resized.permute(0, 2, 3, 1).contiguous().numpy()


def resize_short_side(frames: np.ndarray, side: int, *, antialias: bool = False) -> np.ndarray:
    """uint8 frames [T, H, W, C] with the short side at `side`."""
    return resize(frames, *short_side_size(*frames.shape[1:3], side), antialias=antialias)


def to_clip(frames: np.ndarray) -> Tensor:
    """uint8 frames [T, H, W, C] -> clip [C, T, H, W] in memory of its own."""
    return torch.from_numpy(np.array(frames.transpose(3, 0, 1, 2), order="C"))


def resized_clip(frames: np.ndarray, side: int, *, antialias: bool = False) -> Tensor:
    """uint8 frames [T, H, W, C] -> clip [C, T, h, w] with the short side at `side`."""
    num_frames, height, width, channels = frames.shape
    clip = np.empty((channels, num_frames, *short_side_size(height, width, side)), np.uint8)
    for first in range(0, num_frames, 4):  # a few at a time are still in the processor's cache when they are copied
        few = resize_short_side(frames[first : first + 4], side, antialias=antialias)
        clip[:, first : first + 4] = few.transpose(3, 0, 1, 2)
    return torch.from_numpy(clip)


def normalize(clips: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """uint8 clips [B, C, T, H, W] on any device -> float32 (pixel / 255 - mean) / std."""
    shape = (1, -1, 1, 1, 1)
    mean = torch.tensor(mean, device=clips.device).view(shape)
    std = torch.tensor(std, device=clips.device).view(shape)
    # One multiply and one add over the pixels.
    return torch.addcmul(-mean / std, clips, 1.0 / (255.0 * std))
