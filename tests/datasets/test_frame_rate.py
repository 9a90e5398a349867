"""Frames a second: by the times at which a file's frames are shown, or by its header where that is as good."""

from fractions import Fraction

import av
import numpy as np
import pytest
from conftest import moving_frames

from slowfast.datasets import build_dataset
from slowfast.datasets.decoder import probe
from slowfast.datasets.resize import resize_video
from slowfast.datasets.video_index import frame_rate, index_of

NTSC = Fraction(30000, 1001)
# Uneven steps of 100 to 180 ms, and a pause: 24 frames in 5.47 s.
STEPS = [100 + 40 * (i % 3) for i in range(23)]
STEPS[11] += 2280
TIMES = np.cumsum([0, *STEPS]).tolist()
REAL = 23 / (TIMES[-1] / 1000)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A function of a file name, codec and options: the file, with frames at TIMES and 25 frames a second promised."""
    folder = tmp_path_factory.mktemp("uneven")

    def write(name, codec, options=None):
        path = folder / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            for image, time in zip(moving_frames(24, 48, 64), TIMES, strict=True):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


UNEVEN = {
    "b_frames.mkv": ("libx264", {"bf": "2", "g": "12"}),
    "no_b_frames_though_the_header_allows_them.mkv": ("libx264", {"bf": "2", "g": "1"}),
    "vp9.webm": ("libvpx-vp9", {"cpu-used": "8"}),
    "vp8.webm": ("libvpx", {"cpu-used": "8"}),
    "b_frames.mp4": ("libx264", {"bf": "2", "g": "12"}),
    "clock.ts": ("libx264", {"bf": "0"}),
    "clock.wmv": ("wmv2", {}),
    "clock.avi": ("mpeg4", {}),
    "header.flv": ("flv1", {}),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_the_rate_of_an_uneven_file_is_that_of_its_timestamps(uneven, name):
    path = uneven(name, *UNEVEN[name])
    assert probe(str(path)).fps == pytest.approx(REAL, rel=0.005)


@pytest.mark.parametrize("name", ["b_frames.mkv", "vp9.webm", "clock.avi"])
def test_a_resized_file_has_the_rate_and_times_of_its_source(uneven, tmp_path, name):
    source, target = uneven(name, *UNEVEN[name]), tmp_path / "small.mp4"
    assert resize_video(source, target, 24, 12) is None
    assert probe(str(target)).fps == pytest.approx(REAL, rel=0.005)
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        seconds = sorted(float(packet.pts * stream.time_base) for packet in container.demux(stream) if packet.size)
    assert np.allclose(np.array(seconds) - seconds[0], np.array(TIMES) / 1000, atol=0.001)


@pytest.mark.parametrize(("rate", "size", "pixels"), [(25, (576, 720), "yuv420p"), (NTSC, (480, 720), "yuv411p")])
def test_raw_dv_has_the_rate_of_its_standard(tmp_path, rate, size, pixels):
    path, target = tmp_path / "camera.dv", tmp_path / "small.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("dvvideo", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((*size, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    assert probe(str(path)).fps == float(rate)
    assert resize_video(path, target, 48, 12) is None
    assert probe(str(target)).fps == pytest.approx(float(rate), rel=1e-4)
    with av.open(str(target)) as container:  # for players that read headers
        assert float(container.streams.video[0].average_rate) == pytest.approx(float(rate), rel=1e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov"])
@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), 25, 60])
def test_an_even_file_has_the_exact_rate_of_its_header_in_every_container(write_video, tmp_path, name, rate):
    assert probe(write_video(tmp_path / name, 30, fps=rate)).fps == float(rate)


@pytest.mark.parametrize("name", ["jump.ts", "jump.mkv", "jump.flv"])
@pytest.mark.parametrize("at", [1, 15, 23], ids=lambda at: f"after {at} frames")
def test_a_jump_of_the_clock_does_not_count(tmp_path, name, at):
    """Recordings of broadcasts, and files joined without new timestamps: an hour between two frames is no pause."""
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0", "g": "6"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number, image in enumerate(moving_frames(24, 48, 64)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number + (number >= at) * 3600 * 25
            frame.time_base = Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert probe(str(path)).fps == 25


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("rate", [NTSC, 60, 240])
def test_a_short_file_whose_times_are_rounded_keeps_its_headers_rate(write_video, tmp_path, rate, count):
    path = write_video(tmp_path / "short.mkv", count, fps=rate)
    assert probe(str(path)).fps == float(rate)


def test_a_resized_file_begins_at_its_first_frame_also_where_the_clock_began_below_0(write_video, tmp_path):
    source, target = tmp_path / "below.mkv", tmp_path / "resized.mp4"
    options = {"avoid_negative_ts": "disabled"}
    path = write_video(tmp_path / "a.mp4", 20, "mpeg4", options={"g": "12"})
    with av.open(path) as plain, av.open(str(source), "w", options=options) as shifted:
        stream = shifted.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(video=0):
            if packet.dts is not None:
                shift = round(0.4 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                shifted.mux(packet)
    assert index_of(str(source)).timestamps[0] < 0
    assert resize_video(source, target, 24, 12) is None
    assert probe(str(target)).num_frames == probe(str(source)).num_frames == 20


def test_a_file_that_a_cut_left_with_holes_at_its_end_keeps_its_rate(write_video, tmp_path):
    path = tmp_path / "cut.mp4"
    with (
        av.open(write_video(tmp_path / "whole.mp4", 40, options={"bf": "3", "g": "40", "b_strategy": "0"})) as whole,
        av.open(str(path), "w") as cut,
    ):
        stream = cut.add_stream_from_template(whole.streams.video[0])
        packets = [packet for packet in whole.demux(video=0) if packet.size]
        last = max(range(10, 20), key=lambda i: packets[i].pts)  # the frames that are shown before it come later
        for packet in packets[: last + 1]:
            packet.stream = stream
            cut.mux(packet)
    times = index_of(str(path)).timestamps
    assert len(set(np.diff(times).tolist())) > 1
    assert probe(str(path)).fps == 25.0


RAW = [("raw.h264", "libx264", rate) for rate in (12, 15, 25, NTSC, 50)]
RAW += [("raw.m2v", "mpeg2video", rate) for rate in (25, NTSC, 50)]
RAW += [("raw.m4v", "mpeg4", rate) for rate in (15, 25, NTSC)]


@pytest.mark.parametrize(("name", "codec", "rate"), RAW)
def test_a_raw_stream_has_the_rate_of_its_own_header(write_video, tmp_path, name, codec, rate):
    assert probe(write_video(tmp_path / name, 12, codec, fps=rate)).fps == pytest.approx(float(rate), rel=1e-4)


@pytest.mark.parametrize(
    ("header", "shown", "decoded", "rate"),
    [
        (25.0, [], [], 25.0),
        (25.0, [0], [0], 25.0),
        (None, [], [0, 40, 80], 25.0),
        (None, [0, 50, 100], [], 20.0),
        (None, [], [0, 0], 30.0),
        (None, [], [80, 0], 30.0),
        (25.0, [0, 40, 80, 160], [-40, 0, 40, 80], 25.0),
        (25.0, [0, 40, 80, 160], [-40, 0, 40, 120], 18.75),
        (25.0, [0, 40, 80, 160], [-40, -30, 40, 80], 18.75),
        (29.97, [0, 33, 67, 100, 133, 167, 200, 234], [], 29.97),
    ],
)
def test_the_rate_follows_from_header_and_times(header, shown, decoded, rate):
    assert frame_rate(header, shown, decoded, 0.001) == pytest.approx(rate)


def test_clips_of_an_uneven_file_last_as_long_as_those_of_others(uneven, data_cfg, tmp_path):
    path = uneven("b_frames.mkv", *UNEVEN["b_frames.mkv"])
    (tmp_path / "val.csv").write_text(f"{path} 0\n")
    cfg = data_cfg("DATA.DECODING_BACKEND", "pyav", "DATA.TARGET_FPS", 12.6, "DATA.SAMPLING_RATE", 4)
    dataset = build_dataset(cfg, "val")
    # 16 frames at 12.6 a second are 1.27 s: 5.3 frames of this file, where its header would give 32.
    numbers = dataset.indices(dataset.info(dataset.entries[0]), dataset.clips[0], None)
    assert numbers[-1] - numbers[0] == 4
