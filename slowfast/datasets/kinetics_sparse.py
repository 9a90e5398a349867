"""Videos of `path label` lists, one frame of each of NUM_FRAMES equal segments (TSN), as `sth` takes of folders."""

import numpy as np

from slowfast.datasets.kinetics import Kinetics
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.sampling import Clip, segment_indices_random, segment_indices_view
from slowfast.datasets.video_index import VideoInfo


@DATASET_REGISTRY.register(name="kinetics_sparse")
class KineticsSparse(Kinetics):
    """Kinetics' lists; random frames of the segments in training, test views lie between."""

    drawn_in_val = ("crop",)

    def indices(self, info: VideoInfo, clip: Clip, rng: np.random.Generator | None) -> np.ndarray:
        if rng is not None:
            return segment_indices_random(info.num_frames, self.num_frames, rng)
        return segment_indices_view(info.num_frames, self.num_frames, *clip)
