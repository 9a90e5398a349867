"""Small videos written by the tests themselves, and a config that reads them."""

import av
import numpy as np
import pytest


def moving_frames(num_frames: int, height: int, width: int) -> np.ndarray:
    """uint8 [T, H, W, 3]: coloured blocks that move, so that no two frames are alike."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(blocks, (i, 2 * i), (0, 1)) for i in range(num_frames)])


@pytest.fixture(scope="session")
def write_video():
    """A function that writes a video file and returns its path as a string."""

    def write(path, num_frames=40, codec="libx264", *, options=None, size=(48, 64), fps=25, b_frames=None):
        with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
            stream = container.add_stream(codec, rate=fps, options=options or {"g": "12", "bf": "2"})
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            if b_frames:
                stream.codec_context.max_b_frames = b_frames
            for image in moving_frames(num_frames, *size):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return str(path)

    return write


@pytest.fixture
def data_cfg(tmp_path):
    """A function of KEY VALUE pairs: a config whose lists are in tmp_path, with clips of 4 frames of 32 pixels."""
    from slowfast.config import get_cfg

    def make(*options):
        cfg = get_cfg()
        cfg.merge_from_list(
            [
                *("DATA.PATH_TO_DATA_DIR", str(tmp_path), "MODEL.NUM_CLASSES", 5, "NUM_GPUS", 0),
                *("DATA.NUM_FRAMES", 4, "DATA.SAMPLING_RATE", 3, "DATA.DECODING_BACKEND", "decord"),
                *("DATA.TRAIN_CROP_SIZE", 32, "DATA.TEST_CROP_SIZE", 32, "DATA.TRAIN_JITTER_SCALES", [36, 40]),
                *("TEST.NUM_ENSEMBLE_VIEWS", 2, "TEST.NUM_SPATIAL_CROPS", 3, "DATA_LOADER.NUM_WORKERS", 0),
                *("TRAIN.BATCH_SIZE", 4, "TEST.BATCH_SIZE", 4),
                *options,
            ]
        )
        return cfg

    return make
