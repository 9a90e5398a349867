"""Folders of images by class, such as ImageNet: an image stands still for NUM_FRAMES time steps."""

import os
from pathlib import Path

import numpy as np

from slowfast.datasets.base import Sample, VideoDataset
from slowfast.datasets.folders import IMAGE_SUFFIXES, class_labels, files_in
from slowfast.datasets.images import read_image
from slowfast.datasets.lists import Entry, ListError
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampling import Clip
from slowfast.datasets.video_index import VideoInfo


@DATASET_REGISTRY.register(name="imagenet")
class ImageFolders(VideoDataset):
    """DATA.PATH_TO_DATA_DIR/{train,val}/CLASS/IMAGE; classes are those of train, numbered in the order of their names.

    Testing uses the images of val.
    """

    def find_list(self, cfg) -> Path:
        return Path(cfg.DATA.PATH_TO_DATA_DIR) / ("train" if self.split == "train" else "val")

    def read_entries(self, cfg) -> list[Entry]:
        root = self.list_path
        # By spelling, as torchvision and others number them, not in natural order.
        labels = class_labels(root, root.parent / "train", cfg.MODEL.NUM_CLASSES, by_spelling=True)
        images = [
            (str(root / name / file), label)
            for name, label in labels.items()
            for file in sorted(files_in(root / name, IMAGE_SUFFIXES))
        ]
        if not images:
            raise ListError(f"There is no image ({', '.join(sorted(IMAGE_SUFFIXES))}) in the folders of {root}.")
        return [Entry(path, label, None, number) for number, (path, label) in enumerate(images, 1)]

    def read_clip(self, entry: Entry, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        return self.frames_of(entry, np.zeros(1, np.int64))

    def __getitem__(self, key: int | tuple[int, int]) -> list[Sample]:
        # One image is cropped and augmented, and its pixels are shared by all time steps.
        samples = super().__getitem__(key)
        return [sample._replace(clip=sample.clip[:, :1].expand(-1, self.num_frames, -1, -1)) for sample in samples]

    def info(self, entry: Entry) -> VideoInfo:
        return VideoInfo(1, None, *self.read_clip(entry, self.clips[0], None).shape[1:3])

    def frames_of(self, entry: Entry, indices: np.ndarray) -> np.ndarray:
        folder, name = os.path.split(entry.path)
        return read_image(folder, name, 0)[None].repeat(len(indices), 0)
