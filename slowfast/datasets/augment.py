"""From the frames of a random clip to what the model trains on: everything drawn once a clip, all in uint8."""

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets import clip_ops
from slowfast.datasets.erasing import RandomErasing
from slowfast.datasets.rand_augment import Operation, RandAugment, apply_and_cut
from slowfast.datasets.transform import (
    Box,
    cut,
    jittered_box,
    moving_boxes,
    multi_scale_box,
    resize,
    resized_box,
    to_clip,
    whole,
)

DrawBox = Callable[..., Box]  # (height, width, rng=...)


class ColourJitter:
    """Grey with probability `grey_prob`, then brightness, contrast, saturation and hue changed in random order.

    Factors are uniform over 1 - x .. 1 + x (not below 0), the hue's turn over -hue .. hue of the full circle.
    """

    def __init__(self, *, strengths: list[float], hue: float, grey_prob: float):
        self.strengths = dict(zip(("Brightness", "Contrast", "Color"), strengths, strict=True))
        self.hue, self.grey_prob = hue, grey_prob

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        operations = [
            Operation(name, rng.uniform(max(1.0 - x, 0.0), 1.0 + x)) for name, x in self.strengths.items() if x
        ]
        if self.hue:
            operations.append(Operation("Hue", rng.uniform(-self.hue, self.hue)))
        order = rng.permutation(len(operations))
        grey = [Operation("Color", 0.0)] if rng.random() < self.grey_prob else []
        return grey + [operations[i] for i in order]


class PCALighting:
    """Adds to all pixels one colour: eigenvectors of the colours of ImageNet times N(0, std) times their spreads
    (Krizhevsky et al. 2012, section 4.1)."""

    def __init__(self, *, std: float, spreads: list[float], vectors: list[list[float]]):
        self.std, self.colours = std, np.array(vectors) * np.array(spreads)  # [channel, component]

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> None:
        """Changes a uint8 clip [C, T, H, W] in place."""
        for channel, shift in zip(clip, 255 * self.colours @ rng.normal(0.0, self.std, 3), strict=True):
            table = np.clip(np.rint(np.arange(256) + shift), 0, 255)
            channel.copy_(torch.from_numpy(clip_ops.look_up(channel.numpy(), table)))


class RandomView:
    """Frames [T, H, W, C] of a clip -> uint8 clip [C, T, size, size]: changed, cropped, mirrored, lit and erased."""

    def __init__(
        self,
        size: int,
        draw_box: DrawBox,
        *,
        flip: bool,
        antialias: bool,
        kept_labels: frozenset[int] = frozenset(),
        motion_shift: bool = False,
        reverse_channels: bool = False,
        operations: tuple[RandAugment | ColourJitter, ...] = (),
        lighting: PCALighting | None = None,
        erasing: RandomErasing | None = None,
    ):
        """`flip` mirrors half of the clips but those of `kept_labels`; `motion_shift` moves the box over the clip."""
        self.size, self.draw_box, self.motion_shift = size, draw_box, motion_shift
        self.antialias = antialias
        self.flip, self.kept_labels, self.reverse_channels = flip, kept_labels, reverse_channels
        self.operations, self.lighting, self.erasing = operations, lighting, erasing

    def __call__(self, frames: np.ndarray, label: int, rng: np.random.Generator) -> Tensor:
        operations = [operation for source in self.operations for operation in source.draw(rng)]
        frames = self.crop(frames, operations, rng)
        if self.flip and rng.random() < 0.5 and label not in self.kept_labels:
            frames = frames[:, :, ::-1]
        clip = to_clip(frames)
        if self.lighting:
            self.lighting(clip, rng)
        if self.reverse_channels:
            clip = clip.flip(0)
        if self.erasing:
            self.erasing(clip, rng)
        return clip

    def crop(self, frames: np.ndarray, operations: list[Operation], rng: np.random.Generator) -> np.ndarray:
        num_frames, height, width, _channels = frames.shape
        box = self.draw_box(height, width, rng=rng)
        if not self.motion_shift:
            return self.resize(apply_and_cut(operations, frames, box))
        boxes = moving_boxes(box, self.draw_box(height, width, rng=rng), num_frames)
        changed = apply_and_cut(operations, frames, whole(frames))
        return np.concatenate([self.resize(cut(changed[i : i + 1], box)) for i, box in enumerate(boxes)])

    def resize(self, frames: np.ndarray) -> np.ndarray:
        return resize(frames, self.size, self.size, antialias=self.antialias)


