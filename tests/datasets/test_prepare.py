import json
import re
import shlex
import struct
from pathlib import Path

import numpy as np
import pytest
from annotation_files import PLACES, make_files, make_kinetics, make_ssv2, make_videos

from slowfast.datasets.annotations import DATASETS, PrepareError
from slowfast.datasets.decoder import probe, read_frames
from slowfast.datasets.lists import read_frame_list, read_video_list
from slowfast.datasets.prepare import parse_args, prepare
from slowfast.datasets.resize import resize_video
from slowfast.datasets.video_index import VideoInfo, index_of


@pytest.fixture
def run(tmp_path):
    """Runs prepare NAME on tmp_path/videos and tmp_path/annotations into tmp_path/lists."""

    def run(name, *options):
        folders = [f"--{key}={tmp_path / folder}" for key, folder in PLACES.items()]
        prepare(parse_args([name, *folders, *options]))
        return tmp_path / "lists"

    return run


def entries(path, root):
    return [(entry.path.removeprefix(f"{root}/"), entry.label) for entry in read_video_list(path, num_classes=1000)]


@pytest.fixture
def ucf(tmp_path):
    names = [f"{name}/v_{name}_g0{g}_c01.avi" for name in ("Archery", "YoYo") for g in range(1, 6)]
    make_videos(tmp_path, names)
    train, test = (names[1:5] + names[6:], [names[0], names[5]])
    make_files(
        tmp_path / "annotations",
        {
            "classInd.txt": "1 YoYo\n2 Archery\n",
            "trainlist02.txt": "".join(f"{name} 1\n" for name in train),
            "testlist02.txt": "".join(f"{name}\n" for name in test),
        },
    )
    return train, test


def test_ucf101_has_the_labels_of_its_class_index_and_val_is_test_with_a_warning(tmp_path, ucf, run, capsys):
    out = run("ucf101", "--split=2")
    label = {"YoYo": 0, "Archery": 1}
    for split, names in (("train", ucf[0]), ("test", ucf[1]), ("val", ucf[1])):
        expected = [(name, label[name.split("/")[0]]) for name in names]
        assert entries(out / f"{split}.csv", tmp_path / "videos") == expected
    assert json.loads((out / "classes.json").read_text()) == label
    said = capsys.readouterr().out
    assert "val is test" in said
    assert "MODEL.NUM_CLASSES 2" in said


def test_held_out_videos_leave_the_training_list(tmp_path, ucf, run):
    out = run("ucf101", "--split=2", "--holdout=0.25")
    train, val = (entries(out / f"{split}.csv", tmp_path / "videos") for split in ("train", "val"))
    assert sorted(train + val) == sorted((name, int(name.startswith("Archery"))) for name in ucf[0])
    assert sorted(label for _, label in val) == [0, 1]


def test_relative_paths_go_with_a_prefix(tmp_path, ucf, run, capsys):
    out = run("ucf101", "--split=2", "--relative")
    assert (out / "test.csv").read_text().splitlines()[0] == f"{ucf[1][0]} 1"
    assert f"DATA.PATH_PREFIX {tmp_path / 'videos'}" in capsys.readouterr().out


def test_missing_videos_are_left_out_and_counted_and_none_at_all_is_an_error(tmp_path, ucf, run, capsys):
    (tmp_path / "videos" / ucf[1][0]).unlink()
    assert len(entries((run("ucf101", "--split=2")) / "test.csv", tmp_path / "videos")) == 1
    assert f"1 of 2 test videos are not there, such as {ucf[1][0]}" in capsys.readouterr().out
    (tmp_path / "videos" / ucf[1][1]).unlink()
    with pytest.raises(PrepareError, match="None of the 2 test videos is in"):
        run("ucf101", "--split=2")


def test_counts_that_differ_from_the_published_ones_are_warned_of(tmp_path, ucf, run, capsys):
    for kind in ("train", "test"):
        path = tmp_path / "annotations" / f"{kind}list0{{}}.txt"
        make_files(path.parent, {f"{kind}list01.txt": (path.parent / f"{kind}list02.txt").read_text()})
    run("ucf101")
    assert "8 train and 2 test videos; the published lists have 9537 and 3783" in capsys.readouterr().out


