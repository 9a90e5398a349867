"""The folder of the embedded data set `motion`: it is written anew where it must be, and no file of a user's goes."""

import json
import logging
import multiprocessing
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from slowfast.datasets import build_dataset
from slowfast.datasets.lists import read_video_list
from slowfast.datasets.motion import write_motion

SMALL = {"train": 8, "val": 8}


@pytest.fixture
def root(tmp_path):
    """The data set as it is written, with a video, a note and a list of the user's own."""
    root = write_motion(tmp_path / "motion", counts=SMALL, workers=1)
    for name in ("mine/only copy.mp4", "train/00003 cut.mp4", "notes.txt", "own.csv"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"the user's {name}")
    return root


def the_users(root):
    """The user's files that are still there, whole."""
    names = ("mine/only copy.mp4", "train/00003 cut.mp4", "notes.txt", "own.csv")
    return [name for name in names if (root / name).is_file() and (root / name).read_text() == f"the user's {name}"]


def change_manifest(root, **entries):
    path = root / "motion.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def assert_whole(root, counts=SMALL):
    """The lists name the videos of `root`, which are all there, and no other video of the data set is."""
    listed = set()
    for split, count in counts.items():
        entries = read_video_list(root / f"{split}.csv", num_classes=8)
        assert len(entries) == count
        listed |= {entry.path for entry in entries}
    assert listed == {str(path) for split in ("train", "val", "test") for path in root.glob(f"{split}/[0-9]????.*")}
    assert json.loads((root / "motion.json").read_text())["root"] == str(root)


def write_small(root):
    write_motion(root, counts=SMALL, workers=1)


@pytest.mark.parametrize("change", ["version", "seed", "counts", "moved", "list gone"])
def test_a_data_set_is_written_anew_beside_the_users_files(root, tmp_path, change):
    counts = {"train": 8} if change == "counts" else SMALL
    if change == "version":
        change_manifest(root, version=1)
    if change == "moved":
        root = root.rename(tmp_path / "elsewhere")
    if change == "list gone":
        (root / "val.csv").unlink()
    write_motion(root, counts=counts, seed=int(change == "seed"), workers=1)
    assert len(the_users(root)) == 4
    assert_whole(root, counts)


def test_a_run_keeps_the_users_files_in_a_folder_that_lacks_a_list_and_its_number_of_clips(root, data_cfg):
    (root / "val.csv").unlink()
    cfg = data_cfg("DATA.PATH_TO_DATA_DIR", str(root), "MODEL.NUM_CLASSES", 8, "TRAIN.DATASET", "motion")
    assert build_dataset(cfg, "train").num_videos == build_dataset(cfg, "val").num_videos == 8
    assert len(the_users(root)) == 4
    assert_whole(root)


def test_videos_that_are_the_same_in_the_new_place_are_not_written_again(root, tmp_path):
    written = {path.name: path.stat().st_mtime_ns for path in root.glob("val/*")}
    moved = root.rename(tmp_path / "elsewhere")
    write_small(moved)
    assert {path.name: path.stat().st_mtime_ns for path in moved.glob("val/*")} == written


def test_a_copy_is_written_anew_without_touching_what_it_was_copied_from(root, tmp_path):
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    write_motion(copy, counts=SMALL, seed=1, workers=1)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert_whole(copy)


def test_what_is_written_anew_is_logged(root, caplog):
    with caplog.at_level(logging.INFO):
        write_motion(root, counts={"train": 8}, seed=1, workers=1)
    assert f"motion in {root} is written anew (another counts, seed): its lists, and 16 of its videos" in caplog.text


@pytest.mark.parametrize("name", ["train.csv", "classes.json"])
def test_an_edited_list_is_kept_and_where_it_would_be_written_anew_that_is_refused(root, name):
    edited = (root / name).read_text().replace("0", "1")
    (root / name).write_text(edited)
    write_small(root)
    assert (root / name).read_text() == edited
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    change_manifest(root, version=1)
    with pytest.raises(FileExistsError, match=rf"{name} is not as .* wrote it.*another version.*Move {name} to"):
        write_small(root)
    before[root / "motion.json"] = (root / "motion.json").read_bytes()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before | {
        root / ".motion.lock": b""
    }


def test_a_users_list_is_not_taken_for_one_of_a_split_that_is_new(root):
    (root / "test.csv").write_text("mine.mp4 0\n")
    with pytest.raises(FileExistsError, match=r"test\.csv is not as .* wrote it"):
        write_motion(root, counts=SMALL | {"test": 8}, workers=1)
    assert (root / "test.csv").read_text() == "mine.mp4 0\n"


