"""Clips of the embedded data set `motion`: three shapes over a drifting texture, whose class is how they move.

Eight classes in four pairs, each the time reversal of its partner. Four state variables describe every frame:
height and size of the shape in the middle, and the common height and size of the two outer ones. A class moves
one of them on a sawtooth of random phase, upwards or downwards, and freezes the others at a random value.
A sawtooth at random phase is uniform on [0, 1) at every instant, and so is a frozen draw: each frame alone
has the same distribution in all classes. No class tells left from right, so labels survive a horizontal flip.
Training clips of the easy style are easier (`training_style`), and partners are each other's time reversal there too.
"""

from dataclasses import dataclass, replace

import numpy as np

CLASSES = tuple(f"{which}_{how}" for which in ("middle", "outer") for how in ("rise", "fall", "approach", "recede"))
SHAPES = ("circle", "square")
NUM_FRAMES, HEIGHT, WIDTH = 40, 72, 96

CENTER_Y = (56.0, 16.0)  # px, of a shape at height 0 and 1
RADIUS = (3.0, 14.0)  # px; geometric in between
OUTER_X = 30.0  # px, from the middle shape to either outer one
SPREAD_X = 3.0  # px, by which the middle shape may stand left or right of the frame's centre


@dataclass(frozen=True)
class MotionStyle:
    """How hard the clips are to see; amplitudes in grey levels of 255."""

    contrast: float = 120.0  # of the shapes' colours to the mean background
    dark_shapes: float = 0.0  # share of the shapes that are darker than the background, not brighter
    noise: float = 3.0  # standard deviation of the sensor noise
    background: float = 5.0  # standard deviation of the background texture
    drift: float = 1.0  # px per second that the background moves, and twice that amplitude of shake
    flicker: float = 0.0  # relative standard deviation of the brightness from frame to frame
    period: tuple[float, float] = (0.7, 1.0)  # seconds of one sweep, shortest and longest
    centered: bool = False  # the variables that do not move stand in the middle of their range, not anywhere
    easier_training: bool = True  # clips of the training split are made easier by `training_style`


EASY = MotionStyle()
HARD = MotionStyle(
    contrast=55.0,
    dark_shapes=0.5,
    noise=12.0,
    background=24.0,
    drift=12.0,
    flicker=0.04,
    period=(0.9, 1.4),
    easier_training=False,
)


def render_clip(
    rng: np.random.Generator, label: int, style: MotionStyle, fps: float, num_frames: int = NUM_FRAMES
) -> np.ndarray:
    """A clip of class `CLASSES[label]` as frames [T, H, W, 3] uint8 RGB; every draw is from `rng`."""
    seconds = np.arange(num_frames, dtype=np.float32) / fps
    height, size, outer_height, outer_size = state_tracks(rng, label, style, seconds)
    mean_color = (rng.uniform(80, 140) + rng.uniform(-15, 15, 3)).astype(np.float32)
    frames = texture(rng, style, seconds)  # [T, 3, H, W], faster to paint on than with the channels innermost
    frames += mean_color[:, None, None]

    middle_x = WIDTH / 2 + rng.uniform(-SPREAD_X, SPREAD_X)
    places = ((0.0, height, size), (-OUTER_X, outer_height, outer_size), (OUTER_X, outer_height, outer_size))
    for offset, up, scale in places:
        x = np.full(num_frames, middle_x + offset)
        radius = RADIUS[0] * (RADIUS[1] / RADIUS[0]) ** scale
        paint_shape(frames, rng, x, between(CENTER_Y, up), radius, mean_color + shape_color(rng, style))

    frames *= 1 + style.flicker * rng.standard_normal((num_frames, 1, 1, 1), dtype=np.float32)
    seen = np.zeros((num_frames, HEIGHT, WIDTH, 3), np.float32)
    if style.noise:
        rng.standard_normal(out=seen, dtype=np.float32)
        seen *= style.noise
    for channel in range(3):
        seen[..., channel] += frames[:, channel]
    return np.clip(np.rint(seen, out=seen), 0, 255, out=seen).astype(np.uint8)


def training_style(rng: np.random.Generator, style: MotionStyle) -> MotionStyle:
    """The style of one training clip: without texture and noise and, for half of the clips, centered.

    So a network learns sooner which way things move, and more surely: exp/LOG.md has the figures. A style without
    `easier_training` stays as it is.
    """
    if not style.easier_training:
        return style
    return replace(style, noise=0.0, background=0.0, centered=bool(rng.random() < 0.5))


