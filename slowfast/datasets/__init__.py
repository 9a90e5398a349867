"""Data sets and the path from a list line to a batch: sections DATA, DATA_LOADER, AUG and MIXUP."""

from slowfast.datasets import events, frames, imagenet, kinetics, kinetics_sparse, motion, section
from slowfast.datasets.bad_videos import BadVideos, list_rows
from slowfast.datasets.base import Sample, VideoDataset
from slowfast.datasets.build import (
    build_dataset,
    build_loader,
    check_videos,
    warn_equal_lists,
    warn_mirrored_directions,
    warn_one_label,
)
from slowfast.datasets.loader import Batch, collate, prefetch
from slowfast.datasets.mixup import MixUp
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.transform import normalize
from slowfast.datasets.video_file import VideoError

__all__ = [
    "DATASET_REGISTRY",
    "BadVideos",
    "Batch",
    "MixUp",
    "Sample",
    "VideoDataset",
    "VideoError",
    "build_dataset",
    "build_loader",
    "check_videos",
    "collate",
    "events",
    "frames",
    "imagenet",
    "kinetics",
    "kinetics_sparse",
    "list_rows",
    "motion",
    "normalize",
    "prefetch",
    "section",
    "warn_equal_lists",
    "warn_mirrored_directions",
    "warn_one_label",
]
