"""A path opens that one file: its video, not its cover, and no other file that it names; or it says what is wrong."""

import io
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import moving_frames
from PIL import Image

from slowfast.datasets import VideoError, build_dataset, check_videos
from slowfast.datasets.decoder import probe, read_frames
from slowfast.datasets.resize import resize_video


def picture(size=(32, 32), kind="jpeg"):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, kind)
    return file.getvalue()


def box(name, content):
    return struct.pack(">I4s", 8 + len(content), name) + content


def with_cover(path, first):
    """Puts a cover picture, as iTunes does, into an mp4 that ends with its moov box: before its track or behind it."""
    content = path.read_bytes()
    start = content.index(b"moov") - 4
    track = content.index(b"trak", start) - 4
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    cover = box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 13, 0) + picture((640, 480)))))
    user_data = box(b"udta", box(b"meta", bytes(4) + handler + cover))
    parts = [content[start + 8 : track], content[track:]]
    parts.insert(1 if first else 2, user_data)
    path.write_bytes(content[:start] + box(b"moov", b"".join(parts)))


def write_plain(path, num_frames=10):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for image in moving_frames(num_frames, 48, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("first", [True, False])
def test_the_video_beside_a_cover_picture_is_read(tmp_path, first):
    path = write_plain(tmp_path / "video.mp4")
    expected = read_frames(str(path), range(10))
    with_cover(path, first)
    with av.open(str(path)) as container:
        assert [stream.codec_context.width for stream in container.streams.video] == ([640, 64] if first else [64, 640])
    assert (probe(str(path)).num_frames, probe(str(path)).width) == (10, 64)
    assert np.array_equal(read_frames(str(path), range(10)), expected)


def test_sound_with_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        for _ in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    # An ID3v2.3 tag with one frame, APIC: encoding, MIME type, kind 3 (front cover), no description.
    image = b"\0image/jpeg\0\3\0" + picture()
    frame = b"APIC" + struct.pack(">IH", len(image), 0) + image
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\3\0\0" + size + frame + path.read_bytes())
    with av.open(str(path)) as container:
        assert container.streams.best("video")  # FFmpeg's word for the cover
    with pytest.raises(VideoError, match="no video stream in it"):
        probe(str(path))


@pytest.mark.parametrize(
    "name", ["12:30:00.mp4", "http:a.mp4", "file:x.mp4", "concat:a|b.mp4", "data:x.mp4", "100%d.mp4"]
)
def test_names_that_look_like_addresses_are_names(tmp_path, monkeypatch, data_cfg, name):
    monkeypatch.chdir(tmp_path)
    expected = read_frames(str(write_plain(tmp_path / "plain.mp4")), range(10))
    os.rename("plain.mp4", name)
    assert np.array_equal(read_frames(name, range(10)), expected)
    assert resize_video(Path(name), Path(f"{name}.small.mp4"), 24, 12) is None
    (tmp_path / "val.csv").write_text(f"{name} 0\n{name}.small.mp4 1\n")
    dataset = build_dataset(data_cfg(), "val")
    check_videos(dataset, -1)
    assert [dataset.info(entry).height for entry in dataset.entries] == [48, 24]


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-VERSION:3\n#EXTINF:1.6,\nother.ts\n#EXT-X-ENDLIST\n"
DASH = '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>\n'
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
PLAYLISTS = {
    "list.m3u8": HLS,
    "marked.m3u8": "\ufeff" + HLS,
    "called.mp4": HLS,
    "list.ffconcat": "ffconcat version 1.0\nfile other.ts\n",
    "list.mp4": "ffconcat version 1.0\nfile other.ts\n",
    "list.mpd": DASH,
    "list.pls": "[playlist]\nFile1=other.ts\n",
    "stream.sdp": SDP,
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_opens_no_other_file(tmp_path, name):
    write_plain(tmp_path / "other.ts")
    (tmp_path / name).write_text(PLAYLISTS[name], encoding="utf-8")
    for read in (probe, lambda path: read_frames(path, [0])):
        with pytest.raises(VideoError, match=rf"{name}: is a playlist; put the videos that it names into the list"):
            read(str(tmp_path / name))


@pytest.mark.parametrize("name", ["notes.txt", "notes.nfo", "notes.diz", "notes.ans", "train.csv"])
def test_a_text_is_no_video(tmp_path, name):
    (tmp_path / name).write_text("a.mp4 0\nb.mp4 1\n" * 40)
    with pytest.raises(VideoError, match="not a readable video"):
        probe(str(tmp_path / name))


def test_an_image_whose_name_is_a_pattern_is_that_image(tmp_path):
    for name, colour in (("100%d.png", 10), ("1001.png", 20), ("1002.png", 30), ("a*.png", 40), ("ab.png", 50)):
        Image.new("RGB", (32, 32), (colour,) * 3).save(tmp_path / name)
    for name, colour in (("100%d.png", 10), ("a*.png", 40), ("1002.png", 30)):
        assert probe(str(tmp_path / name)).num_frames == 1
        assert read_frames(str(tmp_path / name), [0]).mean() == colour


def animated_webp():
    file = io.BytesIO()
    frames = [Image.fromarray(frame) for frame in moving_frames(4, 48, 64)]
    frames[0].save(file, "webp", save_all=True, append_images=frames[1:])
    return file.getvalue()


def test_an_animated_webp_is_read_or_said_to_be_beyond_this_ffmpeg(tmp_path):
    path = tmp_path / "animation.webp"
    path.write_bytes(animated_webp())
    try:
        with av.open(str(path)) as container:
            count = sum(1 for _ in container.decode(video=0))
    except av.FFmpegError:
        for read in (probe, lambda path: read_frames(path, [0])):
            with pytest.raises(VideoError, match="an animated WebP image, which is not decoded by this FFmpeg"):
                read(str(path))
        assert "not decoded by this FFmpeg" in str(resize_video(path, tmp_path / "small.mp4", 24, 12))
    else:
        assert probe(str(path)).num_frames == count == 4


def test_a_still_webp_is_one_frame_and_a_cut_one_is_damaged(tmp_path):
    path = tmp_path / "still.webp"
    path.write_bytes(picture((64, 48), "webp"))
    assert read_frames(str(path), [0]).shape == (1, 48, 64, 3)
    path.write_bytes(picture((64, 48), "webp")[:40])
    with pytest.raises(VideoError, match="damaged"):
        read_frames(str(path), [0])


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        (b"evc1", "of codec evc, which is not decoded by this FFmpeg"),
        (b"xyzw", "damaged, or of a codec that FFmpeg does not know"),
    ],
)
def test_a_codec_without_a_decoder_is_named(tmp_path, tag, reason):
    if tag == b"evc1" and "evc" in av.codecs_available:
        pytest.skip("this FFmpeg decodes EVC")
    path = write_plain(tmp_path / "video.mp4")
    content = path.read_bytes()
    entry = content.index(b"avc1", content.index(b"stsd"))
    path.write_bytes(content[:entry] + tag + content[entry + 4 :])
    level = av.logging.get_level()
    with pytest.raises(VideoError, match=reason):
        probe(str(path))
    assert av.logging.get_level() == level
