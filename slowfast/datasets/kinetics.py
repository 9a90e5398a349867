"""Video files named by `path label` lists: Kinetics, UCF101, HMDB51, NTU RGB+D and one's own."""

from pathlib import Path

import numpy as np

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.decoder import probe, read_frames
from slowfast.datasets.lists import Entry, read_video_list
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampling import clip_length, dense_indices


@DATASET_REGISTRY.register(name="kinetics")
class Kinetics(VideoDataset):
    """DATA.PATH_TO_DATA_DIR/{train,val,test}.csv; dense clips of NUM_FRAMES every SAMPLING_RATE frames."""

    def __init__(self, cfg, split: str):
        # decord's rule counts frames; else the clip's duration is that of SAMPLING_RATE at TARGET_FPS.
        self.target_fps = None if cfg.DATA.DECODING_BACKEND == "decord" else cfg.DATA.TARGET_FPS
        self.threads = 0 if cfg.DATA_LOADER.ENABLE_MULTI_THREAD_DECODE else 1
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

    def read_clip(self, entry: Entry, clip: int, rng: np.random.Generator | None) -> np.ndarray:
        info = probe(entry.path)
        fps = info.fps if self.target_fps else None
        length = clip_length(self.num_frames, self.sampling_rate, fps, self.target_fps or 0)
        start = self.dense_start(info.num_frames, length, clip, rng)
        indices = dense_indices(start, length, self.num_frames, info.num_frames)
        return read_frames(entry.path, indices, threads=self.threads)

    def check(self, entry: Entry) -> None:
        read_frames(entry.path, np.zeros(1, np.int64))