def test_hmdb51_takes_ones_for_training_twos_for_testing(tmp_path, run):
    make_videos(tmp_path, ["wave/a b.avi", "wave/c.avi", "wave/d.avi", "brush_hair/e.avi", "brush_hair/f.avi"])
    make_files(
        tmp_path / "annotations",
        {
            "wave_test_split1.txt": "c.avi 1 \nd.avi 0 \n",
            "brush_hair_test_split1.txt": "e.avi 2 \nf.avi 1 \n",
            "wave_test_split2.txt": "d.avi 1 \n",
        },
    )
    out = run("hmdb51")
    assert entries(out / "train.csv", tmp_path / "videos") == [("brush_hair/f.avi", 0), ("wave/c.avi", 1)]
    assert entries(out / "test.csv", tmp_path / "videos") == [("brush_hair/e.avi", 0)]


def test_kinetics_files_are_found_by_id_and_times_or_id_and_labels_are_alphabetical(tmp_path, run):
    make_kinetics(tmp_path)
    out = run("kinetics")
    expected = [("x.mkv", 1), ("train/abseiling/-a_000005_000015.mp4", 0)]
    assert entries(out / "train.csv", tmp_path / "videos") == expected
    assert entries(out / "test.csv", tmp_path / "videos") == [("val/z_000000_000010.mp4", 1)]


@pytest.mark.parametrize("content", [{"zumba": 0, "abseiling": 7}, {"0": "zumba", "7": "abseiling"}])
def test_a_label_map_replaces_the_labels(tmp_path, run, content):
    make_kinetics(tmp_path)
    make_files(tmp_path, {"map.json": content})
    out = run("kinetics", f"--label-map={tmp_path / 'map.json'}")
    assert [label for _, label in entries(out / "train.csv", tmp_path / "videos")] == [0, 7]
    assert json.loads((out / "classes.json").read_text()) == {"zumba": 0, "abseiling": 7}


def test_a_label_map_without_one_of_the_classes_is_an_error(tmp_path, run):
    make_kinetics(tmp_path)
    make_files(tmp_path, {"map.json": {"zumba": 0}})
    with pytest.raises(PrepareError, match="no class 'abseiling'"):
        run("kinetics", f"--label-map={tmp_path / 'map.json'}")


def test_ssv2_makes_video_lists_by_template(tmp_path, run):
    make_ssv2(tmp_path)
    make_videos(tmp_path, ["7.webm", "8.webm"])
    out = run("ssv2")
    assert entries(out / "train.csv", tmp_path / "videos") == [("7.webm", 1)]
    assert entries(out / "val.csv", tmp_path / "videos") == [("8.webm", 0)]


def test_ssv2_makes_frame_folder_lists_under_the_names_the_data_set_sth_reads(tmp_path, run, capsys):
    make_ssv2(tmp_path)
    make_videos(tmp_path, [f"{video}/{i:05d}.jpg" for video in (7, 8) for i in range(1, 4)])
    make_videos(tmp_path, ["7/._00001.jpg", "7/x.jpg/00001.jpg"])  # neither is a frame
    out = run("ssv2", "--frames")
    (entry,) = read_frame_list(out / "somesomev2_rgb_train_split.txt", num_classes=2)
    assert (entry.path, entry.num_frames, entry.label) == (str(tmp_path / "videos/7"), 3, 1)
    assert read_frame_list(out / "somesomev2_rgb_validation_split.txt", num_classes=2)[0].label == 0
    assert "TRAIN.DATASET sth" in capsys.readouterr().out


def test_sthv1_labels_are_line_numbers(tmp_path, run):
    make_videos(tmp_path, ["7/00001.jpg", "8/00001.jpg", "8/00002.jpg"])
    prefix = "something-something-v1-"
    make_files(
        tmp_path / "annotations",
        {
            f"{prefix}labels.csv": "Holding something\nMoving, something up\n",
            f"{prefix}train.csv": "8;Moving, something up\n",
            f"{prefix}validation.csv": "7;Holding something\n",
        },
    )
    out = run("sthv1")
    (entry,) = read_frame_list(out / "somesomev1_rgb_train_split.txt", num_classes=2)
    assert (entry.num_frames, entry.label) == (2, 1)


