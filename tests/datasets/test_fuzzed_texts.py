"""Damaged lists and annotations: one short message at once, or a list that is valid; with seeds, so that it repeats."""

import random
import re
import time
from contextlib import contextmanager

import pytest
from annotation_files import MAKERS, PLACES, VIDEOS, make_videos
from text_mutations import mutated

from slowfast.datasets.annotations import PrepareError
from slowfast.datasets.lists import NO_LABEL, ListError, read_frame_list, read_video_list
from slowfast.datasets.prepare import parse_args, prepare
from slowfast.utils.classes import load_class_names, read_subset
from slowfast.utils.texts import TextError

NAMES = ["walk", "run é", "jump, twice"]
LISTS = {
    "spaces": (b"a.mp4 0\nmy videos/b (1).mp4 2\n\n\xd0\xb2\xd0\xb8/c.mp4 1\n/d.mp4 2\n", " "),
    "commas": (b"a.mp4,0\n\"b, c.mp4\",2\n'd'.mp4,1\n", ","),
    "tabs": (b"a.mp4\t0\r\nb c.mp4\t2\r\n", r"\t"),
    "quotes": (b'"my ""x"" (1).mp4" 0\n"y z.mp4" 1\n', " "),
    "without labels": (b"a.mp4\nb c.mp4\n", " "),
}


@contextmanager
def one_message(named, errors, what):
    """Passes when nothing is raised or one of `errors`, a short message in which `named` is found, soon."""
    started = time.process_time()
    try:
        yield
    except errors as error:
        said = str(error)
        assert len(said) < 1500, f"{what}: {len(said)} characters"
        assert "\n" not in said, f"{what}: {said}"
        assert re.search(named, said), f"{what}: {said}"
    assert time.process_time() - started < 2.0, what


@pytest.mark.parametrize("kind", LISTS)
def test_a_damaged_list_of_videos_is_a_list_or_one_message(tmp_path, kind):
    content, separator = LISTS[kind]
    path = tmp_path / "test.csv"
    for seed in range(600):
        path.write_bytes(mutated(content, random.Random(f"{kind} {seed}")))
        for may_lack_labels in (False, True):
            with one_message(path.name, ListError, f"seed {seed}"):
                entries = read_video_list(
                    path, separator=separator, num_classes=3, may_lack_labels=may_lack_labels, prefix="/v"
                )
                assert entries
                labels = {entry.label for entry in entries}
                assert labels <= {0, 1, 2} or (may_lack_labels and labels == {NO_LABEL})
                for entry in entries:
                    assert entry.path
                    assert len(entry.path) < 5000
                    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", entry.path)


def test_a_damaged_list_of_frame_folders_is_a_list_or_one_message(tmp_path):
    path = tmp_path / "train.txt"
    for seed in range(600):
        path.write_bytes(mutated(b'100218 42 0\nmy folder 8 2\n"x y" 3 1\n', random.Random(seed)))
        with one_message(path.name, ListError, f"seed {seed}"):
            entries = read_frame_list(path, num_classes=3)
            assert entries
            assert all(0 <= entry.label < 3 and 0 < entry.num_frames < 2**31 for entry in entries)


def test_damaged_names_of_classes_are_names_or_one_message(tmp_path):
    names, subset = tmp_path / "classes.json", tmp_path / "subset.txt"
    for seed in range(600):
        names.write_bytes(mutated(b'{"walk": 0,\n "run \xc3\xa9": 1,\n "jump, twice": 2}\n', random.Random(seed)))
        with one_message(names.name, ValueError, f"seed {seed}"):
            assert len(load_class_names(names, 3)) == 3
        subset.write_bytes(mutated(b"walk\nrun \xc3\xa9\n", random.Random(seed)))
        with one_message(subset.name, ValueError, f"seed {seed}"):
            assert set(read_subset(subset, NAMES)) <= {0, 1, 2}


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_annotations_make_lists_that_can_be_read_or_one_message(tmp_path, name, capsys):
    MAKERS[name](tmp_path)
    make_videos(tmp_path, VIDEOS[name])
    whole = {path: path.read_bytes() for path in sorted((tmp_path / "annotations").iterdir())}
    args = [f"--{key}={tmp_path / folder}" for key, folder in PLACES.items()]
    made = 0
    for seed in range(150):
        rng = random.Random(f"{name} {seed}")
        damaged = rng.choice(list(whole))
        for path, content in whole.items():
            path.write_bytes(mutated(content, rng) if path == damaged else content)
        named = rf"/{re.escape(damaged.name)}\b|There is no class|None of the"  # of several files
        with one_message(named, (PrepareError, TextError), f"seed {seed}"):
            prepare(parse_args([name, *args, "--relative"]))
            made += 1
            for path in (tmp_path / "lists").glob("*.csv"):
                assert read_video_list(path, num_classes=10**9)
            for path in (tmp_path / "lists").glob("*.txt"):
                assert read_frame_list(path, num_classes=10**9)
        assert len(capsys.readouterr().out) < 5000
    assert 0 < made < 150
