"""Videos as folders of numbered images, named by `folder num_frames label` lists: Something-Something, HMDB51."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.decoder import VideoError
from slowfast.datasets.lists import Entry, read_frame_list
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampling import (
    clip_length,
    dense_indices,
    random_start,
    segment_indices_random,
    segment_indices_view,
    view_start,
)


class FrameFolders(VideoDataset):
    """Lists by DATA.LABEL_PATH_TEMPLATE, images by DATA.IMAGE_TEMPLATE, counted from 1."""

    split_names = ("train", "val", "val")  # of train, val, test in LABEL_PATH_TEMPLATE

    def __init__(self, cfg, split: str):
        self.image_template = cfg.DATA.IMAGE_TEMPLATE
        super().__init__(cfg, split)

    def find_list(self, cfg) -> Path:
        name = self.split_names[("train", "val", "test").index(self.split)]
        return Path(cfg.DATA.PATH_TO_DATA_DIR) / cfg.DATA.LABEL_PATH_TEMPLATE.format(name)

    def read_entries(self, cfg) -> list[Entry]:
        return read_frame_list(self.list_path, prefix=cfg.DATA.PATH_PREFIX, num_classes=cfg.MODEL.NUM_CLASSES)

    def indices(self, length: int, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        """Frame numbers from 0, of a random clip or of number `clip`."""
        raise NotImplementedError

    def read_clip(self, entry: Entry, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        return np.stack([self.read_image(entry, i) for i in self.indices(entry.num_frames, clip, rng)])

    def read_image(self, entry: Entry, index: int) -> np.ndarray:
        """Image `index` (from 0) as uint8 RGB [H, W, 3]."""
        path = Path(entry.path) / self.image_template.format(index + 1)
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except FileNotFoundError as error:
            raise VideoError(entry.path, f"no image {path.name} (DATA.IMAGE_TEMPLATE)", int(index)) from error
        except (OSError, UnidentifiedImageError) as error:
            raise VideoError(entry.path, f"image {path.name} cannot be read ({error})", int(index)) from error

    def check(self, entry: Entry) -> None:
        self.read_image(entry, 0)
        self.read_image(entry, entry.num_frames - 1)


@DATASET_REGISTRY.register(name="sth")
class SomethingSomething(FrameFolders):
    """One frame of each of NUM_FRAMES equal segments (TSN), random in training; test views lie between."""

    split_names = ("train", "validation", "validation")

    def indices(self, length: int, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        if rng is not None:
            return segment_indices_random(length, self.num_frames, rng)
        return segment_indices_view(length, self.num_frames, clip, self.num_clips)


@DATASET_REGISTRY.register(name="hmdb")
class HMDBFrames(FrameFolders):
    """Dense clips, as of video files, counted in frames."""

    def indices(self, length: int, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        span = clip_length(self.num_frames, self.sampling_rate)
        if rng is not None:
            start = random_start(length, span, rng)
        else:
            start = view_start(length, span, clip, self.num_clips, offset=self.offset_sampling)
        return dense_indices(start, span, self.num_frames, length)
