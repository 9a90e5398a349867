"""The doctor names what is wrong with lists and files, each with its line."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from slowfast.datasets.doctor import doctor, draw_sheet

CLASSES = ("abseiling", "riding_a_bike", "zumba")


@pytest.fixture
def healthy(tmp_path, write_video):
    """Three folders of classes with four different videos each, two to train on, one to validate, one to test."""
    lists = {"train": [], "val": [], "test": []}
    for label, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for number in range(4):
            path = tmp_path / name / f"{number}.mp4"
            write_video(path, 8 + 4 * label + number, size=(32, 32), fps=25)
            lists[("train", "train", "val", "test")[number]].append(f"{path} {label}\n")
    for split, lines in lists.items():
        (tmp_path / f"{split}.csv").write_text("".join(lines))
    (tmp_path / "classes.json").write_text(json.dumps({"Abseiling": 0, "riding a bike": 1, "zumba": 2}))
    return tmp_path


@pytest.fixture
def diagnose(healthy, data_cfg):
    """A function: problem -> [(where, what)] as the lists and files of `healthy` stand."""

    def diagnose():
        _datasets, _facts, report = doctor(data_cfg(), jobs=1)
        problems = {}
        for finding in report["findings"]:
            problems.setdefault(finding["problem"], []).append((finding["where"], finding["what"]))
        return problems

    return diagnose


def change(path, row, line):
    lines = path.read_text().splitlines()
    lines[row] = line
    path.write_text("".join(f"{line}\n" for line in lines))


def test_nothing_is_wrong_with_a_healthy_data_set_and_its_figures_are_right(healthy, data_cfg):
    _datasets, facts, report = doctor(data_cfg(), jobs=2)
    assert report["findings"] == []
    assert [fact.num_frames for fact in facts["train"]] == [8, 9, 12, 13, 16, 17]
    figures = report["splits"]["train"]
    assert (figures["videos"], figures["readable"], figures["classes"]) == (6, 6, 3)
    assert (figures["frames"], figures["frames a second"]) == ("8 / 12.5 / 17", "25 / 25 / 25")
    assert (figures["short side"], figures["per class"]) == ("32 / 32 / 32", "2 / 2 / 2")
    assert figures["labels"] == "alphabetical"


def test_broken_empty_truncated_and_short_videos_are_named(healthy, diagnose, write_video):
    (healthy / "zumba/0.mp4").write_bytes(b"")
    content = (healthy / "zumba/1.mp4").read_bytes()
    (healthy / "zumba/1.mp4").write_bytes(content[: len(content) * 6 // 10])
    (healthy / "abseiling/0.mp4").unlink()
    write_video(healthy / "abseiling/1.mp4", 3)
    problems = diagnose()
    assert problems.keys() == {"cannot be read", "shorter than a clip"}
    (gone, empty, truncated), ((where, what),) = problems.values()
    assert gone[0].endswith("train.csv:1")
    assert "No such file" in gone[1]
    assert "an empty file" in empty[1]
    assert "damaged" in truncated[1]
    assert where.endswith("train.csv:2")
    assert what.startswith("3 frames, a clip has 4")


def test_duplicates_by_path_and_by_content_are_named(healthy, diagnose):
    shutil.copy(healthy / "abseiling/0.mp4", healthy / "abseiling/copy.mp4")
    shutil.copy(healthy / "abseiling/0.mp4", healthy / "zumba/copy.mp4")
    with open(healthy / "train.csv", "a") as file:
        file.write(f"{healthy}/abseiling/copy.mp4 0\n{healthy}/zumba/0.mp4 2\n{healthy}/zumba/copy.mp4 2\n")
    problems = diagnose()
    (twice,) = problems["listed twice"]
    assert twice == (f"{healthy}/train.csv:5, 8", f"{healthy}/zumba/0.mp4")
    ((where, what),) = problems["the same content under two names, with different labels"]
    assert where.endswith("train.csv:1, 7, 9")
    assert what.count(".mp4") == 3


def test_videos_in_two_splits_and_equal_lists_are_named(healthy, diagnose):
    shutil.copy(healthy / "zumba/0.mp4", healthy / "zumba/renamed.mp4")
    change(healthy / "val.csv", 2, f"{healthy}/zumba/renamed.mp4 2")
    ((where, what),) = diagnose()["in train and val"]
    assert where == f"{healthy}/train.csv:5 and {healthy}/val.csv:3"
    assert what.endswith("renamed.mp4")
    (healthy / "test.csv").write_text("".join(reversed((healthy / "val.csv").read_text().splitlines(keepends=True))))
    assert "3 videos" in diagnose()["val equals test"][0][1]


def test_lists_with_permuted_labels_are_told_by_folders_and_by_class_names(healthy, diagnose, data_cfg):
    text = (healthy / "val.csv").read_text()
    swapped = text.replace(" 0\n", " x\n").replace(" 1\n", " 0\n")
    (healthy / "val.csv").write_text(swapped.replace(" x\n", " 1\n"))
    problems = diagnose()
    assert len(problems["one folder, several labels"]) == 2
    assert "folder abseiling have labels 0, 1" in problems["one folder, several labels"][0][1]
    assert len(problems["another label map"]) == 2
    assert "class 0 in classes.json, not 1" in problems["another label map"][0][1]
    # All lists alike: only the class names tell.
    for split in ("train", "test"):
        path = healthy / f"{split}.csv"
        text = path.read_text().replace(" 0\n", " x\n").replace(" 1\n", " 0\n").replace(" x\n", " 1\n")
        path.write_text(text)
    assert diagnose().keys() == {"another label map"}
    assert doctor(data_cfg(), jobs=1)[2]["splits"]["train"]["labels"] == "UniFormer's Kinetics-400"


def test_a_class_without_training_videos_and_a_missing_list_are_named(healthy, diagnose):
    change(healthy / "test.csv", 0, f"{healthy}/abseiling/3.mp4 4")
    assert diagnose()["class without training videos"] == [("label 4", "1 videos in test, none in train")]
    (healthy / "val.csv").unlink()
    assert "no val list" in diagnose()


def test_the_command_prints_writes_and_draws(healthy, run_python):
    (healthy / "zumba/0.mp4").write_text("no video")
    options = ["DATA.PATH_TO_DATA_DIR", str(healthy), "MODEL.NUM_CLASSES", "3", "DATA.NUM_FRAMES", "4"]
    files = ["--json", str(healthy / "report.json"), "--sheet", str(healthy / "sheet.png")]
    command = ["-m", "slowfast.datasets.doctor"]
    result = run_python(*command, *options, *files)
    assert result.returncode == 1, result.stderr
    assert f"{healthy}/train.csv:5: {healthy}/zumba/0.mp4: not a readable video" in result.stdout
    report = json.loads((healthy / "report.json").read_text())
    assert len(report["findings"]) == 1
    assert report["splits"]["train"]["readable"] == 5
    assert Image.open(healthy / "sheet.png").size == (8 * 130, 3 * 112)
    result = run_python(*command, "NO.KEY", "1")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")


def test_a_line_of_the_sheet_goes_from_the_first_frame_to_the_last(tmp_path, data_cfg):
    frames = np.zeros((9, 96, 128, 3), np.uint8)
    frames[:, :, :, 0] = (np.arange(9) * 30)[:, None, None]
    np.save(tmp_path / "video.npy", frames)
    (tmp_path / "train.csv").write_text(f"{tmp_path / 'video.npy'} 3\n")
    datasets, facts, _report = doctor(data_cfg(), jobs=1)
    draw_sheet(tmp_path / "sheet.png", datasets["train"], facts["train"], columns=3)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert [sheet[60, 64 + 130 * column].tolist() for column in range(3)] == [[0, 0, 0], [120, 0, 0], [240, 0, 0]]
