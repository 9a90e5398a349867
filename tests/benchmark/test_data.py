"""The data benchmark measures two paths that do the same work."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.benchmark import data
from slowfast.benchmark.usual_path import UsualPath, decode_span
from slowfast.datasets import VideoError, build_dataset, normalize
from slowfast.datasets.decoder import read_frames
from slowfast.datasets.motion import write_motion

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_motion(
        tmp_path_factory.mktemp("benchmark") / "motion", counts={"train": 8, "val": 8, "test": 8}, workers=1
    )


def arguments(*options):
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    parser.add_argument("--runs", type=int, default=1)
    return parser.parse_args([*options, "--clip", "4", "3", "--views", "2", "3", "--crop", "32", "--files", "1"])


@pytest.fixture
def paths(videos, tmp_path):
    """A function of a split: one video's path, our data set of it, and the usual path."""

    def make(split):
        path = str(next((videos / "train").glob("*.mp4")))
        cfg = data.benchmark_config(path, split, arguments(path), tmp_path)
        dataset = build_dataset(cfg, "test" if split == "test" else "train")
        return path, dataset, UsualPath(cfg, decode_span, dataset.reader.probe(path).num_frames)

    return make


@pytest.mark.parametrize(
    # Rounding to bytes once and once more comes to 0.3 grey levels; the usual decoder gives frames near by.
    ("decode", "difference"),
    [(read_frames, 0.4 / 255 / 0.225), (decode_span, 0.25)],
)
def test_the_usual_path_makes_the_views_that_ours_makes(paths, decode, difference):
    path, dataset, usual = paths("test")
    usual.decode = decode
    views = usual.test_video(path)
    samples = dataset[0]
    assert len(views) == len(samples) == 6
    for clip, sample in zip(views, samples, strict=True):
        ours = normalize(sample.clip[None], [0.45] * 3, [0.225] * 3)[0]
        assert clip.shape == ours.shape
        assert (clip - ours).abs().mean() < difference


@pytest.mark.parametrize(("split", "copies"), [("train", 1), ("augmented", 2)])
def test_the_usual_path_makes_normalised_training_clips(paths, split, copies):
    path, dataset, usual = paths(split)
    samples = usual.training_sample(path, np.random.default_rng(0))
    assert len(samples) == len(dataset[0]) == copies
    for clip in samples:
        assert clip.shape == (3, 4, 32, 32)
        assert clip.dtype == torch.float32
        assert -2.1 < clip.mean() < 2.5


def test_the_usual_decoder_gives_frames_of_the_span(paths):
    path, _dataset, _usual = paths("train")
    indices = np.array([3, 7, 11, 15])
    difference = decode_span(path, indices).astype(int) - read_frames(path, indices)
    assert np.abs(difference).mean() < 12


def test_a_list_or_folder_is_measured_and_unreadable_videos_are_left_out(videos, tmp_path, capsys):
    assert len(data.chosen_videos(videos / "train.csv", 5)) == 5
    assert len(data.chosen_videos(videos / "train", 2)) == 2
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="no readable video"):
        data.chosen_videos(tmp_path, 5)
    assert "left out" in capsys.readouterr().out


def test_the_command_writes_a_table_and_json(videos, tmp_path):
    command = [sys.executable, "tools/benchmark.py", "data", str(videos / "train"), "--files", "1", "--runs", "2"]
    command += ["--clip", "4", "3", "--views", "2", "3", "--crop", "32", "--json", str(tmp_path / "data.json")]
    command += ["--batch", "8", "--step-seconds", "0.1"]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert "takes 80.0 clips/s" in said
    rows = json.loads((tmp_path / "data.json").read_text())["rows"]
    by_way = {(row["split"], row["way"]): row for row in rows}
    for split in ("train", "augmented", "test"):
        ours, usual = by_way[split, "SpikeFast"], by_way[split, "usual path, PyAV"]
        assert ours["total"] == pytest.approx(ours["open"] + ours["decode"] + ours["transform"])
        assert ours["index"] > 0
        assert usual["ratio"] == 1
        assert by_way[split, "limit: bare decoding"]["total"] > 0