@pytest.mark.parametrize(
    "content",
    [
        *("", '{"version": 2, "style"', "[]", "{}", '{"version": 1}', b"\xff\xfe\x00", "[" * 100_000),
        '{"version": 1, "style": {}, "root": "/", "counts": {"../mine": 8}, "seed": 0}',
        '{"version": 1, "style": {}, "root": "/", "counts": {"train": -1}, "seed": 0}',
        '{"version": 1, "style": {}, "root": "/", "counts": {"train": "8"}, "seed": 0}',
        '{"version": 1, "style": {}, "root": "/", "counts": {"train": 1000000000000}, "seed": 0}',
        '{"version": 1, "style": {}, "root": 3, "counts": {"train": 8}, "seed": 0}',
        '{"version": 1, "style": {}, "root": "/", "counts": {"train": 8}, "seed": [0]}',
    ],
)
def test_a_broken_manifest_is_one_message_with_a_remedy(root, data_cfg, content):
    (root / "motion.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    cfg = data_cfg("DATA.PATH_TO_DATA_DIR", str(root), "MODEL.NUM_CLASSES", 8, "TRAIN.DATASET", "motion")
    for use in (lambda: build_dataset(cfg, "train"), lambda: write_small(root)):
        with pytest.raises(
            ValueError, match=r"motion\.json cannot be used \(.*Move the folder .*DATA\.PATH_TO_DATA_DIR"
        ):
            use()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_link_to_a_folder_stays_a_link_and_both_names_are_one_data_set(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "motion"
    link.symlink_to(tmp_path / "disk")
    write_small(link)
    write_motion(link, counts=SMALL, seed=1, workers=1)
    assert link.is_symlink()
    assert len(list((tmp_path / "disk").glob("*/*.*"))) == 16
    before = (link / "motion.json").stat().st_mtime_ns
    write_motion(tmp_path / "disk", counts=SMALL, seed=1, workers=1)
    assert (link / "motion.json").stat().st_mtime_ns == before


def test_a_folder_that_another_process_lays_out_meanwhile_holds_no_other_files(tmp_path, monkeypatch):
    root, list_files = tmp_path / "motion", Path.iterdir
    root.mkdir()

    def list_files_overtaken(folder):
        monkeypatch.setattr(Path, "iterdir", list_files)
        write_small(root)
        return list_files(folder)

    monkeypatch.setattr(Path, "iterdir", list_files_overtaken)
    write_small(root)
    assert_whole(root)


@pytest.mark.parametrize("link", ["train", "train/00000.mp4"])
def test_what_links_lead_to_is_not_written_anew(root, tmp_path, link):
    elsewhere = tmp_path / "elsewhere"
    (root / link).rename(elsewhere)
    (root / link).symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match=rf"{link} is a link"):
        write_motion(root, counts=SMALL, seed=5, workers=1)
    assert {path: path.read_bytes() for path in before} == before


@contextmanager
def no_room():
    """Every write to a file fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_folder_that_cannot_be_written_is_one_message(root, tmp_path):
    (tmp_path / "file").write_text("")
    for unwritable in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            OSError, match=r"motion cannot be written in .*file.*Set DATA\.PATH_TO_DATA_DIR to a folder"
        ):
            write_small(unwritable)
    with no_room(), pytest.raises(OSError, match=r"cannot be written in .*\(File too large"):
        write_motion(root, counts=SMALL, seed=1, workers=1)
    write_motion(root, counts=SMALL, seed=1, workers=1)
    assert_whole(root)
    assert len(the_users(root)) == 4


class Killed(BaseException):
    """Ends a process' work at once."""


def kill_at(monkeypatch, step):
    """The removal or renaming of a file that is the `step`th, from 0, is the last thing that is not done."""
    left = iter(range(step))

    def counted(call):
        def do(*args, **kwargs):
            if next(left, None) is None:
                raise Killed
            return call(*args, **kwargs)

        return do

    for name in ("unlink", "replace"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


@pytest.mark.parametrize("later", [{"seed": 1}, {"seed": 0}, {"seed": 2}])
def test_whenever_a_process_is_killed_the_next_one_leaves_the_whole_data_set(tmp_path, monkeypatch, later):
    whole = write_motion(tmp_path / "whole", counts={"val": 8}, workers=1, **later)
    videos = {path.name: path.read_bytes() for path in whole.glob("val/*")}
    for step in range(100):
        root = write_motion(tmp_path / f"{step}", counts={"val": 8}, workers=1)
        (root / "notes.txt").write_text("the user's notes.txt")
        try:
            with monkeypatch.context() as patch:
                kill_at(patch, step)
                write_motion(root, counts={"val": 8}, seed=1, workers=1)
            break
        except Killed:
            write_motion(root, counts={"val": 8}, workers=1, **later)
        assert_whole(root, {"val": 8})
        assert {path.name: path.read_bytes() for path in root.glob("val/[!.]*")} == videos
        assert the_users(root) == ["notes.txt"]
    assert step > 15  # 2 lists, 8 videos, the manifest, 2 lists, 8 videos


def test_a_process_killed_before_anything_was_there_leaves_an_empty_folder_to_the_next(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, 0)
        with pytest.raises(Killed):
            write_small(tmp_path / "motion")
    write_small(tmp_path / "motion")
    assert_whole(tmp_path / "motion")


def test_processes_that_find_a_moved_folder_together_write_it_anew_once(root, tmp_path):
    moved = root.rename(tmp_path / "elsewhere")
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.map(write_small, [moved] * 3, chunksize=1)
    assert_whole(moved)
    assert len(the_users(moved)) == 4
    assert not list(moved.glob("**/.*.partial"))


def test_the_videos_folder_may_be_missing(root):
    shutil.rmtree(root / "val")
    write_small(root)
    assert_whole(root)
