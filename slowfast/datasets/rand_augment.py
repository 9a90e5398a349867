"""RandAugment (Cubuk et al. 2020) of whole clips, with the strings and level rules that timm gave video recipes.

Drawing and applying are apart: what is done to a clip is known before a pixel is touched.
"""

import math
import re
from typing import NamedTuple

import numpy as np

from slowfast.datasets import clip_ops
from slowfast.datasets.transform import Box, cut, whole

TOP_LEVEL = 10.0


def rotation(degrees: float, width: int, height: int) -> tuple[float, ...]:
    """The matrix of a turn about the centre of the frame, counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


# Operations that change a pixel by its own value, those that look at more of the frame, and maps of the frame.
POINTWISE = {
    "Invert": clip_ops.invert,
    "Posterize": clip_ops.posterize,
    "Solarize": clip_ops.solarize,
    "SolarizeAdd": clip_ops.solarize_add,
    "Brightness": clip_ops.brightness,
    "Color": clip_ops.color,
    "Hue": clip_ops.hue,
}
FRAMEWISE = {
    "AutoContrast": clip_ops.auto_contrast,
    "Equalize": clip_ops.equalize,
    "Contrast": clip_ops.contrast,
    "Sharpness": clip_ops.sharpness,
}
GEOMETRIC = {
    "Rotate": rotation,
    "ShearX": lambda share, width, height: (1, share, 0, 0, 1, 0),
    "ShearY": lambda share, width, height: (1, 0, 0, share, 1, 0),
    "TranslateX": lambda share, width, height: (1, 0, share * width, 0, 1, 0),
    "TranslateY": lambda share, width, height: (1, 0, 0, 0, 1, share * height),
}


class Operation(NamedTuple):
    """One operation with its value, if it has one, in its own unit: degrees, share, factor, bits, level.

    Shears are shares of the other side, shifts of the frame's own: TranslateX of its width, TranslateY of its height.
    `cubic` is the interpolation of the geometric ones, else linear.
    """

    name: str
    value: float | None = None
    cubic: bool = True

    def matrix(self, frames: np.ndarray) -> tuple[float, ...]:
        """Of a geometric one."""
        height, width = frames.shape[1:3]
        return GEOMETRIC[self.name](self.value, width, height)

    def reads(self, frames: np.ndarray, region: Box) -> Box:
        """The part of the frames that decides what `apply` makes of the region."""
        if self.name in POINTWISE:
            return region
        if self.name in GEOMETRIC:
            return clip_ops.source_box(self.matrix(frames), region, frames)
        return clip_ops.grown(region, frames) if self.name == "Sharpness" else whole(frames)

    def apply(self, frames: np.ndarray, region: Box) -> np.ndarray:
        """The region of the changed frames [T, H, W, C]."""
        value = () if self.value is None else (self.value,)
        if self.name in POINTWISE:
            return POINTWISE[self.name](cut(frames, region), *value)
        if self.name in FRAMEWISE:
            return FRAMEWISE[self.name](frames, *value, region=region)
        return clip_ops.affine(frames, self.matrix(frames), region, cubic=self.cubic)


def apply_and_cut(operations: list[Operation], frames: np.ndarray, box: Box) -> np.ndarray:
    """The box of the frames after all operations, each done for those pixels only that the later ones read."""
    regions = [box]
    for operation in reversed(operations):
        regions.append(operation.reads(frames, regions[-1]))
    for operation, region in zip(operations, regions[-2::-1], strict=True):
        changed = np.empty_like(frames)
        cut(changed, region)[:] = operation.apply(frames, region)
        frames = changed
    return cut(frames, box)


def negated(value: float, rng: np.random.Generator) -> float:
    return -value if rng.random() < 0.5 else value


# Share of the top level -> value, for each operation that has one.
LEVEL_RULES = {
    "Rotate": lambda share, rng: negated(30.0 * share, rng),
    "Posterize": lambda share, rng: int(4 * share),
    "Solarize": lambda share, rng: int(256 * share),
    "SolarizeAdd": lambda share, rng: int(110 * share),
    "Color": lambda share, rng: 1.8 * share + 0.1,
    "Contrast": lambda share, rng: 1.8 * share + 0.1,
    "Brightness": lambda share, rng: 1.8 * share + 0.1,
    "Sharpness": lambda share, rng: 1.8 * share + 0.1,
    "ShearX": lambda share, rng: negated(0.3 * share, rng),
    "ShearY": lambda share, rng: negated(0.3 * share, rng),
    "TranslateX": lambda share, rng: negated(0.45 * share, rng),
    "TranslateY": lambda share, rng: negated(0.45 * share, rng),
}
# `inc1`: those whose effect would not grow with the level.
INCREASING_RULES = {
    "Posterize": lambda share, rng: 4 - int(4 * share),
    "Solarize": lambda share, rng: 256 - int(256 * share),
    "Color": lambda share, rng: 1.0 + negated(0.9 * share, rng),
    "Contrast": lambda share, rng: 1.0 + negated(0.9 * share, rng),
    "Brightness": lambda share, rng: 1.0 + negated(0.9 * share, rng),
    "Sharpness": lambda share, rng: 1.0 + negated(0.9 * share, rng),
}
NAMES = (*("AutoContrast", "Equalize", "Invert"), *LEVEL_RULES)

# `w0`: probabilities of being chosen, without repetition.
WEIGHTS = {
    **{"Rotate": 0.3, "ShearX": 0.2, "ShearY": 0.2, "TranslateX": 0.1, "TranslateY": 0.1},
    **{"Color": 0.025, "Sharpness": 0.025, "AutoContrast": 0.025},
    **{"Solarize": 0.005, "SolarizeAdd": 0.005, "Contrast": 0.005, "Brightness": 0.005, "Equalize": 0.005},
}


class RandAugment:
    """Of 15 operations, `number` are chosen with repetition; each is done with probability `prob` at a level drawn
    from N(level, level_std), cut to 0 .. 10."""

    def __init__(
        self,
        *,
        level: float = TOP_LEVEL,
        number: int = 2,
        prob: float = 0.5,
        level_std: float = 0.0,
        increasing: bool = False,
        weighted: bool = False,
        cubic: bool = True,
    ):
        self.level, self.level_std, self.number, self.prob, self.cubic = level, level_std, number, prob, cubic
        self.increasing = increasing
        self.weights = [WEIGHTS.get(name, 0.0) for name in NAMES] if weighted else None

    @classmethod
    def from_string(cls, text: str, *, cubic: bool) -> "RandAugment":
        """From `rand` and sections in any order: m9 level, n2 operations, p0.5 probability, mstd0.5 spread of the
        level, inc1 rules whose effect grows with the level, w0 weighted choice.

        Raises:
            ValueError: another text.
        """
        values = {}
        kind, *sections = text.split("-")
        for section in sections:
            match = re.fullmatch(r"(m|n|p|mstd|inc|w)(\d+\.?\d*)", section)
            if not match or (match[1] in ("n", "inc", "w") and "." in match[2]) or match[1] in values:
                kind = None
                break
            values[match[1]] = float(match[2])
        if kind != "rand" or values.get("w", 0.0) != 0.0 or values.get("n", 2.0) < 1:
            raise ValueError(
                f"AUG.AA_TYPE {text!r} is not rand with sections m, n (at least 1), p, mstd, inc and w0, each once, "
                "such as rand-m7-n4-mstd0.5-inc1. Correct it, or leave it empty for none."
            )
        return cls(
            level=values.get("m", TOP_LEVEL),
            number=int(values.get("n", 2)),
            prob=values.get("p", 0.5),
            level_std=values.get("mstd", 0.0),
            increasing=bool(values.get("inc", 0)),
            weighted="w" in values,
            cubic=cubic,
        )

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """What is done to one clip, the same for all its frames."""
        chosen = rng.choice(NAMES, self.number, replace=self.weights is None, p=self.weights)
        return [self.with_value(str(name), rng) for name in chosen if rng.random() < self.prob]

    def with_value(self, name: str, rng: np.random.Generator) -> Operation:
        share = min(max(rng.normal(self.level, self.level_std), 0.0), TOP_LEVEL) / TOP_LEVEL
        rules = LEVEL_RULES | INCREASING_RULES if self.increasing else LEVEL_RULES
        return Operation(name, rules[name](share, rng) if name in rules else None, self.cubic)