def state_tracks(rng: np.random.Generator, label: int, style: MotionStyle, seconds: np.ndarray) -> np.ndarray:
    """Height and size, then those of the outer shapes, in [0, 1), [4, T]: the class's own sweeps, the others rest."""
    start = rng.random((4, 1))
    states = np.repeat(np.full_like(start, 0.5) if style.centered else start, len(seconds), axis=1)
    direction = 1 if label % 2 == 0 else -1
    states[label // 2] = (start[label // 2] + direction * seconds / rng.uniform(*style.period)) % 1
    return states.astype(np.float32)


def between(ends: tuple[float, float], share: np.ndarray) -> np.ndarray:
    return ends[0] + (ends[1] - ends[0]) * share


def texture(rng: np.random.Generator, style: MotionStyle, seconds: np.ndarray, waves: int = 12) -> np.ndarray:
    """A coloured texture around 0 that drifts as before a shaky camera, [T, 3, H, W] float32.

    A sum of plane waves, because a shift by any fraction of a pixel is then a phase:
    sin(k (p - o) + a) = sin(k p + a) cos(k o) - cos(k p + a) sin(k o).
    """
    length, turn = rng.uniform(8, 40, waves), rng.uniform(0, 2 * np.pi, waves)  # px, rad
    k = 2 * np.pi / length * np.stack([np.cos(turn), np.sin(turn)])  # [2, waves]: x and y
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    phase = np.stack([x.ravel(), y.ravel()], 1) @ k + rng.uniform(0, 2 * np.pi, waves)  # [HW, waves]
    phase = phase.astype(np.float32)

    heading = rng.uniform(0, 2 * np.pi)
    offset = style.drift * np.outer(seconds, [np.cos(heading), np.sin(heading)])  # [T, 2] px
    shake = rng.uniform(1, 2, 2) * seconds[:, None] + rng.random(2)  # [T, 2] cycles
    offset += style.drift / 6 * np.sin(2 * np.pi * shake)

    color = rng.standard_normal((waves, 3)) * style.background * np.sqrt(2 / waves)
    in_space = np.concatenate([np.sin(phase), np.cos(phase)], 1).reshape(HEIGHT, WIDTH, 2 * waves)
    in_time = np.concatenate([np.cos(offset @ k), -np.sin(offset @ k)], 1)  # [T, 2 waves]
    weights = in_time[..., None] * np.concatenate([color, color])  # [T, 2 waves, 3]
    waves_of = weights.transpose(0, 2, 1).reshape(-1, 2 * waves).astype(np.float32)  # [T 3, 2 waves]
    # Row by row: one product for all would be shared out among BLAS's threads, which takes longer.
    rows = waves_of @ in_space.transpose(0, 2, 1)  # [H, T 3, W]
    return rows.reshape(HEIGHT, -1, 3, WIDTH).transpose(1, 2, 0, 3)


def shape_color(rng: np.random.Generator, style: MotionStyle) -> np.ndarray:
    """A shape's colour relative to the background's, [3]; its mean size over the channels is the contrast."""
    sign = -1 if rng.random() < style.dark_shapes else 1
    weights = rng.uniform(0.8, 1.2, 3)
    return (sign * style.contrast * weights / weights.mean()).astype(np.float32)


def paint_shape(
    frames: np.ndarray, rng: np.random.Generator, x: np.ndarray, y: np.ndarray, radius: np.ndarray, color
) -> None:
    """Paints a striped shape with centres x, y [T] px and radius [T] px onto frames [T, 3, H, W], in place."""
    reach = 1.2 * radius + 1
    left, right = (int(np.clip(edge, 0, WIDTH)) for edge in ((x - reach).min(), (x + reach).max() + 1))
    top, bottom = (int(np.clip(edge, 0, HEIGHT)) for edge in ((y - reach).min(), (y + reach).max() + 1))
    x, y, radius = (track[:, None, None] for track in (x, y, radius))
    u = (np.arange(left, right, dtype=np.float32) - x) / radius  # [T, 1, w]
    v = (np.arange(top, bottom, dtype=np.float32)[:, None] - y) / radius  # [T, h, 1]
    outline = signed_distance(SHAPES[rng.integers(len(SHAPES))], u, v) * radius
    cover = np.clip(0.5 - outline, 0, 1)  # antialiased over one pixel
    turn = rng.uniform(0, np.pi)
    stripes = 1 + 0.1 * np.sin(5 * (np.cos(turn) * u + np.sin(turn) * v), dtype=np.float32)
    for channel, value in enumerate(color):
        region = frames[:, channel, top:bottom, left:right]
        region += cover * (stripes * value - region)


def signed_distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Distance to the outline, negative inside, of a shape of radius about 1 at u, v (v downwards)."""
    return np.hypot(u, v) - 1 if shape == "circle" else np.maximum(abs(u), abs(v)) - 0.9
