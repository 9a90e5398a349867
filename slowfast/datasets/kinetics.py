"""Videos named by `path label` lists: Kinetics, UCF101, HMDB51, NTU RGB+D and one's own."""

from pathlib import Path

import numpy as np

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.lists import Entry, read_video_list
from slowfast.datasets.readers import build_reader
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampling import Clip, clip_length, dense_indices
from slowfast.datasets.video_index import VideoInfo


@DATASET_REGISTRY.register(name="kinetics")
class Kinetics(VideoDataset):
    """DATA.PATH_TO_DATA_DIR/{train,val,test}.csv; dense clips of NUM_FRAMES every SAMPLING_RATE frames."""

    def __init__(self, cfg, split: str):
        # decord's rule counts frames; else the clip's duration is that of SAMPLING_RATE at TARGET_FPS.
        self.target_fps = None if cfg.DATA.DECODING_BACKEND == "decord" else cfg.DATA.TARGET_FPS
        self.jitter_fps = cfg.DATA.TRAIN_JITTER_FPS if split == "train" else 0.0
        if self.jitter_fps and self.target_fps is None:
            raise ValueError(
                "DATA.TRAIN_JITTER_FPS changes DATA.TARGET_FPS, which DATA.DECODING_BACKEND decord does not use. Set "
                "DATA.DECODING_BACKEND pyav, or DATA.TRAIN_JITTER_FPS 0."
            )
        self.reader = build_reader(cfg)
        super().__init__(cfg, split)

    def find_list(self, cfg) -> Path:
        return Path(cfg.DATA.PATH_TO_DATA_DIR) / f"{self.split}.csv"

    def read_entries(self, cfg) -> list[Entry]:
        return read_video_list(
            self.list_path,
            separator=cfg.DATA.PATH_LABEL_SEPARATOR,
            prefix=cfg.DATA.PATH_PREFIX,
            num_classes=cfg.MODEL.NUM_CLASSES,
            may_lack_labels=self.split == "test" and not cfg.TRAIN.ENABLE,
        )

    def indices(self, info: VideoInfo, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        """Frame numbers [T] of a random clip (`rng`), or of a test clip."""
        if self.target_fps is None:
            length = clip_length(self.num_frames, self.sampling_rate)
        else:
            target_fps = self.target_fps + (rng.uniform(0.0, self.jitter_fps) if rng and self.jitter_fps else 0.0)
            length = clip_length(self.num_frames, self.sampling_rate, info.fps, target_fps)
        start = self.dense_start(info.num_frames, length, clip, rng)
        return dense_indices(start, length, self.num_frames, info.num_frames)

    def read_clip(self, entry: Entry, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        return self.frames_of(entry, self.indices(self.info(entry), clip, rng))

    def read_clips(self, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        info = self.info(entry)
        return self.read_at_once(entry, [self.indices(info, clip, None) for clip in self.clips])

    def info(self, entry: Entry) -> VideoInfo:
        return self.reader.probe(entry.path)

    def frames_of(self, entry: Entry, indices: np.ndarray) -> np.ndarray:
        return self.reader.read(entry.path, indices)