def build_random_view(cfg, *, augmented: bool, kept_labels: frozenset[int]) -> RandomView:
    """The view of training (`augmented`), or of validation as upstream has it: cropped and mirrored only.

    Raises:
        ValueError: AUG.AA_TYPE is no RandAugment string, or clips have no colours to change.
    """
    enabled = augmented and cfg.AUG.ENABLE
    operations, lighting, erasing = [], None, None
    if augmented and cfg.DATA.SSL_COLOR_JITTER:
        strengths, hue = cfg.DATA.SSL_COLOR_BRI_CON_SAT, cfg.DATA.SSL_COLOR_HUE
        operations.append(ColourJitter(strengths=strengths, hue=hue, grey_prob=cfg.DATA.COLOR_RND_GRAYSCALE))
    if enabled and cfg.AUG.AA_TYPE:
        operations.append(RandAugment.from_string(cfg.AUG.AA_TYPE, cubic=cfg.AUG.INTERPOLATION == "bicubic"))
    if enabled and cfg.AUG.PCA_LIGHTING:
        spreads, vectors = cfg.DATA.TRAIN_PCA_EIGVAL, cfg.DATA.TRAIN_PCA_EIGVEC
        lighting = PCALighting(std=cfg.AUG.PCA_LIGHTING, spreads=spreads, vectors=vectors)
    if enabled and cfg.AUG.RE_PROB:
        mode, count, mean, std = cfg.AUG.RE_MODE, cfg.AUG.RE_COUNT, cfg.DATA.MEAN, cfg.DATA.STD
        erasing = RandomErasing(prob=cfg.AUG.RE_PROB, mode=mode, max_count=count, mean=mean, std=std)
    channels = cfg.DATA.INPUT_CHANNEL_NUM[0]
    if (operations or lighting) and channels != 3:
        raise ValueError(
            f"Clips of {channels} channels (DATA.INPUT_CHANNEL_NUM) have no colours to change. Set AUG.AA_TYPE '', "
            "AUG.PCA_LIGHTING 0 and DATA.SSL_COLOR_JITTER False."
        )
    return RandomView(
        cfg.DATA.TRAIN_CROP_SIZE,
        build_draw_box(cfg, augmented=augmented),
        flip=cfg.DATA.RANDOM_FLIP,
        antialias=cfg.DATA.RESIZE_ANTIALIAS,
        kept_labels=kept_labels,
        motion_shift=enabled and cfg.DATA.TRAIN_JITTER_MOTION_SHIFT,
        reverse_channels=cfg.DATA.REVERSE_INPUT_CHANNEL,
        operations=tuple(operations),
        lighting=lighting,
        erasing=erasing,
    )


def build_draw_box(cfg, *, augmented: bool) -> DrawBox:
    """How the crop is drawn: a share of the frame (AUG.ENABLE), multi-scale, or after a jitter of the short side."""
    if augmented and cfg.AUG.ENABLE and cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE:
        aspect = cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE or [1.0, 1.0]
        return partial(resized_box, area=cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, aspect=aspect)
    if augmented and cfg.DATA.TRAIN_CROP_SCALES:
        return partial(multi_scale_box, scales=cfg.DATA.TRAIN_CROP_SCALES)
    size, scales, inverse = cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.INV_UNIFORM_SAMPLE
    return partial(jittered_box, crop=size, scales=scales, inverse_uniform=inverse)


def handed_labels(names: list[str]) -> frozenset[int]:
    """Labels of classes that a mirror would make another: their name has the word left or right."""
    return frozenset(label for label, name in enumerate(names) if re.search(r"\b(left|right)\b", name.lower()))
