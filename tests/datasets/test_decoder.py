import os
import pickle
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from full_decode import SHARED, assert_reads_as_a_full_decode, decode_all

from slowfast.datasets import decoder
from slowfast.datasets.decoder import VideoError, probe, read_frames

B_FRAMES = {"g": "12", "bf": "2"}
# Every way a container tells frames apart: with and without B-frames, presentation times, exact seeking.
ENCODINGS = {
    "h264.mp4": ("libx264", B_FRAMES),
    "open_gop.mkv": ("libx264", {"x264-params": "keyint=12:bframes=4:b-pyramid=normal:open-gop=1"}),
    "intra_refresh.mp4": ("libx264", {"x264-params": "keyint=20:intra-refresh=1:bframes=0"}),
    "no_presentation_times.avi": ("libx264", B_FRAMES),
    "approximate_seeking.ts": ("libx264", {"x264-params": "keyint=12:bframes=4:open-gop=1"}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "qmax": "5"}),
    "mpeg4_b.avi": ("mpeg4", B_FRAMES),
    "mpeg1.mpg": ("mpeg1video", {"g": "15", "bf": "2"}),
    "av1.mp4": ("libsvtav1", {"g": "20", "preset": "12"}),
    "vp9.webm": ("libvpx-vp9", {"g": "20", "lag-in-frames": "16", "auto-alt-ref": "1", "cpu-used": "8"}),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory, write_video):
    folder = tmp_path_factory.mktemp("videos")
    for name, (codec, options) in ENCODINGS.items():
        write_video(folder / name, 60, codec, options=options, b_frames=int(options.get("bf", 0)))
    return folder


@pytest.mark.parametrize("name", ENCODINGS)
def test_any_frames_equal_those_of_a_full_decode(videos, name):
    assert_reads_as_a_full_decode(videos / name, sets=12, singly=True)


@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mkv", "mpeg4.avi", "av1.mp4", "vp9.webm"])
def test_where_timestamps_can_be_trusted_no_frame_needs_a_decode_from_the_start(videos, name, monkeypatch):
    monkeypatch.delattr(decoder, "decode_from_start")
    for index in range(60):
        read_frames(str(videos / name), [index])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the sample videos in ../shared/video")
@pytest.mark.parametrize("name", ["bitflip.mp4", "trunc_faststart.mp4"])
def test_real_damage_is_never_read_as_something_else(name):
    assert_right_or_refused(SHARED / "edge" / name)


def assert_right_or_refused(path):
    """Frames before the damage are right; a refusal gives the position at which a full decode stops."""
    reference = decode_all(path)
    refused = 0
    for index in range(0, probe(str(path)).num_frames, 3):
        try:
            image = read_frames(str(path), [index])[0]
        except VideoError as error:
            refused += 1
            assert error.position == len(reference) <= index
        else:
            # Beyond the damage, what can be decoded from a later keyframe is read.
            assert index >= len(reference) or np.array_equal(image, reference[index])
    assert refused
    assert len(reference) > 3