@pytest.mark.parametrize(
    ("protocol", "training"), [("xsub", {"S001C001P001", "S001C002P001"}), ("xview", {"S001C002P001", "S001C002P003"})]
)
def test_ntu60_splits_by_person_or_camera(tmp_path, run, protocol, training):
    videos = [f"S001C00{c}P00{p}R001A0{a}_rgb.avi" for c in (1, 2) for p in (1, 3) for a in ("07", "60", "61")]
    make_videos(tmp_path, [*videos, "other.avi"])
    out = run("ntu60", f"--protocol={protocol}")
    train, test = (entries(out / f"{split}.csv", tmp_path / "videos") for split in ("train", "test"))
    assert {path[:12] for path, _ in train} == training
    assert {label for _, label in train + test} == {6, 59}  # NTU 120's action 61 is not in it
    assert len(train) + len(test) == 8


def test_a_folder_of_classes_is_split_by_class_the_same_way_every_time(tmp_path, run):
    make_videos(tmp_path, [f"{name}/{i} x.MP4" for name, count in (("b", 20), ("a", 3)) for i in range(count)])
    make_videos(tmp_path, ["b/notes.txt", "top.mp4"])
    out = run("folder")
    splits = {split: entries(out / f"{split}.csv", tmp_path / "videos") for split in ("train", "val", "test")}
    sizes = {split: [sum(label == wanted for _, label in rows) for wanted in (0, 1)] for split, rows in splits.items()}
    assert sizes == {"train": [1, 14], "val": [1, 3], "test": [1, 3]}
    assert len({path for rows in splits.values() for path, _ in rows}) == 23
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    run("folder")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_hidden_files_and_folders_are_no_videos(tmp_path, run):
    make_videos(tmp_path, [f"a/{i}.mp4" for i in range(3)])
    make_videos(tmp_path, ["a/._0.mp4", ".Trash/0.mp4", "a/.cache/9.mp4", "a/folder.mp4/notes.txt", "._b/1.mp4"])
    out = run("folder")
    listed = [
        path for split in ("train", "val", "test") for path, _ in entries(out / f"{split}.csv", tmp_path / "videos")
    ]
    assert sorted(listed) == ["a/0.mp4", "a/1.mp4", "a/2.mp4"]
    assert json.loads((out / "classes.json").read_text()) == {"a": 0}


def test_hidden_annotations_are_none(tmp_path, run):
    make_videos(tmp_path, ["wave/a.avi", "wave/b.avi"])
    make_files(tmp_path / "annotations", {"wave_test_split1.txt": "a.avi 1\nb.avi 2\n"})
    (tmp_path / "annotations/._wave_test_split1.txt").write_bytes(b"\0\5\x16\7\xff metadata of macOS")
    assert json.loads((run("hmdb51") / "classes.json").read_text()) == {"wave": 0}


def test_a_list_that_was_edited_is_kept_beside_the_new_one(tmp_path, ucf, run, capsys):
    out = run("ucf101", "--split=2")
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    for edit in ("edited", "edited again"):
        (out / "train.csv").write_text(edit)
        run("ucf101", "--split=2")
    assert "train.csv was there with other content, which is now train.csv.2." in capsys.readouterr().out
    kept = {"train.csv.1": b"edited", "train.csv.2": b"edited again"}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == written | kept


@pytest.mark.parametrize(("videos", "said"), [(["a/0.mp4", "a/1.mp4"], "class a has 2"), (["x.mp4"], "there are none")])
def test_a_folder_needs_three_videos_of_every_class(tmp_path, run, videos, said):
    make_videos(tmp_path, videos)
    with pytest.raises(PrepareError, match=said):
        run("folder")


