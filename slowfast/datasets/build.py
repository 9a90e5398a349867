"""From the config to data sets, and from data sets to batches."""

from pathlib import Path

import numpy as np

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.loader import Loader
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampler import EpochBatchSampler
from slowfast.datasets.video_file import VideoError
from slowfast.utils.distributed import get_rank, get_world_size, processes_per_machine


def build_dataset(cfg, split: str) -> VideoDataset:
    """The data set of a split: TRAIN.DATASET for train and val, TEST.DATASET for test."""
    name = cfg.TEST.DATASET if split == "test" else cfg.TRAIN.DATASET
    return DATASET_REGISTRY.get(name)(cfg, split)


def build_loader(cfg, split: str, dataset: VideoDataset | None = None) -> Loader:
    """This rank's batches of a split (of `dataset` if it is there already).

    `loader.batch_sampler.set_epoch` chooses the epoch.
    """
    dataset = dataset or build_dataset(cfg, split)
    total = cfg.TEST.BATCH_SIZE if split == "test" else cfg.TRAIN.BATCH_SIZE
    sampler = EpochBatchSampler(
        len(dataset),
        max(total // processes_per_machine(cfg) // dataset.num_views, 1),  # videos; all views of one come together
        rank=get_rank(),
        world_size=get_world_size(),
        shuffle=split == "train",
        seed=cfg.RNG_SEED,
    )
    return Loader(
        dataset,
        sampler,
        workers=cfg.DATA_LOADER.NUM_WORKERS,
        seed=cfg.RNG_SEED,
        pin_memory=cfg.DATA_LOADER.PIN_MEMORY and cfg.NUM_GPUS > 0,
    )


def check_videos(dataset: VideoDataset, count: int) -> None:
    """Opens `count` of the data set's videos (-1: all), spread evenly over the list.

    Raises:
        VideoError: some cannot be read; shows the first ten with their list lines.
    """
    total = dataset.num_videos
    count = total if count < 0 else min(count, total)
    problems = []
    for row in np.linspace(0, total - 1, count).astype(int).tolist():
        entry = dataset.entries[row]
        try:
            dataset.check(entry)
        except VideoError as error:
            problems.append(f"  {dataset.list_path}:{entry.line}: {error}")
    if problems:
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        shown = "\n".join(problems[:10])
        raise VideoError(
            str(dataset.list_path),
            f"{len(problems)} of the {count} videos tried cannot be read:\n{shown}{more}\n"
            "Correct the lines, the files or DATA.PATH_PREFIX; DATA.CHECK_VIDEOS 0 starts without this check",
        )


def warn_mirrored_directions(cfg) -> str | None:
    """A warning if Something-Something is mirrored without the names that tell classes of a direction."""
    names = Path(cfg.DATA.PATH_TO_DATA_DIR) / "classes.json"
    mirrored = cfg.TRAIN.ENABLE and cfg.TRAIN.DATASET == "sth" and cfg.DATA.RANDOM_FLIP
    if not mirrored or names.is_file():
        return None
    return (
        f"There is no {names}: clips are mirrored in all classes, also those that a mirror makes another (from left to "
        "right). Set DATA.RANDOM_FLIP False, or make the lists with slowfast.datasets.prepare, which writes the names."
    )


def warn_equal_lists(cfg) -> str | None:
    """A warning if val and test are the same list, so that the best-on-val checkpoint is chosen on the test set."""
    if not (cfg.TRAIN.ENABLE and cfg.TEST.ENABLE):
        return None
    val, test = (build_dataset(cfg, split) for split in ("val", "test"))
    if {entry[:2] for entry in val.entries} != {entry[:2] for entry in test.entries}:
        return None
    return (
        f"{val.list_path} and {test.list_path} list the same videos: the best validated checkpoint is chosen on the "
        "test set, and its accuracy there is optimistic."
    )


def warn_one_label(dataset: VideoDataset) -> str | None:
    """A warning if all videos to train on have the same label."""
    labels = {entry.label for entry in dataset.entries}
    if len(labels) > 1:
        return None
    return (
        f"All {dataset.num_videos} videos of {dataset.list_path} have label {labels.pop()}: a model learns "
        "from them to answer with that class, whatever it sees."
    )
