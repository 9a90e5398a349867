"""What is measured of video input; runs on any tree's `slowfast`, so it asks little more of it than data sets."""

import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np

from slowfast.config import get_cfg
from slowfast.datasets import build_dataset, build_loader

AUGMENTATION = (
    *("AUG.ENABLE", True, "AUG.NUM_SAMPLE", 2, "AUG.AA_TYPE", "rand-m7-n4-mstd0.5-inc1", "AUG.RE_PROB", 0.25),
    *("DATA.TRAIN_JITTER_SCALES_RELATIVE", [0.08, 1.0], "DATA.TRAIN_JITTER_ASPECT_RELATIVE", [0.75, 1.3333]),
)

STAGES = ("decode", "transform", "sample", "loader")


def benchmark_config(path: str, split: str, args: Namespace, folder: Path):
    for name in ("train", "test"):
        (folder / f"{name}.csv").write_text(f"{path} 0\n", encoding="utf-8")
    cfg = get_cfg()
    (frames, rate), (clips, crops) = args.clip, args.views
    cfg.merge_from_list(
        [
            *("DATA.PATH_TO_DATA_DIR", str(folder), "DATA.DECODING_BACKEND", "decord", "DATA.NUM_FRAMES", frames),
            *("DATA.SAMPLING_RATE", rate, "DATA.TRAIN_CROP_SIZE", args.crop, "DATA.TEST_CROP_SIZE", args.crop),
            *("TEST.NUM_ENSEMBLE_VIEWS", clips, "TEST.NUM_SPATIAL_CROPS", crops),
            *(AUGMENTATION if split == "augmented" else ()),
        ]
    )
    return cfg


def stages(path: str, split: str, args: Namespace) -> Callable[[str], object]:
    """A function that does one of STAGES for a split's sample of a video: all its copies, or all its views."""
    name = "test" if split == "test" else "train"
    with tempfile.TemporaryDirectory() as folder:
        cfg = benchmark_config(path, split, args, Path(folder))
        cfg.merge_from_list(["NUM_GPUS", 0, "DATA_LOADER.NUM_WORKERS", 0, "TRAIN.BATCH_SIZE", 1, "TEST.BATCH_SIZE", 1])
        dataset, loader = build_dataset(cfg, name), build_loader(cfg, name)
        only_transforms = without_decoding(build_dataset(cfg, name), split)
    ours, epochs = our_stages(dataset, path, split), count()
    made = {
        "decode": ours["frames"],
        "transform": lambda: only_transforms[(next(epochs), 0)],
        "sample": ours["sample"],
        "loader": lambda: list(loader),
    }
    return lambda stage: made[stage]()


def without_decoding(dataset, split: str):
    """The data set with one decoded clip, or one video's test clips, kept in place of its reading."""
    if split == "test":
        kept_clips = dataset.read_clips(dataset.entries[0])
        dataset.read_clips = lambda entry: kept_clips
    else:
        kept = dataset.read(0, dataset.clips[0], next(generators()))
        dataset.read = lambda video, clip, rng: kept
    return dataset


def our_stages(dataset, path: str, split: str) -> dict[str, Callable[[], object]]:
    """Three calls that each go a step further: open, decode, make the whole sample."""

    def opened():
        from slowfast.datasets.video_index import open_video

        with open_video(path):
            pass

    if split == "test":
        return {
            "open": opened,
            "frames": lambda: dataset.read_clips(dataset.entries[0]),
            "sample": lambda: dataset[0],
        }
    epochs, draws = count(), generators()
    return {
        "open": opened,
        "frames": lambda: dataset.read(0, dataset.clips[0], next(draws)),
        "sample": lambda: dataset[(next(epochs), 0)],
    }


def generators() -> Iterator[np.random.Generator]:
    """The same random positions for each way and stage: those of the data set's first video in every epoch."""
    seed = get_cfg().RNG_SEED
    return (np.random.default_rng((seed, epoch, 0)) for epoch in count())
