"""The baseline of the data benchmark: the video path of SlowFast and its forks, written from its description.

Every view of a video opens and decodes it again; pixels become normalised floats before they are resized;
RandAugment runs on each frame as a PIL image, for every copy.
"""

from collections.abc import Callable

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast.datasets.base import CROPS
from slowfast.datasets.sampling import clip_length, dense_indices, random_start, view_start
from slowfast.datasets.transform import resized_box, short_side_size, uniform_box
from slowfast.datasets.video_file import OPEN_OPTIONS

SEEK_MARGIN = 1024  # time units before a clip's first frame, whatever their length


def decode_span(path: str, indices: np.ndarray) -> np.ndarray:
    """Seeks by timestamp, converts every frame from the first to the last index, then takes those wanted."""
    with av.open(path, **OPEN_OPTIONS) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        ticks = stream.duration / max(stream.frames, 1)
        first, last = int(indices[0] * ticks), int(indices[-1] * ticks)
        container.seek(max(first - SEEK_MARGIN, 0), stream=stream, backward=True, any_frame=False)
        images = []
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts >= first:
                images.append(frame.to_ndarray(format="rgb24"))
            if frame.pts is not None and frame.pts >= last:
                break
    return np.stack(images)[np.linspace(0, len(images) - 1, len(indices)).astype(int)]


def decode_with_decord(path: str, indices: np.ndarray) -> np.ndarray:
    import decord

    return decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()


def decode_with_torchcodec(path: str, indices: np.ndarray) -> np.ndarray:
    from torchcodec.decoders import VideoDecoder

    return VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1).get_frames_at(indices.tolist()).data.numpy()


class UsualPath:
    """Training samples and test videos by one decoder."""

    def __init__(self, cfg, decode: Callable[[str, np.ndarray], np.ndarray], num_video_frames: int):
        self.decode, self.video_length = decode, num_video_frames
        self.num_frames = cfg.DATA.NUM_FRAMES
        self.length = clip_length(self.num_frames, cfg.DATA.SAMPLING_RATE)
        self.mean, self.std = torch.tensor(cfg.DATA.MEAN), torch.tensor(cfg.DATA.STD)
        self.scales, self.train_size = cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE
        self.test_size = cfg.DATA.TEST_CROP_SIZE
        self.augments, self.copies = cfg.AUG.ENABLE, cfg.AUG.NUM_SAMPLE
        self.num_clips, self.crops = cfg.TEST.NUM_ENSEMBLE_VIEWS, CROPS[cfg.TEST.NUM_SPATIAL_CROPS]

    def indices(self, start: float) -> np.ndarray:
        return dense_indices(start, self.length, self.num_frames, self.video_length)

    def frames(self, path: str, rng: np.random.Generator) -> np.ndarray:
        return self.decode(path, self.indices(random_start(self.video_length, self.length, rng)))

    def training_sample(self, path: str, rng: np.random.Generator) -> list[Tensor]:
        frames = self.frames(path, rng)
        return [
            self.augmented(frames, rng) if self.augments else self.jittered(frames, rng) for _ in range(self.copies)
        ]

    def normalised(self, frames: Tensor) -> Tensor:
        """uint8 [T, H, W, C] -> float [C, T, H, W]."""
        return ((frames.float() / 255.0 - self.mean) / self.std).permute(3, 0, 1, 2)

    def jittered(self, frames: np.ndarray, rng: np.random.Generator) -> Tensor:
        clip = self.resized(self.normalised(torch.from_numpy(frames)), int(rng.integers(*self.scales, endpoint=True)))
        top, left = (int(rng.integers(0, side - self.train_size, endpoint=True)) for side in clip.shape[2:])
        clip = clip[:, :, top : top + self.train_size, left : left + self.train_size]
        return (clip.flip(-1) if rng.random() < 0.5 else clip).contiguous()

    def augmented(self, frames: np.ndarray, rng: np.random.Generator) -> Tensor:
        from PIL import Image
        from torchvision.transforms import InterpolationMode, RandAugment

        # Four operations of probability one half each cost what two do.
        augment = RandAugment(2, 7, interpolation=InterpolationMode.BICUBIC, fill=[128] * 3)
        clip = self.normalised(torch.from_numpy(np.stack([np.asarray(augment(Image.fromarray(f))) for f in frames])))
        box = resized_box(*clip.shape[2:], (0.08, 1.0), (0.75, 1.3333), rng)
        clip = clip[:, :, box.top : box.top + box.height, box.left : box.left + box.width]
        clip = F.interpolate(clip, (self.train_size, self.train_size), mode="bilinear", align_corners=False)
        if rng.random() < 0.25:
            side = self.train_size // 3
            clip[:, :, :side, :side] = torch.randn(clip.shape[0], clip.shape[1], side, side)
        return (clip.flip(-1) if rng.random() < 0.5 else clip).contiguous()

    def resized(self, clip: Tensor, short_side: int) -> Tensor:
        size = short_side_size(*clip.shape[2:], short_side)
        return F.interpolate(clip, size, mode="bilinear", align_corners=False)

    def test_frames(self, path: str) -> list[np.ndarray]:
        """The frames of every view, each decoded on its own."""
        starts = [
            view_start(self.video_length, self.length, clip, self.num_clips, offset=False)
            for clip in range(self.num_clips)
            for _ in self.crops
        ]
        return [self.decode(path, self.indices(start)) for start in starts]

    def test_video(self, path: str) -> list[Tensor]:
        views = []
        for view, frames in enumerate(self.test_frames(path)):
            clip = self.resized(self.normalised(torch.from_numpy(frames)), self.test_size)
            box = uniform_box(*clip.shape[2:], self.crops[view % len(self.crops)])
            views.append(clip[:, :, box.top : box.top + box.height, box.left : box.left + box.width].contiguous())
        return views
