"""A picture of what the model trains on, a line of frames per clip:

python -m slowfast.datasets.clip_sheet PNG --cfg exp/NAME/config.yaml [KEY VALUE ...]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from slowfast.config import load_config
from slowfast.datasets.base import VideoDataset
from slowfast.datasets.build import build_dataset
from slowfast.datasets.doctor import colours


def draw_clips(path: Path, dataset: VideoDataset, epoch: int = 0, lines: int = 12, columns: int = 8) -> None:
    """Saves frames of an epoch's samples, all copies of one video below each other, videos spread over the list."""
    from PIL import Image, ImageDraw

    videos = max(min(-(-lines // dataset.copies), len(dataset)), 1)
    rows = np.linspace(0, len(dataset) - 1, videos).astype(int).tolist()
    samples = [sample for row in rows for sample in dataset[(epoch, row)]]
    side, margin = dataset.crop_size, 14
    columns = min(columns, dataset.num_frames)
    sheet = Image.new("RGB", (columns * (side + 2), len(samples) * (side + margin + 2)), "white")
    draw = ImageDraw.Draw(sheet)
    for line, sample in enumerate(samples):
        top = line * (side + margin + 2)
        name = Path(dataset.entries[sample.video].path).name
        draw.text((2, top + 1), f"label {sample.label}  {name}".encode("ascii", "replace").decode(), fill="black")
        clip = sample.clip.flip(0) if dataset.reverse_channels else sample.clip
        shown = np.linspace(0, clip.shape[1] - 1, columns).astype(int)
        for column, frame in enumerate(clip[:, shown].permute(1, 2, 3, 0).numpy()):
            sheet.paste(Image.fromarray(colours(frame)), (column * (side + 2), top + margin))
    sheet.save(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m slowfast.datasets.clip_sheet", description=__doc__.split(",")[0])
    parser.add_argument("path", type=Path, help="PNG file to write")
    parser.add_argument("--cfg", type=Path, help="config file; without one the defaults")
    parser.add_argument("--epoch", type=int, default=0, help="whose random draws are shown")
    parser.add_argument("--lines", type=int, default=12, help="clips to show")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config keys, such as AUG.AA_TYPE rand-m9-n2")
    args = parser.parse_intermixed_args()
    try:
        draw_clips(args.path, build_dataset(load_config(args.cfg, args.opts), "train"), args.epoch, args.lines)
    except (ValueError, OSError, KeyError) as error:
        print(f"error: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
