"""Makes the list files of known data sets from their official annotations, and of any folder of videos by class.

    python -m slowfast.datasets.prepare ucf101 --root VIDEOS --annotations ucfTrainTestlist --out lists/ucf101

writes train.csv, val.csv, test.csv and classes.json to --out, and says what is missing.
"""

import argparse
import json
import os
import sys
from itertools import count
from pathlib import Path

import numpy as np

from slowfast.datasets.annotations import (
    DATASETS,
    NTU_TRAINING,
    PUBLISHED,
    UNWRITABLE,
    PrepareError,
    Video,
    read_labels,
)
from slowfast.datasets.folders import IMAGE_SUFFIXES, files_in
from slowfast.datasets.lists import quoted
from slowfast.datasets.resize import resize_videos
from slowfast.utils.texts import shortened


def prepare(args) -> None:
    """Makes the lists of `args.name`, without the videos that are not there, and says what was done.

    Raises:
        PrepareError, TextError: annotations or videos are missing or not as expected.
    """
    if not args.root.is_dir():
        raise PrepareError(f"There is no folder {args.root}. Set --root to where the videos are.")
    lists = DATASETS[args.name](args)
    labels = read_labels(args.label_map, "Check --label-map.") if args.label_map else lists.labels
    splits = {split: present(videos, split, args.root) for split, videos in lists.splits.items()}
    if args.short_side:
        splits, args.root = resized(args, splits), args.resized
    check_counts(args, {split: len(videos) for split, videos in splits.items()})
    if "val" not in splits:
        splits["train"], splits["val"] = hold_out(splits["train"], args.holdout, args.seed)
    if not splits["val"]:
        splits["val"] = splits["test"]
        print("warning: val is test, as published lists have it: a checkpoint chosen on val is chosen on the test set.")
        print("         --holdout 0.1 takes a tenth of the training videos for validation instead.")
    args.out.mkdir(parents=True, exist_ok=True)
    for split, videos in splits.items():
        path = args.out / file_name(args, split)
        write_list(path, "".join(list_line(args, video, labels) for video in videos))
        print(f"{path}: {len(videos)} videos, {len({video.name for video in videos})} classes")
    write_list(args.out / "classes.json", json.dumps(labels, indent=1, ensure_ascii=False))
    print(f"Use them with: {' '.join(settings(args, labels))}")


def write_list(path: Path, text: str) -> None:
    """Writes a list; another one of its name, which may have been edited, is kept under the next free name."""
    content = text.encode()
    if path.exists() and path.read_bytes() != content:
        kept = next(name for i in count(1) if not (name := path.with_name(f"{path.name}.{i}")).exists())
        path.rename(kept)
        print(f"{path} was there with other content, which is now {kept.name}.")
    path.write_bytes(content)


def present(videos: list[Video], split: str, root: Path) -> list[Video]:
    """The videos that exist."""
    # Not Path.exists, for which a name that is too long is an error.
    there = [video for video in videos if os.path.exists(root / video.path)]
    if len(there) < len(videos):
        missing = shortened(next(video.path for video in videos if not os.path.exists(root / video.path)))
        print(f"warning: {len(videos) - len(there)} of {len(videos)} {split} videos are not there, such as {missing}.")
    if not there:
        raise PrepareError(f"None of the {len(videos)} {split} videos is in {root}. Is --root right?")
    return there


def resized(args, splits: dict[str, list[Video]]) -> dict[str, list[Video]]:
    """The videos as they are called in --resized, where they are written if they are not there; without broken ones."""
    targets = {video.path: str(Path(video.path).with_suffix(".mp4")) for videos in splits.values() for video in videos}
    if len(set(targets.values())) < len(targets):
        raise PrepareError("Two videos differ in their suffix alone, and would be one file in --resized.")
    files = [args.root / path for path in targets], [args.resized / path for path in targets.values()]
    broken = {}
    done = resize_videos(*files, short_side=args.short_side, gop=args.gop, jobs=args.jobs)
    for number, (source, error) in enumerate(done, 1):
        if error:
            broken[str(source.relative_to(args.root))] = error
            print(f"warning: left out: {error}")
        if number % 1000 == 0 or number == len(targets):
            print(f"{number - len(broken)} of {len(targets)} videos in {args.resized}")
    return {
        split: [video._replace(path=targets[video.path]) for video in videos if video.path not in broken]
        for split, videos in splits.items()
    }


def check_counts(args, counts: dict[str, int]) -> None:
    expected = PUBLISHED.get((args.name, args.protocol if args.name == "ntu60" else args.split))
    if expected and (counts["train"], counts["test"]) != expected:
        print(f"warning: {counts['train']} train and {counts['test']} test videos; the published lists have", end=" ")
        print(f"{expected[0]} and {expected[1]}.")


