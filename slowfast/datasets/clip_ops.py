"""Image operations on whole clips: uint8 frames [T, H, W, C] in and out, all frames alike, with PIL's numbers.

Operations that look at more than a pixel take a `region` and give only that part of the result.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageStat
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
    return as_one_image(frames, lambda image: ImageEnhance.Color(image).enhance(factor))


def hue(frames: np.ndarray, share: float) -> np.ndarray:
    """Turns hues by a share of the full circle."""

    def turn(image: Image.Image) -> Image.Image:
        channels = list(image.convert("HSV").split())
        channels[0] = channels[0].point([(value + round(255 * share)) % 256 for value in range(256)])
        return Image.merge("HSV", channels).convert("RGB")

    return as_one_image(frames, turn)


def as_one_image(frames: np.ndarray, function: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """A pointwise function of a PIL image applied to all frames below each other."""
    image = Image.fromarray(np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:]))
    return np.asarray(function(image)).reshape(frames.shape)


def sharpness(frames: np.ndarray, factor: float, region: Box) -> np.ndarray:
    """0 is smoothed by PIL's 3 x 3 filter, 1 the clip itself."""
    around = grown(region, frames)
    images = (Image.fromarray(frame) for frame in cut(frames, around))
    sharpened = np.stack([np.asarray(ImageEnhance.Sharpness(image).enhance(factor)) for image in images])
    return cut(sharpened, Box(region.top - around.top, region.left - around.left, region.height, region.width))


def grown(region: Box, frames: np.ndarray) -> Box:
    """The region with one more pixel around, where there is one."""
    top, left = max(region.top - 1, 0), max(region.left - 1, 0)
    bottom = min(region.top + region.height + 1, frames.shape[1])
    right = min(region.left + region.width + 1, frames.shape[2])
    return Box(top, left, bottom - top, right - left)


def auto_contrast(frames: np.ndarray, region: Box) -> np.ndarray:
    """Each channel of each frame stretched to 0 .. 255."""

    def stretch(counts: np.ndarray) -> np.ndarray:
        low, high = (counts > 0).argmax(-1), 255 - (counts[..., ::-1] > 0).argmax(-1)
        scale = 255.0 / np.maximum(high - low, 1)[..., None]
        return np.where((high > low)[..., None], np.arange(256) * scale - low[..., None] * scale, np.arange(256))

    return by_histograms(frames, stretch, region)


def equalize(frames: np.ndarray, region: Box) -> np.ndarray:
    """Each channel of each frame with a flat histogram."""

    def flatten(counts: np.ndarray) -> np.ndarray:
        below = counts.cumsum(-1) - counts
        step = (below * (counts > 0)).max(-1, keepdims=True) // 255  # of pixels below the highest value there is
        return np.where(step > 0, (step // 2 + below) // np.maximum(step, 1), np.arange(256))

    return by_histograms(frames, flatten, region)


def by_histograms(frames: np.ndarray, tables: Callable[[np.ndarray], np.ndarray], region: Box) -> np.ndarray:
    """The region with values replaced by tables [T, C, 256] made of the histograms, of that shape, of whole frames."""
    counts = np.array([Image.fromarray(frame).histogram() for frame in frames]).reshape(len(frames), -1, 256)
    found = np.clip(tables(counts), 0, 255).astype(np.uint8).reshape(len(frames), -1).tolist()
    parts = (Image.fromarray(part) for part in cut(frames, region))
    return np.stack([np.asarray(part.point(table)) for part, table in zip(parts, found, strict=True)])


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
    read = source_box(matrix, region, frames)
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
    x_pixels, y_pixels = x_pixels - read.left, y_pixels - read.top
    pixels = (y_pixels[..., :, None] * read.width + x_pixels[..., None, :]).flatten(0, 1).flatten(1)  # [h w, taps]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x_weights = x_weights * inside[..., None]
    weights = (y_weights[..., :, None] * x_weights[..., None, :]).flatten(0, 1).flatten(1)
    # A byte with its top bit flipped is, read as signed, the byte less 128; numpy transposes bytes faster than torch.
    signed = np.ascontiguousarray((cut(frames, read) ^ np.uint8(FILL)).reshape(num_frames, -1).T).view(np.int8)
    values = torch.from_numpy(signed).float()
    sums = F.embedding_bag(pixels, values.view(read.height * read.width, -1), mode="sum", per_sample_weights=weights)
    # PIL cuts the fraction off; the weights' sum is 1 up to rounding, and 0 outside.
    sums = sums.add_(FILL + 1e-3).clamp_(0, 255).to(torch.uint8)
    seen = np.ascontiguousarray(sums.view(-1, num_frames).numpy().T)
    return seen.reshape(num_frames, region.height, region.width, channels)


def source_box(matrix: tuple[float, ...], region: Box, frames: np.ndarray) -> Box:
    """The part of the frames that `affine` reads for a region."""
    a, b, c, d, e, f = matrix
    columns, rows = (region.left, region.left + region.width), (region.top, region.top + region.height)
    corners = [(x, y) for x in columns for y in rows]
    top, height = span([d * x + e * y + f for x, y in corners], frames.shape[1])
    left, width = span([a * x + b * y + c for x, y in corners], frames.shape[2])
    return Box(top, left, height, width)


def span(positions: list[float], size: int) -> tuple[int, int]:
    """First and number of the pixels along an axis within three of the positions; those at the border if outside."""
    first, last = (min(max(math.floor(x), 0), size - 1) for x in (min(positions) - 3, max(positions) + 3))
    return first, last - first + 1


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
