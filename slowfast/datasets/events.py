"""Recordings of event cameras as frames of counts, in the folders that SpikingJelly's data sets make."""

import importlib
from pathlib import Path

import numpy as np

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.folders import class_labels, files_in
from slowfast.datasets.lists import Entry, ListError
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampling import Clip
from slowfast.datasets.video_file import VideoError
from slowfast.datasets.video_index import VideoInfo

# Registered name -> module and class in spikingjelly.datasets.
SOURCES = {
    "dvs128_gesture": ("dvs128_gesture", "DVS128Gesture"),
    "cifar10_dvs": ("cifar10_dvs", "CIFAR10DVS"),
    "n_caltech101": ("n_caltech101", "NCaltech101"),
    "n_mnist": ("n_mnist", "NMNIST"),
    "dvs_lip": ("dvs_lip", "DVSLip"),
    "asl_dvs": ("asl_dvs", "ASLDVS"),
}
CHANNELS = 2  # events of either polarity


class EventFrames(VideoDataset):
    """A recording's events summed into NUM_FRAMES frames of two channels, uint8 counts up to 255.

    SpikingJelly downloads where it may, and writes DATA.PATH_TO_DATA_DIR/frames_number_T_split_by_X/ on first use;
    from then on only these files are read. Val and test are the recordings in `test`, or where a set has no such
    folders the first tenth of every class (for CIFAR10-DVS the usual split). Classes are the folders to train on,
    numbered in the order of their names: 10 after 9, or with DATA.EVENT_CLASS_ORDER spelling 10 after 1, as
    SpikingJelly does.
    """

    source: tuple[str, str]

    def __init__(self, cfg, split: str):
        mean, channels = cfg.DATA.MEAN, cfg.DATA.INPUT_CHANNEL_NUM
        if len(mean) != CHANNELS or len(cfg.DATA.STD) != CHANNELS or channels[0] != CHANNELS:
            raise ValueError(
                f"Event frames have two channels of counts; DATA.MEAN is {mean}, DATA.INPUT_CHANNEL_NUM {channels}. "
                "Set DATA.INPUT_CHANNEL_NUM [2,2] DATA.MEAN [0,0] DATA.STD [0.0039216,0.0039216] for plain counts."
            )
        if split == "test" and cfg.TEST.NUM_ENSEMBLE_VIEWS != 1:
            raise ValueError("A clip of event frames is the whole recording. Set TEST.NUM_ENSEMBLE_VIEWS 1.")
        super().__init__(cfg, split)

    def find_list(self, cfg) -> Path:
        folder = f"frames_number_{cfg.DATA.NUM_FRAMES}_split_by_{cfg.DATA.EVENT_SPLIT_BY}"
        return Path(cfg.DATA.PATH_TO_DATA_DIR) / folder

    def read_entries(self, cfg) -> list[Entry]:
        if not self.list_path.is_dir():
            integrate_events(self.source, Path(cfg.DATA.PATH_TO_DATA_DIR), cfg.DATA.NUM_FRAMES, cfg.DATA.EVENT_SPLIT_BY)
        part = "train" if self.split == "train" else "test"
        has_parts = (self.list_path / part).is_dir()
        root, training = (self.list_path / name if has_parts else self.list_path for name in (part, "train"))
        by_spelling = cfg.DATA.EVENT_CLASS_ORDER == "spelling"
        entries = []
        for name, label in class_labels(root, training, cfg.MODEL.NUM_CLASSES, by_spelling=by_spelling).items():
            files = files_in(root / name, frozenset({".npz"}))
            if not has_parts:
                tenth = len(files) // 10
                files = files[tenth:] if part == "train" else files[:tenth]
            entries += [
                Entry(str(root / name / file), label, None, len(entries) + i) for i, file in enumerate(files, 1)
            ]
        if not entries:
            raise ListError(f"No recording for {self.split} in {root}.")
        return entries

    def read_clip(self, entry: Entry, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        try:
            with np.load(entry.path) as content:
                counts = content["frames"]  # [T, 2, H, W]
        except (OSError, ValueError, KeyError, EOFError) as error:
            why = "it holds Python objects" if "pickled" in str(error) else error
            raise VideoError(entry.path, f"no event frames ({why})") from error
        if counts.shape[:2] != (self.num_frames, CHANNELS):
            raise VideoError(entry.path, f"frames {list(counts.shape)} are not [{self.num_frames}, {CHANNELS}, H, W]")
        if not (counts >= 0).all():
            raise VideoError(entry.path, "its frames hold values that are no counts: negative, or NaN")
        return np.minimum(counts, 255).astype(np.uint8).transpose(0, 2, 3, 1)

    def info(self, entry: Entry) -> VideoInfo:
        return VideoInfo(self.num_frames, None, *self.read_clip(entry, self.clips[0], None).shape[1:3])

    def frames_of(self, entry: Entry, indices: np.ndarray) -> np.ndarray:
        return self.read_clip(entry, self.clips[0], None)[indices]


def integrate_events(source: tuple[str, str], root: Path, num_frames: int, split_by: str) -> None:
    """Lets SpikingJelly write the frames of all recordings under `root`.

    Raises:
        ListError: SpikingJelly's data sets cannot be imported, or the recordings are not there.
    """
    module, name = source
    try:
        dataset = getattr(importlib.import_module(f"spikingjelly.datasets.{module}"), name)
    except (ImportError, RuntimeError, OSError) as error:
        raise ListError(
            f"spikingjelly.datasets cannot be imported ({error}). It needs torchaudio that fits torch; or put the "
            f"frames it would write into {root}."
        ) from error
    options = {"data_type": "frame", "frames_number": num_frames, "split_by": split_by}
    try:
        dataset(root, **options)
    except (OSError, RuntimeError, NotImplementedError) as error:
        raise ListError(f"SpikingJelly's {name} cannot make frames in {root}: {error}") from error


for registered, where in SOURCES.items():
    DATASET_REGISTRY.register(type(where[1], (EventFrames,), {"source": where}), name=registered)