@pytest.mark.parametrize("jobs", [1, 2])
def test_resized_videos_keep_frames_and_times_and_are_written_once(tmp_path, run, write_video, jobs, capsys):
    for number in range(4):
        (tmp_path / f"videos/{number % 2}").mkdir(parents=True, exist_ok=True)
    write_video(tmp_path / "videos/0/a.avi", 30, "mpeg4", size=(96, 128))
    for name in ("0/b", "0/c", "0/d", "1/e", "1/f", "1/g"):
        write_video(tmp_path / f"videos/{name}.mp4", 20, size=(96, 128))
    broken = tmp_path / "videos/1/g.mp4"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    options = ("--short-side=48", f"--resized={tmp_path / 'small'}", f"--jobs={jobs}", "--gop=5")
    out = run("folder", *options)
    said = capsys.readouterr().out
    assert re.search(r"left out: .*g\.mp4: damaged", said)
    lists = [entries(out / f"{split}.csv", tmp_path / "small") for split in ("train", "val", "test")]
    listed = sorted(path for rows in lists for path, _label in rows)
    assert listed == ["0/a.mp4", "0/b.mp4", "0/c.mp4", "0/d.mp4", "1/e.mp4", "1/f.mp4"]
    path = str(tmp_path / "small/0/a.mp4")
    assert probe(path) == VideoInfo(30, 25.0, 48, 64)
    assert len(index_of(path).keyframes) == 6
    source = read_frames(str(tmp_path / "videos/0/a.avi"), range(30), short_side=48)
    differences = np.abs(read_frames(path, range(30))[:, None].astype(int) - source[None]).mean((2, 3, 4))
    assert differences.argmin(1).tolist() == list(range(30))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "small").rglob("*.*")}
    assert len(before) == 6
    run("folder", *options)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "small").rglob("*.*")} == before


def test_a_video_filmed_upright_is_resized_upright(tmp_path, write_video):
    source, target = tmp_path / "turned.mp4", tmp_path / "small.mp4"
    write_video(source, 6, size=(96, 128))
    content = bytearray(source.read_bytes())
    # The track's matrix (ISO 14496-12, 6.2.2) of a quarter turn clockwise.
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    source.write_bytes(content)
    assert resize_video(source, target, 48, 12) is None
    turned = read_frames(str(source), [3], short_side=48)
    assert turned.shape == (1, 64, 48, 3)
    assert np.abs(read_frames(str(target), [3]) - turned.astype(int)).mean() < 20


def test_missing_annotations_say_which_file_and_option(tmp_path, ucf, run):
    (tmp_path / "annotations/classInd.txt").unlink()
    with pytest.raises(PrepareError, match=r"No file classInd\.txt in .*--annotations"):
        run("ucf101")


def test_names_that_a_list_would_read_otherwise_are_quoted_or_refused(tmp_path, run):
    names = ['"a".mp4', " b.mp4", "c d.mp4", '"e"/f.mp4']
    make_videos(tmp_path, [f"x/{name}" for name in names])
    out = run("folder", "--relative")
    read = [path for split in ("train", "val", "test") for path, _ in entries(out / f"{split}.csv", tmp_path)]
    assert sorted(read) == sorted(f"x/{name}" for name in names)
    (tmp_path / "videos/x/new\nline.mp4").touch()
    with pytest.raises(PrepareError, match=r"'\S*new\\nline\.mp4' has letters that no list can hold"):
        run("folder")


@pytest.mark.parametrize("content", ["[]", '{"zumba": "x"}', '{"zumba": 0, "abseiling": 0}', "{", None])
def test_a_label_map_that_is_none_is_one_message(tmp_path, run, content):
    make_kinetics(tmp_path)
    if content is not None:
        make_files(tmp_path, {"map.json": content})
    with pytest.raises(ValueError, match=r"map\.json.* Check --label-map\.$"):
        run("kinetics", f"--label-map={tmp_path / 'map.json'}")


@pytest.mark.parametrize(
    "options",
    [
        ["ucf101"],
        ["folder", "--short-side=64"],
        ["folder", "--resized=small"],
        ["folder", "--frames"],
        ["folder", "--shares", "0.5", "0.5", "0.5"],
        ["folder", "--holdout=0.1"],
    ],
)
def test_options_that_do_not_go_together_are_refused(options, tmp_path):
    with pytest.raises(SystemExit):
        parse_args([*options, "--root", str(tmp_path), "--out", str(tmp_path)])


def test_the_command_ends_with_one_clear_message(tmp_path, run_python):
    command = ["-m", "slowfast.datasets.prepare", "folder", "--root", tmp_path / "nowhere"]
    result = run_python(*command, "--out", tmp_path)
    assert result.returncode == 1
    assert (
        result.stderr.strip()
        == f"error: There is no folder {tmp_path / 'nowhere'}. Set --root to where the videos are."
    )


def test_every_command_of_the_documentation_is_one():
    text = (Path(__file__).parents[2] / "DATASET.md").read_text()
    commands = re.findall(r"^python -m slowfast\.datasets\.prepare (.+)$", text, re.MULTILINE)
    assert {parse_args(shlex.split(command)).name for command in commands} == DATASETS.keys()