def hold_out(videos: list[Video], share: float, seed: int) -> tuple[list[Video], list[Video]]:
    """(kept, held out): a random `share` of every class, with the list's order kept."""
    rng, held = np.random.default_rng(seed), set()
    for name in sorted({video.name for video in videos}):
        rows = [row for row, video in enumerate(videos) if video.name == name]
        held.update(rng.permutation(rows)[: round(len(rows) * share)].tolist())
    return [v for i, v in enumerate(videos) if i not in held], [v for i, v in enumerate(videos) if i in held]


def list_line(args, video: Video, labels: dict[str, int]) -> str:
    if video.name not in labels:
        raise PrepareError(f"There is no class {shortened(video.name)!r} of {shortened(video.path)} in the label map.")
    path = args.root / video.path
    listed = video.path if args.relative else str(path.absolute())
    if UNWRITABLE.search(listed):
        raise PrepareError(f"{listed!r} has letters that no list can hold. Rename it.")
    fields = [quoted(listed)]
    if args.frames:
        fields.append(str(len(files_in(path, IMAGE_SUFFIXES))))
    return " ".join([*fields, str(labels[video.name])]) + "\n"


def file_name(args, split: str) -> str:
    # Frame folders have upstream's names, where validation serves val and test.
    name = {"val": "validation", "test": "validation"}.get(split, split)
    return f"somesome{args.name[-2:]}_rgb_{name}_split.txt" if args.frames else f"{split}.csv"


def settings(args, labels: dict[str, int]) -> list[str]:
    """The config keys that use these lists."""
    keys = ["DATA.PATH_TO_DATA_DIR", str(args.out), "MODEL.NUM_CLASSES", str(max(labels.values()) + 1)]
    if args.relative:
        keys += ["DATA.PATH_PREFIX", str(args.root)]
    if args.frames:
        keys += ["TRAIN.DATASET sth TEST.DATASET sth", "DATA.LABEL_PATH_TEMPLATE", file_name(args, "{}")]
    return keys


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m slowfast.datasets.prepare", description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=DATASETS, help="data set; `folder`: own videos in ROOT/CLASS/")
    parser.add_argument("--root", type=Path, required=True, help="folder of the videos (or frame folders)")
    parser.add_argument("--annotations", type=Path, help="folder of the official split files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the lists")
    parser.add_argument("--split", type=int, default=1, choices=(1, 2, 3), help="of ucf101 and hmdb51")
    parser.add_argument("--protocol", default="xsub", choices=NTU_TRAINING, help="of ntu60")
    parser.add_argument("--frames", action="store_true", help="ssv2: lists of frame folders instead of videos")
    parser.add_argument("--label-map", type=Path, help="json {class name: label} instead of the data set's own")
    parser.add_argument("--relative", action="store_true", help="paths relative to --root (set DATA.PATH_PREFIX)")
    parser.add_argument("--short-side", type=int, default=0, help="re-encode videos to this short side; 0: leave them")
    parser.add_argument("--resized", type=Path, help="folder for them; what is there already stays")
    parser.add_argument("--gop", type=int, default=12, help="frames from one keyframe of theirs to the next")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that re-encode")
    parser.add_argument("--holdout", type=float, default=0.0, help="share of train that becomes val, else val is test")
    parser.add_argument("--shares", type=float, nargs=3, default=(0.7, 0.15, 0.15), help="folder: train, val, test")
    parser.add_argument("--seed", type=int, default=0, help="of --holdout and --shares")
    args = parser.parse_args(argv)
    if args.name not in ("ntu60", "folder") and args.annotations is None:
        parser.error(f"{args.name} needs --annotations, the folder of its official split files")
    if args.frames and args.name not in ("ssv2", "sthv1"):
        parser.error(f"--frames is for ssv2, not for {args.name}")
    if bool(args.short_side) != bool(args.resized) or (args.short_side and (args.frames or args.name == "sthv1")):
        parser.error("--short-side and --resized go together, and are for videos")
    if args.holdout and (args.frames or args.name in ("sthv1", "folder")):
        parser.error(
            "--holdout is for video lists whose data set has no val; frame folders have one list for val and test"
        )
    if not 0 <= args.holdout < 1 or min(args.shares) < 0 or abs(sum(args.shares) - 1) > 1e-6:
        parser.error("--holdout must be in [0, 1), and the three --shares must sum to 1")
    return args


def main() -> int:
    try:
        prepare(parse_args(sys.argv[1:]))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
