"""A picture of the data set `motion`, a row of frames per class: `python -m slowfast.datasets.motion_sheet PNG`."""

import argparse
import io
from pathlib import Path

import numpy as np

from slowfast.datasets.motion_scene import CLASSES, EASY, HARD, MotionStyle, render_clip


def draw_sheet(path: Path, style: MotionStyle, columns: int = 10, stride: int = 4) -> None:
    """Saves `columns` frames, `stride` apart at 30 frames a second, of one clip of every class."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(1.3 + columns, 0.78 * len(CLASSES)))
    figure.subplots_adjust(left=1.3 / (1.3 + columns), right=1, bottom=0, top=1, hspace=0.05)
    for label, axes in enumerate(figure.subplots(len(CLASSES))):
        clip = render_clip(np.random.default_rng((1, label)), label, style, fps=30)[::stride][:columns]
        framed = np.pad(clip, ((0, 0), (0, 0), (0, 3), (0, 0)), constant_values=255)
        axes.imshow(np.concatenate(list(framed), axis=1), interpolation="nearest")
        axes.set_ylabel(CLASSES[label].replace("_", " "), rotation="horizontal", ha="right", va="center")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=90)
    Image.open(picture).convert("RGB").quantize(128).save(path)  # a fraction of the size in full colour


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="PNG file to write")
    parser.add_argument("--hard", action="store_true", help="the style of motion_hard")
    arguments = parser.parse_args()
    draw_sheet(arguments.path, HARD if arguments.hard else EASY)


if __name__ == "__main__":
    main()
