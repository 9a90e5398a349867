"""Image operations on whole clips: uint8 frames [T, H, W, C] in and out, all frames alike, with PIL's numbers.

Operations that look at more than a pixel take a `region` and give only that part of the result.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageOps, ImageStat
from torch import Tensor

from slowfast.datasets.transform import Box, cut

FILL = 128  # grey of what comes from outside the frame


def look_up(frames: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Every pixel value replaced by its entry in `table`, 256 values."""
    # bytes.translate costs half of what indexing an array by an array does.
    values = bytearray(np.ascontiguousarray(frames)).translate(table.astype(np.uint8).tobytes())
    return np.frombuffer(values, np.uint8).reshape(frames.shape)


def invert(frames: np.ndarray) -> np.ndarray:
    return ~frames


def posterize(frames: np.ndarray, bits: int) -> np.ndarray:
    """Keeps the highest `bits` bits."""
    return frames & np.uint8(256 - (1 << (8 - bits)))


def solarize(frames: np.ndarray, threshold: int) -> np.ndarray:
    """Inverts pixels of `threshold` and above."""
    values = np.arange(256)
    return look_up(frames, np.where(values < threshold, values, 255 - values))


def solarize_add(frames: np.ndarray, amount: int) -> np.ndarray:
    """Adds to pixels below 128."""
    values = np.arange(256)
    return look_up(frames, np.where(values < 128, np.minimum(values + amount, 255), values))


def brightness(frames: np.ndarray, factor: float) -> np.ndarray:
    """0 is black, 1 the clip itself."""
    return look_up(frames, np.clip(np.arange(256, dtype=np.float32) * np.float32(factor), 0, 255))


def color(frames: np.ndarray, factor: float) -> np.ndarray:
    """Saturation: 0 is grey, 1 the clip itself."""
    return per_frame(frames, lambda image: ImageEnhance.Color(image).enhance(factor))


def hue(frames: np.ndarray, share: float) -> np.ndarray:
    """Turns hues by a share of the full circle."""

    def turn(image: Image.Image) -> Image.Image:
        channels = list(image.convert("HSV").split())
        channels[0] = channels[0].point([(value + round(255 * share)) % 256 for value in range(256)])
        return Image.merge("HSV", channels).convert("RGB")

    return per_frame(frames, turn)


def sharpness(frames: np.ndarray, factor: float, region: Box) -> np.ndarray:
    """0 is smoothed by PIL's 3 x 3 filter, 1 the clip itself."""
    # One more pixel around, where there is one.
    top, left = max(region.top - 1, 0), max(region.left - 1, 0)
    bottom = min(region.top + region.height + 1, frames.shape[1])
    right = min(region.left + region.width + 1, frames.shape[2])
    around = cut(frames, Box(top, left, bottom - top, right - left))
    sharpened = per_frame(around, lambda image: ImageEnhance.Sharpness(image).enhance(factor))
    return cut(sharpened, Box(region.top - top, region.left - left, region.height, region.width))


def per_frame(frames: np.ndarray, function: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """A function of a PIL image applied to each frame: measured faster than the same on tensors."""
    return np.stack([np.asarray(function(Image.fromarray(frame))) for frame in frames])


def auto_contrast(frames: np.ndarray, region: Box) -> np.ndarray:
    """Each channel of each frame stretched to 0 .. 255."""
    return cut(per_frame(frames, ImageOps.autocontrast), region)


def equalize(frames: np.ndarray, region: Box) -> np.ndarray:
    """Each channel of each frame with a flat histogram."""
    return cut(per_frame(frames, ImageOps.equalize), region)


def contrast(frames: np.ndarray, factor: float, region: Box) -> np.ndarray:
    """0 is each frame's mean grey, 1 the clip itself."""
    changed = []
    for frame, part in zip(frames, cut(frames, region), strict=True):
        mean = int(ImageStat.Stat(Image.fromarray(frame).convert("L")).mean[0] + 0.5)
        values = np.float32(mean) + np.float32(factor) * (np.arange(256, dtype=np.float32) - mean)
        changed.append(look_up(part, np.clip(values, 0, 255)))
    return np.stack(changed)


def affine(frames: np.ndarray, matrix: tuple[float, ...], region: Box, *, cubic: bool) -> np.ndarray:
    """The frames seen through an affine map: output pixel (x, y) shows (a x + b y + c, d x + e y + f).

    `matrix` is (a, b, c, d, e, f); centres of pixels lie at halves. Interpolated by PIL's cubic (a = -1) or linearly.
    An output pixel is one weighted sum of input pixels, the same in all frames and channels, so that their T * C
    values are summed at once: several times faster than resampling frame after frame.
    """
    num_frames, height, width, channels = frames.shape
    a, b, c, d, e, f = matrix
    rows = torch.arange(region.height)[:, None] + (region.top + 0.5)
    columns = torch.arange(region.width) + (region.left + 0.5)
    x, y = a * columns + b * rows + c, d * columns + e * rows + f  # [h, w]
    if (a, b, c) == (1, 0, 0):
        x_pixels, x_weights = whole_pixels(columns)
    else:
        x_pixels, x_weights = neighbours(x, width, cubic=cubic)
    if (d, e, f) == (0, 1, 0):
        y_pixels, y_weights = whole_pixels(rows)
    else:
        y_pixels, y_weights = neighbours(y, height, cubic=cubic)
    pixels = (y_pixels[..., :, None] * width + x_pixels[..., None, :]).flatten(0, 1).flatten(1)  # [h w, taps]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x_weights = x_weights * inside[..., None]
    weights = (y_weights[..., :, None] * x_weights[..., None, :]).flatten(0, 1).flatten(1)
    # A byte with its top bit flipped is, read as signed, the byte less 128; numpy transposes bytes faster than torch.
    signed = np.ascontiguousarray((frames ^ np.uint8(FILL)).reshape(num_frames, -1).T).view(np.int8)
    values = torch.from_numpy(signed).float()
    sums = F.embedding_bag(pixels, values.view(height * width, -1), mode="sum", per_sample_weights=weights)
    # PIL cuts the fraction off; the weights' sum is 1 up to rounding, and 0 outside.
    sums = sums.add_(FILL + 1e-3).clamp_(0, 255).to(torch.uint8)
    seen = np.ascontiguousarray(sums.view(-1, num_frames).numpy().T)
    return seen.reshape(num_frames, region.height, region.width, channels)


def neighbours(position: Tensor, size: int, *, cubic: bool) -> tuple[Tensor, Tensor]:
    """Pixels around positions [...] along one axis, int32 [..., taps], and their weights; the border repeats."""
    before = torch.floor(position - 0.5)
    t = position - 0.5 - before
    if cubic:
        weights = torch.stack([-t * (1 - t) ** 2, 1 - (2 - t) * t**2, t * (1 + t - t**2), -(1 - t) * t**2], -1)
    else:
        weights = torch.stack([1 - t, t], -1)
    offsets = torch.arange(-1, 3) if cubic else torch.arange(2)
    return (before.int()[..., None] + offsets.int()).clamp_(0, size - 1), weights


def whole_pixels(position: Tensor) -> tuple[Tensor, Tensor]:
    """The same for positions that are centres of pixels: one each, of weight 1."""
    return position.int()[..., None], torch.ones(1)