def test_a_truncated_file_is_read_up_to_the_damage(videos, tmp_path):
    content = (videos / "h264.mp4").read_bytes()
    path = tmp_path / "truncated.mp4"
    path.write_bytes(content[: len(content) * 6 // 10])
    assert_right_or_refused(path)


def test_a_truncated_avi_has_the_frames_that_are_left(videos, tmp_path):
    content = (videos / "mpeg4.avi").read_bytes()
    path = tmp_path / "truncated.avi"
    path.write_bytes(content[: len(content) // 2])
    assert 0 < probe(str(path)).num_frames < 60
    assert_reads_as_a_full_decode(path, sets=2)


def write_audio(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "an empty file"),
        (b"this is not a video\n" * 50, "not a readable video"),
        (bytes(range(256)) * 8, "not a readable video"),
        (write_audio, "no video stream"),
        (Path.mkdir, "not a readable video"),
    ],
    ids=["missing", "empty", "text", "garbage", "audio only", "folder"],
)
def test_what_is_not_a_video_is_a_video_error_with_its_path_and_reason(tmp_path, content, reason):
    path = tmp_path / "video.mp4"
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    for read in (probe, lambda path: read_frames(path, [0])):
        with pytest.raises(VideoError, match=reason) as caught:
            read(str(path))
        assert str(path) in str(caught.value)


def test_frames_that_are_not_there_are_refused(videos):
    for indices in ([60], [-1], [0, 99], []):
        with pytest.raises(VideoError, match="it has 60"):
            read_frames(str(videos / "h264.mp4"), indices)


def test_the_frame_count_of_the_header_is_not_believed(videos, tmp_path):
    content = bytearray((videos / "mpeg4.avi").read_bytes())
    total_frames = content.index(b"avih") + 8 + 16
    assert struct.unpack_from("<I", content, total_frames) == (60,)
    struct.pack_into("<I", content, total_frames, 9999)
    path = tmp_path / "header.avi"
    path.write_bytes(content)
    assert probe(str(path)).num_frames == 60


def test_a_video_filmed_upright_is_shown_upright(videos, tmp_path):
    content = bytearray((videos / "h264.mp4").read_bytes())
    # The track's matrix (ISO 14496-12, 6.2.2) of a quarter turn clockwise: right becomes down.
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path = tmp_path / "turned.mp4"
    path.write_bytes(content)
    turned, plain = (read_frames(str(file), [7])[0] for file in (path, videos / "h264.mp4"))
    assert turned.shape == (64, 48, 3)
    assert np.array_equal(turned, np.rot90(plain, -1))


def test_a_file_that_changes_size_on_the_way_is_refused(write_video, tmp_path):
    for name, size in (("a.ts", (48, 64)), ("b.ts", (64, 96))):
        write_video(tmp_path / name, 20, size=size)
    path = tmp_path / "both.ts"
    path.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    num_frames = probe(str(path)).num_frames
    with pytest.raises(VideoError, match="change size"):
        read_frames(str(path), [0, num_frames - 1])


def test_a_file_that_was_replaced_is_read_anew(write_video, tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, 30)
    assert probe(str(path)).num_frames == 30
    write_video(path, 20)
    assert probe(str(path)).num_frames == 20


def test_a_full_range_video_leaves_no_trace_in_the_next(videos, write_video, tmp_path):
    # One of limited range, told so, before and after one of full range.
    limited = write_video(tmp_path / "limited.mp4", 4, options={"x264-params": "range=tv"})
    before = read_frames(limited, [0])
    full = write_video(tmp_path / "full.mp4", 4, options={"x264-params": "range=pc"})
    read_frames(full, [0])
    assert np.array_equal(read_frames(limited, [0]), before)


@pytest.mark.parametrize(("short_side", "size"), [(24, (24, 32)), (29, (29, 38)), (48, (48, 64)), (100, (48, 64))])
def test_frames_are_shrunk_to_the_short_side_and_never_enlarged(videos, short_side, size):
    path, indices = str(videos / "h264.mp4"), [3, 30, 4]
    plain = read_frames(path, indices)
    shrunk = read_frames(path, indices, short_side=short_side)
    assert shrunk.shape == (3, *size, 3)
    as_plain = torch.nn.functional.interpolate(
        torch.from_numpy(plain).permute(0, 3, 1, 2).float(), size, mode="bilinear", antialias=True
    )
    difference = as_plain.permute(0, 2, 3, 1) - torch.from_numpy(shrunk)
    assert difference.abs().mean() < 12  # another filter of about the same width, of blocks of random colours
    if size == (48, 64):
        assert np.array_equal(shrunk, plain)


@pytest.mark.parametrize("threads", [0, 2])
def test_threads_do_not_change_the_frames(videos, threads):
    indices = [3, 17, 30, 31, 59]
    path = str(videos / "h264.mp4")
    assert np.array_equal(read_frames(path, indices, threads=threads), read_frames(path, indices))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_files_are_closed_also_after_errors(videos, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        read_frames(str(videos / "h264.mp4"), [0])
        with pytest.raises(VideoError):
            read_frames(str(tmp_path / "text.mp4"), [0])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_video_error_survives_the_way_out_of_a_worker():
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "damaged", 7)))
    assert (error.path, error.reason, error.position) == ("a.mp4", "damaged", 7)
    assert str(error) == "a.mp4: damaged at frame 7"
