"""The pixels of test and validation views beside plain bilinear interpolation in float64."""

import av
import numpy as np
import pytest
from PIL import Image

from slowfast.datasets import build_dataset

SIZE = 56  # of a frame of 60 x 80 the long side becomes 74.67, cut to 74: crops at 0, 9, 18


def bilinear(frames, height, width):
    """Frames [T, H, W, C] in another size in float64: pixel centers at halves, the border repeated."""
    pixels = frames.astype(np.float64)
    for axis, size in ((1, height), (2, width)):
        old = frames.shape[axis]
        center = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        before = np.floor(center).astype(int)
        share = (center - before).reshape((-1, 1, 1) if axis == 1 else (-1, 1))
        after = np.minimum(before + 1, old - 1)
        pixels = pixels.take(before, axis) * (1 - share) + pixels.take(after, axis) * share
    return pixels


def scene(num_frames, height, width):
    """uint8 [T, H, W, 3]: smooth waves, edges and fine texture."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / (5 + c) + i / 2) * np.cos(y / (7 - c)) for i in range(num_frames) for c in range(3)]
    frames = np.stack(waves).reshape(num_frames, 3, height, width).transpose(0, 2, 3, 1)
    frames[:, 20:40, 30:50] = 255 - frames[:, 20:40, 30:50]
    return np.clip(frames + rng.normal(0, 12, frames.shape), 0, 255).astype(np.uint8)


def expected_views(frames, crop_size):
    """[crops, C, T, H, W] of frames of 60 x 80 or 80 x 60."""
    long, last = int(80 / 60 * crop_size), int(80 / 60 * crop_size) - crop_size
    wide = frames.shape[2] > frames.shape[1]
    pixels = bilinear(frames, *((crop_size, long) if wide else (long, crop_size)))
    if not wide:
        pixels = pixels.swapaxes(1, 2)
    crops = np.stack([pixels[:, :, left : left + crop_size] for left in (0, (last + 1) // 2, last)])
    return (crops if wide else crops.swapaxes(2, 3)).transpose(0, 4, 1, 2, 3)


def differences(samples, views):
    return [np.abs(sample.clip.numpy() - view).mean() for sample, view in zip(samples, views, strict=True)]


@pytest.fixture
def folder_cfg(data_cfg, tmp_path):
    """A config of one folder of 16 images of this height and width, and its frames in the one test clip."""

    def make(height, width, *options):
        frames = scene(16, height, width)
        (tmp_path / "frames").mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / "frames" / f"{number + 1:05d}.png")
        (tmp_path / "validation.txt").write_text("frames 16 0\n")
        cfg = data_cfg(
            *("TRAIN.DATASET", "sth", "TEST.DATASET", "sth", "DATA.PATH_PREFIX", str(tmp_path)),
            *("DATA.IMAGE_TEMPLATE", "{:05d}.png", "DATA.LABEL_PATH_TEMPLATE", "{}.txt"),
            *("TEST.NUM_ENSEMBLE_VIEWS", 1, "DATA.TEST_CROP_SIZE", SIZE, "DATA.TRAIN_CROP_SIZE", SIZE, *options),
        )
        return cfg, frames[[1, 5, 9, 12]]  # segments of 3.75 frames from 0, 4, 8, 11, and half of that

    return make


@pytest.mark.parametrize(("height", "width"), [(60, 80), (80, 60)])
def test_test_views_of_folders_are_bilinear_interpolation_to_the_rounding(folder_cfg, height, width):
    cfg, frames = folder_cfg(height, width)
    views = expected_views(frames, SIZE)
    assert max(differences(build_dataset(cfg, "test")[0], views)) < 0.4
    assert max(differences(build_dataset(cfg, "val")[0], views[1:2])) < 0.4


@pytest.mark.parametrize("size", [24, 30, 45, 60, 75, 112])  # 30: all interpolated pixels lie at halves
def test_views_much_smaller_or_larger_are_bilinear_interpolation_too(folder_cfg, size):
    # Of 75 the center crop begins at 12.5, and upstream takes 13.
    cfg, frames = folder_cfg(60, 80, "DATA.TEST_CROP_SIZE", size)
    found = differences(build_dataset(cfg, "test")[0], expected_views(frames, size))
    assert max(found) < 0.4
    assert size != 60 or max(found) == 0


def test_test_views_of_video_are_bilinear_interpolation_to_the_rounding(data_cfg, tmp_path):
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "g": "5"})
        stream.height, stream.width, stream.pix_fmt = 60, 80, "yuv420p"
        for frame in scene(20, 60, 80):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    (tmp_path / "test.csv").write_text(f"{path} 0\n")
    samples = build_dataset(data_cfg("DATA.TEST_CROP_SIZE", SIZE, "TEST.NUM_ENSEMBLE_VIEWS", 2), "test")[0]
    # Of 20 frames clips of 12 from 0 and from 4.
    views = [view for clip in ([0, 3, 7, 11], [4, 7, 11, 15]) for view in expected_views(decoded[clip], SIZE)]
    assert max(differences(samples, views)) < 0.5


def test_antialiasing_is_there_for_all_views_if_asked_for(folder_cfg, tmp_path):
    cfg, frames = folder_cfg(60, 80, "DATA.TEST_CROP_SIZE", 16, "DATA.TRAIN_CROP_SIZE", 16)
    (tmp_path / "train.txt").write_text("frames 16 0\n")
    plain = {split: build_dataset(cfg, split)[0][0].clip for split in ("train", "val", "test")}
    cfg.DATA.RESIZE_ANTIALIAS = True
    for split, clip in plain.items():
        smooth = build_dataset(cfg, split)[0][0].clip
        assert smooth.shape == clip.shape
        assert smooth.float().diff(dim=-1).abs().mean() < 0.9 * clip.float().diff(dim=-1).abs().mean()
    found = build_dataset(cfg, "test")[0][0].clip.numpy().transpose(1, 2, 3, 0)
    by_pil = [Image.fromarray(frame).resize((21, 16), Image.Resampling.BILINEAR) for frame in frames]  # antialiased
    assert np.abs(found - np.stack(by_pil)[:, :, :16].astype(float)).mean() < 0.4
