"""Videos named by `path label` lists: Kinetics, UCF101, HMDB51, NTU RGB+D and one's own."""

from pathlib import Path

import numpy as np

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.lists import Entry, read_video_list
from slowfast.datasets.readers import build_reader
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampling import clip_length, dense_indices
from slowfast.datasets.video_index import VideoInfo


@DATASET_REGISTRY.register(name="kinetics")
class Kinetics(VideoDataset):
    """DATA.PATH_TO_DATA_DIR/{train,val,test}.csv; dense clips of NUM_FRAMES every SAMPLING_RATE frames."""

    def __init__(self, cfg, split: str):
        # decord's rule counts frames; else the clip's duration is that of SAMPLING_RATE at TARGET_FPS.
        self.target_fps = None if cfg.DATA.DECODING_BACKEND == "decord" else cfg.DATA.TARGET_FPS
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
        )

    def indices(self, info: VideoInfo, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        """Frame numbers [T] of a random clip (`rng`), or of number `clip` of `num_clips`."""
        fps = info.fps if self.target_fps else None
        length = clip_length(self.num_frames, self.sampling_rate, fps, self.target_fps or 0)
        start = self.dense_start(info.num_frames, length, clip, rng)
        return dense_indices(start, length, self.num_frames, info.num_frames)

    def read_clip(self, entry: Entry, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        return self.frames_of(entry, self.indices(self.info(entry), clip, rng))

    def info(self, entry: Entry) -> VideoInfo:
        return self.reader.probe(entry.path)

    def frames_of(self, entry: Entry, indices: np.ndarray) -> np.ndarray:
        return self.reader.read(entry.path, indices)
