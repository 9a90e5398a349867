"""Videos as folders of numbered images, named by `folder num_frames label` lists: Something-Something, HMDB51."""

from pathlib import Path

import numpy as np

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.images import read_image
from slowfast.datasets.lists import Entry, read_frame_list
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampling import Clip, clip_length, dense_indices, segment_indices_random, segment_indices_view
from slowfast.datasets.video_file import VideoError
from slowfast.datasets.video_index import VideoInfo


class FrameFolders(VideoDataset):
    """Lists by DATA.LABEL_PATH_TEMPLATE, images by DATA.IMAGE_TEMPLATE, counted from 1."""

    split_names = ("train", "val", "val")  # of train, val, test in LABEL_PATH_TEMPLATE

    def __init__(self, cfg, split: str):
        self.image_template = cfg.DATA.IMAGE_TEMPLATE
        if fill(self.image_template, 1, "DATA.IMAGE_TEMPLATE") == self.image_template.format(2):
            raise ValueError(
                f"DATA.IMAGE_TEMPLATE {self.image_template!r} has no place for the frame's number, {{:05d}}."
            )
        super().__init__(cfg, split)

    def find_list(self, cfg) -> Path:
        name = self.split_names[("train", "val", "test").index(self.split)]
        return Path(cfg.DATA.PATH_TO_DATA_DIR) / fill(cfg.DATA.LABEL_PATH_TEMPLATE, name, "DATA.LABEL_PATH_TEMPLATE")

    def read_entries(self, cfg) -> list[Entry]:
        return read_frame_list(self.list_path, prefix=cfg.DATA.PATH_PREFIX, num_classes=cfg.MODEL.NUM_CLASSES)

    def indices(self, length: int, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        """Frame numbers from 0, of a random clip (`rng`) or of a test clip."""
        raise NotImplementedError

    def read_clip(self, entry: Entry, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        return self.frames_of(entry, self.indices(entry.num_frames, clip, rng))

    def read_clips(self, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        return self.read_at_once(entry, [self.indices(entry.num_frames, clip, None) for clip in self.clips])

    def info(self, entry: Entry) -> VideoInfo:
        return VideoInfo(entry.num_frames, None, *self.read_image(entry, 0).shape[:2])

    def frames_of(self, entry: Entry, indices: np.ndarray) -> np.ndarray:
        images = [self.read_image(entry, index) for index in indices.tolist()]
        if len({image.shape for image in images}) > 1:
            raise VideoError(entry.path, "its images have different sizes")
        return np.stack(images)

    def read_image(self, entry: Entry, index: int) -> np.ndarray:
        """Image `index` (from 0) as uint8 RGB [H, W, 3]."""
        return read_image(entry.path, self.image_template.format(index + 1), index)

    def check(self, entry: Entry) -> None:
        self.read_image(entry, 0)
        self.read_image(entry, entry.num_frames - 1)


def fill(template: str, value: int | str, key: str) -> str:
    try:
        return template.format(value)
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(
            f"{key} {template!r} is not a name with one place in braces such as {{:05d}}: {error}."
        ) from error


@DATASET_REGISTRY.register(name="sth")
class SomethingSomething(FrameFolders):
    """One frame of each of NUM_FRAMES equal segments (TSN), random in training; test views lie between."""

    split_names = ("train", "validation", "validation")
    drawn_in_val = ("crop",)

    def indices(self, length: int, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        if rng is not None:
            return segment_indices_random(length, self.num_frames, rng)
        return segment_indices_view(length, self.num_frames, *clip)


@DATASET_REGISTRY.register(name="hmdb")
class HMDBFrames(FrameFolders):
    """Dense clips, as of video files, counted in frames."""

    drawn_in_val = ()

    def indices(self, length: int, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        span = clip_length(self.num_frames, self.sampling_rate)
        start = self.dense_start(length, span, clip, rng)
        return dense_indices(start, span, self.num_frames, length)
