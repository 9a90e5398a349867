"""From the config to data sets, and from data sets to batches."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from slowfast.datasets.base import Sample, VideoDataset
from slowfast.datasets.decoder import VideoError
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampler import EpochBatchSampler
from slowfast.utils.distributed import get_rank, get_world_size


class Batch(NamedTuple):
    """clips uint8 [B, C, T, H, W]; labels, video (row of the list), view int64 [B]; valid bool [B]."""

    clips: Tensor
    labels: Tensor
    video: Tensor
    view: Tensor
    valid: Tensor

    def pin_memory(self) -> "Batch":
        return Batch(*(column.pin_memory() for column in self))


def build_dataset(cfg, split: str) -> VideoDataset:
    """The data set of a split: TRAIN.DATASET for train and val, TEST.DATASET for test."""
    name = cfg.TEST.DATASET if split == "test" else cfg.TRAIN.DATASET
    return DATASET_REGISTRY.get(name)(cfg, split)


def build_loader(cfg, split: str, dataset: VideoDataset | None = None) -> DataLoader:
    """This rank's batches of a split (of `dataset` if it is there already).

    `loader.batch_sampler.set_epoch` chooses the epoch.
    """
    dataset = dataset or build_dataset(cfg, split)
    total = cfg.TEST.BATCH_SIZE if split == "test" else cfg.TRAIN.BATCH_SIZE
    sampler = EpochBatchSampler(
        len(dataset),
        total // max(cfg.NUM_GPUS, 1),
        rank=get_rank(),
        world_size=get_world_size(),
        shuffle=split == "train",
        seed=cfg.RNG_SEED,
    )
    workers = cfg.DATA_LOADER.NUM_WORKERS
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=limit_threads,
        # Its own, so that an iteration draws nothing from the run's: samples are seeded one by one.
        generator=torch.Generator().manual_seed(cfg.RNG_SEED),
        persistent_workers=workers > 0,
        pin_memory=cfg.DATA_LOADER.PIN_MEMORY and cfg.NUM_GPUS > 0,
    )


def limit_threads(worker_id: int) -> None:
    """Loader processes fill the cores by their number; threads within them would only compete."""
    torch.set_num_threads(1)


def collate(samples: list[list[Sample]]) -> Batch:
    """Samples of several videos, each a list of its copies, as one batch."""
    clips, *columns = zip(*(sample for copies in samples for sample in copies), strict=True)
    return Batch(torch.stack(clips), *(torch.tensor(column) for column in columns))


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
