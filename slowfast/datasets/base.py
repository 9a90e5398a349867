"""What every video data set shares: entries of a list, views, one random generator a sample, broken videos."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.augment import build_random_view, handed_labels
from slowfast.datasets.lists import NO_LABEL, Entry
from slowfast.datasets.sampling import Clip, clips_of_views, random_start, view_start
from slowfast.datasets.transform import resized_clip, uniform_box
from slowfast.datasets.video_file import VideoError
from slowfast.datasets.video_index import VideoInfo
from slowfast.utils.classes import load_class_names

MAX_REPLACEMENTS = 10
CROPS = {1: (1,), 3: (0, 1, 2)}  # TEST.NUM_SPATIAL_CROPS -> left or top 0, centre 1, right or bottom 2


class Unread(NamedTuple):
    """A video that could not be read: its row in the list, and why."""

    row: int
    error: str


class NoneReadableError(VideoError):
    """A training video that cannot be read, and neither can the others that were tried in its place: `unread`."""

    def __init__(self, path: str, unread: list[Unread]):
        self.unread = tuple(unread)
        super().__init__(
            path, f"too many of its videos cannot be read, such as {unread[0].error}; check DATA.PATH_PREFIX and files"
        )


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

    Indexed by (epoch, row of the list), or a row for epoch 0; an item is a list of samples that come from decoding
    the video once: AUG.NUM_SAMPLE copies in training, one in val, and in test all views, clip by clip. All that is
    random comes from (RNG_SEED, epoch, row): the same samples anywhere.
    """

    # What of a sample DATA.VAL_VIEW random draws, as upstream does; the rest is that of the first test view.
    drawn_in_val: tuple[str, ...] = ("clip", "crop")

    def __init__(self, cfg, split: str):
        if split not in ("train", "val", "test"):
            raise ValueError(f"There is no split {split!r}: train, val or test.")
        self.split, self.seed = split, cfg.RNG_SEED
        self.choose_views(cfg)
        self.copies = cfg.AUG.NUM_SAMPLE if split == "train" else 1
        self.num_channels = cfg.DATA.INPUT_CHANNEL_NUM[0]
        self.num_frames, self.sampling_rate = cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE
        self.antialias = cfg.DATA.RESIZE_ANTIALIAS
        self.reverse_channels = cfg.DATA.REVERSE_INPUT_CHANNEL
        class_names = load_class_names("", cfg.MODEL.NUM_CLASSES, data_dir=cfg.DATA.PATH_TO_DATA_DIR)
        self.random_view = build_random_view(cfg, augmented=split == "train", kept_labels=handed_labels(class_names))
        self.list_path = self.find_list(cfg)
        self.entries = self.read_entries(cfg)
        self.num_videos = len(self.entries)
        self.crashed: dict[int, str] = {}  # row -> how it ended the process that decoded it
        self.reading = torch.tensor([-1])  # the row being decoded; a loader process shares its own with its parent

    def choose_views(self, cfg) -> None:
        """Which clips and crops of a video become samples, at which size, and what of them is drawn at random."""
        split, is_center = self.split, self.split == "val" and cfg.DATA.VAL_VIEW == "center"
        self.drawn = {"train": ("clip", "crop"), "val": () if is_center else self.drawn_in_val, "test": ()}[split]
        self.clips, self.crops = clips_of_views(cfg.TEST.NUM_ENSEMBLE_VIEWS), CROPS[cfg.TEST.NUM_SPATIAL_CROPS]
        if is_center:
            self.clips, self.crops = [Clip(0, 1)], CROPS[1]
        elif split != "test":  # of a sweep (NUM_ENSEMBLE_VIEWS -1) the first clip of its largest number
            self.clips, self.crops = [Clip(0, self.clips[-1].count)], (0,)
        self.num_views = len(self.clips) * len(self.crops)
        self.crop_size = cfg.DATA.TRAIN_CROP_SIZE if is_center or "crop" in self.drawn else cfg.DATA.TEST_CROP_SIZE
        self.offset_sampling = is_center or cfg.DATA.USE_OFFSET_SAMPLING  # a single clip by offset is the middle one

    def find_list(self, cfg) -> Path:
        """The split's list file."""
        raise NotImplementedError

    def digest(self) -> str:
        """SHA-256 of the list's file names and labels in their order, whatever folder they are in."""
        rows = "\n".join(f"{Path(entry.path).name} {entry.label}" for entry in self.entries)
        return hashlib.sha256(rows.encode()).hexdigest()

    @property
    def has_labels(self) -> bool:
        """Whether its videos have labels; all or none have."""
        return self.entries[0].label != NO_LABEL

    def read_entries(self, cfg) -> list[Entry]:
        """The list's content."""
        raise NotImplementedError

    def read_clip(self, entry: Entry, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        """uint8 RGB frames [T, H, W, C]: a random clip (`rng`), or one of the video's test clips."""
        raise NotImplementedError

    def read_clips(self, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        """Frames of all test clips, uint8 [F, H, W, C], and which of them each clip has, int64 [clips, T]."""
        frames = [self.read_clip(entry, clip, None) for clip in self.clips]
        positions = np.arange(sum(map(len, frames))).reshape(len(frames), -1)
        return np.concatenate(frames), positions

    def read_at_once(self, entry: Entry, clips: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """`read_clips` for clips whose frame numbers [T] are known: every frame is read once, in one pass."""
        wanted, positions = np.unique(np.stack(clips), return_inverse=True)
        return self.frames_of(entry, wanted), positions.reshape(len(clips), -1)

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
        return self.num_videos

    def __getitem__(self, key: int | tuple[int, int]) -> list[Sample]:
        epoch, video = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng((self.seed, epoch, video))
        if self.split == "train":
            return self.training_copies(video, rng)
        if "crop" in self.drawn:
            return self.random_validation_view(video, rng)
        return self.fixed_views(video)

    def __getitems__(self, keys: list[tuple[int, int] | int]) -> list[list[Sample]]:
        """The items of a batch, as a DataLoader asks for them; a training video that none can replace is marked.

        An error would reach the run as the traceback of a loader process.
        """
        items = []
        for key in keys:
            try:
                items.append(self[key])
            except NoneReadableError as error:
                marked = self.unreadable(error.unread[0].row, 0, error)._replace(unread=error.unread)
                items.append([marked] * self.copies)
        return items

    def training_copies(self, video: int, rng: np.random.Generator) -> list[Sample]:
        unread: list[Unread] = []
        video, frames = self.readable_clip(video, rng, unread)
        label = self.entries[video].label
        clips = (self.random_view(frames, label, rng) for _ in range(self.copies))
        return [Sample(clip, label, video, 0, True, tuple(unread)) for clip in clips]

    def random_validation_view(self, video: int, rng: np.random.Generator) -> list[Sample]:
        try:
            frames = self.read(video, self.clips[0], rng if "clip" in self.drawn else None)
        except VideoError as error:
            return [self.unreadable(video, 0, error)]
        label = self.entries[video].label
        return [Sample(self.random_view(frames, label, rng), label, video, 0, True)]

    def fixed_views(self, video: int) -> list[Sample]:
        """Every clip in every crop; what cannot be read is marked, clip by clip."""
        try:
            with self.reading_of(video) as entry:
                frames, positions = self.read_clips(entry)
            return self.crop_views(video, 0, frames, positions)
        except VideoError as error:
            if len(self.clips) == 1:
                return [self.unreadable(video, view, error) for view in range(self.num_views)]
        samples = []
        for number, clip in enumerate(self.clips):
            first = number * len(self.crops)
            try:
                frames = self.read(video, clip, None)
                samples += self.crop_views(video, first, frames, np.arange(len(frames))[None])
            except VideoError as error:
                samples += [self.unreadable(video, first + crop, error) for crop in range(len(self.crops))]
        return samples

    def crop_views(self, video: int, view: int, frames: np.ndarray, positions: np.ndarray) -> list[Sample]:
        """Samples of clips, `positions` [clips, T] of frames [F, H, W, C], in all crops, numbered from `view`."""
        # Once for all views, which then are copied by whole rows.
        planes = resized_clip(frames, self.crop_size, antialias=self.antialias).numpy()
        if self.reverse_channels:
            planes = planes[::-1]
        boxes = [uniform_box(*planes.shape[2:], crop) for crop in self.crops]
        clips = (
            planes[:, row, box.top : box.top + box.height, box.left : box.left + box.width]
            for row in positions
            for box in boxes
        )
        label = self.entries[video].label
        return [Sample(torch.from_numpy(clip), label, video, view + number, True) for number, clip in enumerate(clips)]

    @contextmanager
    def reading_of(self, video: int) -> Iterator[Entry]:
        """Notes, as long as it lasts, that row `video` is being read.

        Raises:
            VideoError: the video has ended a process before.
        """
        entry = self.entries[video]
        if video in self.crashed:
            raise VideoError(entry.path, f"decoding it ended the process with {self.crashed[video]}")
        self.reading[0] = video
        try:
            yield entry
        finally:
            self.reading[0] = -1

    def read(self, video: int, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        """`read_clip` of row `video`."""
        with self.reading_of(video) as entry:
            return self.read_clip(entry, clip, rng)

    def dense_start(self, video_length: int, length: float, clip: Clip, rng: np.random.Generator | None) -> float:
        """Where a dense clip starts: anywhere (`rng`), or as clip `clip` of the video."""
        if rng is not None:
            return random_start(video_length, length, rng)
        return view_start(video_length, length, *clip, offset=self.offset_sampling)

    def readable_clip(self, video: int, rng: np.random.Generator, unread: list[Unread]) -> tuple[int, np.ndarray]:
        """A training video and a random clip of it; one that cannot be read gives way to a random other."""
        for candidate in self.candidates(video, rng):
            try:
                return candidate, self.read(candidate, self.clips[0], rng)
            except VideoError as error:
                unread.append(Unread(candidate, str(error)))
        raise NoneReadableError(str(self.list_path), unread)

    def candidates(self, video: int, rng: np.random.Generator) -> Iterator[int]:
        """The video, then up to MAX_REPLACEMENTS different others at random."""
        yield video
        others = rng.choice(self.num_videos - 1, min(MAX_REPLACEMENTS, self.num_videos - 1), replace=False)
        yield from (others + (others >= video)).tolist()

    def unreadable(self, video: int, view: int, error: VideoError) -> Sample:
        clip = torch.zeros(self.num_channels, self.num_frames, self.crop_size, self.crop_size, dtype=torch.uint8)
        return Sample(clip, self.entries[video].label, video, view, False, (Unread(video, str(error)),))
