"""Random requests for frames of random files, whole and damaged. DECODER_REQUESTS=10000 asks for more of them."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import moving_frames
from full_decode import SHARED, assert_reads_as_a_full_decode

from slowfast.datasets.decoder import VideoError, probe, read_frames

REQUESTS = int(os.environ.get("DECODER_REQUESTS", 500))
FILES = max(24, REQUESTS // 40)
# codec -> (containers, pixel formats, whether it has B-frames)
CODECS = {
    "libx264": (["mp4", "mkv", "avi", "ts", "mov", "flv"], ["yuv420p", "yuv444p", "yuv422p10le"], True),
    "libx265": (["mp4", "mkv", "ts"], ["yuv420p", "yuv420p10le"], True),
    "mpeg4": (["avi", "mp4", "mkv"], ["yuv420p"], True),
    "libvpx-vp9": (["webm", "mkv", "mp4"], ["yuv420p"], False),
    "mjpeg": (["avi", "mov", "mkv"], ["yuvj420p"], False),
}
RATES = [Fraction(rate) for rate in ("24000/1001", "12", "15", "25", "30000/1001", "30", "60")]


def encoder_options(codec, gop, b_frames, rng):
    if codec == "libx265":
        return {"x265-params": f"keyint={gop}:bframes={b_frames}:open-gop={rng.integers(2)}:log-level=none:pools=1"}
    if codec == "libx264":
        pyramid = rng.choice(["none", "normal"])
        params = f"keyint={gop}:bframes={b_frames}:b-pyramid={pyramid}:open-gop={rng.integers(2)}:threads=1"
        return {"preset": "veryfast", "x264-params": params}
    if codec == "libvpx-vp9":
        return {"g": str(gop), "cpu-used": "8", "deadline": "realtime", "lag-in-frames": str(rng.integers(0, 20))}
    if codec == "mjpeg":
        return {"q:v": "5"}
    return {"g": str(gop), "vtag": "XVID", "bf": str(b_frames)}


def write_random_video(folder: Path, seed: int) -> Path:
    """A file of random codec, container, GOP, B-frames, frame rate, length, size and times between frames."""
    rng = np.random.default_rng(seed)
    codec = list(CODECS)[seed % len(CODECS)]
    containers, formats, has_b_frames = CODECS[codec]
    path = folder / f"{seed} {codec}.{rng.choice(containers)}"
    num_frames = int(rng.integers(1, 70))
    is_variable = path.suffix in {".mp4", ".mkv"} and codec != "mpeg4" and rng.random() < 0.3
    times = np.cumsum(rng.integers(1, 4, num_frames)) if is_variable else np.arange(num_frames)
    b_frames = int(rng.integers(0, 5)) * has_b_frames
    height, width = (16 * rng.integers(4, 8, 2)).tolist()  # x265 corrupts its heap on smaller ones
    with av.open(str(path), "w") as container:
        options = encoder_options(codec, rng.integers(1, 80), b_frames, rng)
        stream = container.add_stream(codec, rate=RATES[rng.integers(len(RATES))], options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, str(rng.choice(formats))
        if b_frames:
            stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        for image, time in zip(moving_frames(num_frames, height, width), times.tolist(), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, 1 / stream.average_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def random_videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random videos")
    return [write_random_video(folder, seed) for seed in range(FILES)]


def test_any_frames_of_random_files_equal_those_of_a_full_decode(random_videos):
    for path in random_videos:
        assert_reads_as_a_full_decode(path, sets=max(2, -(-REQUESTS // (6 * FILES))))


def is_whole(path):
    return path.stem not in {"zero", "garbage", "audioonly", "trunc_noindex", "bitflip", "trunc_faststart", "README"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the sample videos in ../shared/video")
def test_real_and_unusual_files_equal_a_full_decode():
    files = [path for path in sorted(SHARED.glob("*/*")) if is_whole(path)]
    assert len(files) == 24
    for path in files:
        assert_reads_as_a_full_decode(path, sets=max(2, -(-REQUESTS // (6 * len(files)))))


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, with bytes replaced, with a stretch of zeros, or with a stretch missing."""
    kind, size = rng.integers(4), len(content)
    start = int(rng.integers(size))
    stop = min(size, start + int(rng.integers(1, size)))
    if kind == 0:
        return content[:start]
    if kind == 1:
        changed = np.frombuffer(content, np.uint8).copy()
        changed[rng.integers(0, size, rng.integers(1, 40))] = rng.integers(256)
        return changed.tobytes()
    return content[:start] + (bytes(stop - start) if kind == 2 else b"") + content[stop:]


def test_a_damaged_file_gives_frames_or_the_one_error(random_videos, tmp_path):
    refused = read = 0
    for seed in range(max(200, REQUESTS // 2)):
        rng = np.random.default_rng(seed)
        source = random_videos[seed % len(random_videos)]
        path = tmp_path / f"{seed}{source.suffix}"
        path.write_bytes(damaged(source.read_bytes(), rng))
        try:
            info = probe(str(path))
            indices = rng.integers(0, info.num_frames, 4)
            assert read_frames(str(path), indices).shape[::3] == (4, 3)
            read += 1
        except VideoError as error:
            assert error.path == str(path)
            refused += 1
        path.unlink()
    assert read > 10
    assert refused > 10


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts memory and descriptors in /proc")
def test_thousands_of_openings_leave_no_memory_and_no_descriptor_behind(random_videos, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(random_videos[0].read_bytes()[:200])

    def open_often(times):
        for turn in range(times):
            read_frames(str(random_videos[turn % 8]), [0])
            with pytest.raises(VideoError):
                read_frames(str(broken), [0])
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE"), len(os.listdir("/proc/self/fd"))

    memory, descriptors = open_often(100)
    more, left_open = open_often(max(200, min(REQUESTS, 1000)))
    assert left_open == descriptors
    assert more - memory < 8 * 2**20
