"""What every video data set shares: entries of a list, views, one random generator a sample, broken videos."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.decoder import VideoError
from slowfast.datasets.lists import Entry
from slowfast.datasets.sampling import random_start, split_view, view_start
from slowfast.datasets.transform import crop_clip, jittered_box, resized_box, uniform_box
from slowfast.datasets.video_index import VideoInfo

MAX_REPLACEMENTS = 10


class Unread(NamedTuple):
    """A video that could not be read: its row in the list, and why."""

    row: int
    error: str


class Sample(NamedTuple):
    """One view of one video: clip uint8 RGB [C, T, H, W]; `valid` False (and zeros) where it could not be read.

    `unread` are the videos that could not be read on the way to this one.
    """

    clip: Tensor
    label: int
    video: int
    view: int
    valid: bool
    unread: tuple[Unread, ...] = ()


class VideoDataset(torch.utils.data.Dataset):
    """A list of videos as samples; subclasses read the list (`read_entries`) and frames (`read_clip`).

    Indexed by (epoch, index), or an index for epoch 0. Train and val have an index a video, test one a view, a
    video's views in a row. All that is random comes from (RNG_SEED, epoch, index): the same sample anywhere.
    """

    def __init__(self, cfg, split: str):
        if split not in ("train", "val", "test"):
            raise ValueError(f"There is no split {split!r}: train, val or test.")
        self.split, self.seed = split, cfg.RNG_SEED
        self.is_random = split == "train" or (split == "val" and cfg.DATA.VAL_VIEW == "random")
        self.num_clips = cfg.TEST.NUM_ENSEMBLE_VIEWS if split == "test" else 1
        self.num_crops = cfg.TEST.NUM_SPATIAL_CROPS if split == "test" else 1
        self.copies = cfg.AUG.NUM_SAMPLE if split == "train" else 1
        self.crop_size = cfg.DATA.TEST_CROP_SIZE if split == "test" else cfg.DATA.TRAIN_CROP_SIZE
        self.num_channels = cfg.DATA.INPUT_CHANNEL_NUM[0]
        self.num_frames, self.sampling_rate = cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE
        self.offset_sampling = cfg.DATA.USE_OFFSET_SAMPLING
        self.reverse_channels = cfg.DATA.REVERSE_INPUT_CHANNEL
        self.flip = cfg.DATA.RANDOM_FLIP
        self.scales, self.inverse_scales = tuple(cfg.DATA.TRAIN_JITTER_SCALES), cfg.DATA.INV_UNIFORM_SAMPLE
        relative = split == "train" and cfg.AUG.ENABLE and cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE
        self.area = tuple(cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE) if relative else None
        self.aspect = tuple(cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE) or (1.0, 1.0)
        self.list_path = self.find_list(cfg)
        self.entries = self.read_entries(cfg)
        self.num_videos = len(self.entries)
        self.crashed: dict[int, str] = {}  # row -> how it ended the process that decoded it
        self.reading = torch.tensor([-1])  # the row being decoded; a loader process shares its own with its parent

    def find_list(self, cfg) -> Path:
        """The split's list file."""
        raise NotImplementedError

    def read_entries(self, cfg) -> list[Entry]:
        """The list's content."""
        raise NotImplementedError

    def read_clip(self, entry: Entry, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        """uint8 RGB frames [T, H, W, C]: a random clip (`rng`), or number `clip` of `num_clips`."""
        raise NotImplementedError

    def info(self, entry: Entry) -> VideoInfo:
        """The entry's frames, rate and size.

        Raises:
            VideoError: it cannot be read.
        """
        raise NotImplementedError

    def frames_of(self, entry: Entry, indices: np.ndarray) -> np.ndarray:
        """Frames `indices` [T] of the entry, uint8 [T, H, W, C].

        Raises:
            VideoError: one of them cannot be read.
        """
        raise NotImplementedError

    def check(self, entry: Entry) -> None:
        """Raises VideoError if the entry's first frame cannot be read."""
        self.frames_of(entry, np.zeros(1, np.int64))

    def __len__(self) -> int:
        return self.num_videos * self.num_clips * self.num_crops

    def __getitem__(self, key: int | tuple[int, int]) -> list[Sample]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        video, view = divmod(index, self.num_clips * self.num_crops)
        rng = np.random.default_rng((self.seed, epoch, index))
        clip, crop = split_view(view, self.num_crops)
        unread: list[Unread] = []
        if self.split == "train":
            video, frames = self.readable_clip(video, rng, unread)
        else:
            try:
                frames = self.read(video, clip, rng if self.is_random else None)
            except VideoError as error:
                return [self.unreadable(video, view, error)]
        if self.reverse_channels:
            frames = frames[..., ::-1]
        label = self.entries[video].label
        return [
            Sample(self.crop(frames, crop, rng), label, video, view, True, tuple(unread)) for _ in range(self.copies)
        ]

    def read(self, video: int, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        """`read_clip` of row `video`, noted while it lasts.

        Raises:
            VideoError: it cannot be read, or has ended a process before.
        """
        entry = self.entries[video]
        if video in self.crashed:
            raise VideoError(entry.path, f"decoding it ended the process with {self.crashed[video]}")
        self.reading[0] = video
        frames = self.read_clip(entry, clip, rng)
        self.reading[0] = -1
        return frames

    def dense_start(self, video_length: int, length: float, clip: int, rng: np.random.Generator | None) -> float:
        """Where a dense clip starts: anywhere (`rng`), in the middle (val), or as clip `clip` of a test video."""
        if rng is not None:
            return random_start(video_length, length, rng)
        if self.split == "val":
            return view_start(video_length, length, 0, 1, offset=True)
        return view_start(video_length, length, clip, self.num_clips, offset=self.offset_sampling)

    def readable_clip(self, video: int, rng: np.random.Generator, unread: list[Unread]) -> tuple[int, np.ndarray]:
        """A training video and a random clip of it; one that cannot be read gives way to a random other."""
        for candidate in self.candidates(video, rng):
            try:
                return candidate, self.read(candidate, 0, rng)
            except VideoError as error:
                unread.append(Unread(candidate, str(error)))
        raise VideoError(
            str(self.list_path),
            f"too many of its videos cannot be read, such as {unread[0].error}; check DATA.PATH_PREFIX and files",
        )

    def candidates(self, video: int, rng: np.random.Generator) -> Iterator[int]:
        """The video, then up to MAX_REPLACEMENTS different others at random."""
        yield video
        others = rng.choice(self.num_videos - 1, min(MAX_REPLACEMENTS, self.num_videos - 1), replace=False)
        yield from (others + (others >= video)).tolist()

    def crop(self, frames: np.ndarray, crop: int, rng: np.random.Generator) -> Tensor:
        """Frames [T, H, W, C] -> clip [C, T, size, size]: the view's crop, or a random one."""
        height, width = frames.shape[1:3]
        if not self.is_random:
            return crop_clip(frames, uniform_box(height, width, crop), self.crop_size)
        if self.area:
            box = resized_box(height, width, self.area, self.aspect, rng)
        else:
            box = jittered_box(height, width, self.crop_size, self.scales, rng, inverse_uniform=self.inverse_scales)
        return crop_clip(frames, box, self.crop_size, flip=self.flip and rng.random() < 0.5)

    def unreadable(self, video: int, view: int, error: VideoError) -> Sample:
        clip = torch.zeros(self.num_channels, self.num_frames, self.crop_size, self.crop_size, dtype=torch.uint8)
        return Sample(clip, self.entries[video].label, video, view, False, (Unread(video, str(error)),))
