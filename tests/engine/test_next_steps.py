"""The commands that a run ends with: what they say for each kind of run, and that a shell can run them."""

import json
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from patience import patient

from slowfast.datasets.motion import Motion
from slowfast.engine import launch, run
from slowfast.engine.next_steps import next_steps
from slowfast.utils.checkpoint import checkpoint_dir, checkpoint_name


def commands(text: str) -> list[list[str]]:
    """The words of each command, without the Python it begins with."""
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("  ")]


def options(words: list[str]) -> dict[str, str]:
    """The KEY VALUE pairs behind `-m slowfast --cfg FILE`."""
    assert words[:3] == ["-m", "slowfast", "--cfg"]
    return dict(zip(words[4::2], words[5::2], strict=True))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that a user is in, with a space in its name."""
    (tmp_path / "a folder").mkdir()
    monkeypatch.chdir(tmp_path / "a folder")
    return tmp_path / "a folder"


@pytest.fixture
def with_weights(run_cfg, folder):
    """A function of KEY VALUE pairs: the config of a run in the folder `out`, where weights of two epochs are."""

    def make(*pairs):
        cfg = run_cfg("OUTPUT_DIR", "out", *pairs)
        checkpoint_dir(cfg.OUTPUT_DIR).mkdir(parents=True)
        (checkpoint_dir(cfg.OUTPUT_DIR) / checkpoint_name(2)).touch()
        return cfg

    return make


@pytest.fixture
def own_videos(folder, motion_dir):
    """A folder `mydata` with two videos to predict and four to train on."""
    (folder / "mydata").mkdir()
    videos = sorted((motion_dir / "train").iterdir())[:4]
    for video in videos:
        shutil.copy(video, folder / "mydata")
    lines = [f"mydata/{video.name} {i % 2}\n" for i, video in enumerate(videos)]
    for split, listed in (("train", lines), ("val", lines), ("test", lines[:2])):
        (folder / "mydata" / f"{split}.csv").write_text("".join(listed))


def test_a_shell_without_an_activated_environment_runs_every_line(run_cfg, folder, own_videos):
    launch(run_cfg("OUTPUT_DIR", "my run"), run)
    before = (folder / "my run/report.json").read_bytes()
    said = (folder / "my run/stdout.log").read_text().rpartition("Everything is in my run\n")[2]
    lines = [line for line in said.splitlines() if line.startswith("  ")]
    shell = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    shell |= {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    pasted = [subprocess.Popen(["bash", "-c", line], env=shell, **pipes) for line in lines]
    for process in pasted:
        printed, _ = process.communicate(timeout=patient(120))
        assert process.returncode == 0, printed
    assert len(lines) == 3
    assert (folder / "my run/report.json").read_bytes() == before
    again = json.loads((folder / "my run/test/report.json").read_text())
    assert again["per_class_acc"] == json.loads(before)["per_class_acc"]
    with open(folder / "mydata/predictions/3x32x2x3.pkl", "rb") as file:
        assert pickle.load(file)["video_preds"].shape == (2, 8)
    assert len(json.loads((folder / "mydata/run/report.json").read_text())["per_class_acc"]) == 2


def test_only_what_differs_from_the_runs_config_is_written(with_weights):
    again, predict, train = map(options, commands(next_steps(with_weights())))
    weights = {"TEST.CHECKPOINT_FILE_PATH": f"out/checkpoints/{checkpoint_name(2)}"}
    assert again == {"TRAIN.ENABLE": "False", **weights, "OUTPUT_DIR": "out/test"}
    lists = {"DATA.PATH_TO_DATA_DIR": "mydata"}
    assert predict == {
        "TRAIN.ENABLE": "False",
        **weights,
        "TEST.DATASET": "kinetics",
        **lists,
        "OUTPUT_DIR": "mydata/predictions",
    }
    datasets = {"TRAIN.DATASET": "kinetics", "TEST.DATASET": "kinetics"}
    assert train == {**datasets, **lists, "MODEL.NUM_CLASSES": "2", "OUTPUT_DIR": "mydata/run"}


def test_a_run_without_a_test_says_how_to_test(with_weights):
    text = next_steps(with_weights("TEST.ENABLE", False))
    test, predict, train = map(options, commands(text))
    assert test["TEST.ENABLE"] == predict["TEST.ENABLE"] == "True"
    assert "TEST.ENABLE" not in train
    assert "Test these weights:" in text
    assert "Train on your videos in mydata/train.csv and val.csv, " in text


def test_a_test_is_repeated_in_its_place_and_no_training_is_proposed(with_weights):
    again, predict = map(options, commands(next_steps(with_weights("TRAIN.ENABLE", False))))
    assert again == {}
    assert predict["TEST.CHECKPOINT_FILE_PATH"].endswith(checkpoint_name(2))


def test_what_belongs_to_the_old_videos_and_weights_is_taken_back(with_weights, folder):
    (folder / "w.pyth").touch()
    cfg = with_weights(
        *("DATA.PATH_PREFIX", "/videos", "TENSORBOARD.CLASS_NAMES_PATH", "names.json"),
        *("TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH", "few.txt", "TENSORBOARD.HISTOGRAM.SUBSET_PATH", "few.txt"),
        *("TEST.CHECKPOINT_FILE_PATH", "w.pyth", "TRAIN.CHECKPOINT_FILE_PATH", "w.pyth", "NUM_SHARDS", 2),
    )
    again, predict, train = map(options, commands(next_steps(cfg)))
    subsets = {"TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH": "", "TENSORBOARD.HISTOGRAM.SUBSET_PATH": ""}
    assert again["NUM_SHARDS"] == "1"
    assert predict.items() >= {"DATA.PATH_PREFIX": "", "NUM_SHARDS": "1", **subsets}.items()
    own = {"DATA.PATH_PREFIX": "", "TENSORBOARD.CLASS_NAMES_PATH": "", "TEST.CHECKPOINT_FILE_PATH": "", **subsets}
    assert train.items() >= {**own, "TRAIN.CHECKPOINT_EPOCH_RESET": "True", "NUM_SHARDS": "1"}.items()


@pytest.mark.parametrize(("dataset", "lists"), [("sth", "kinetics_sparse"), ("motion_hard", "kinetics")])
def test_videos_are_read_as_the_data_set_takes_their_frames(dataset, lists, with_weights):
    _, predict, train = map(
        options, commands(next_steps(with_weights("TRAIN.DATASET", dataset, "TEST.DATASET", dataset)))
    )
    assert predict["TEST.DATASET"] == train["TEST.DATASET"] == train["TRAIN.DATASET"] == lists


def test_a_model_of_event_frames_is_given_no_videos(with_weights):
    events = ("DATA.INPUT_CHANNEL_NUM", [2, 2], "DATA.MEAN", [0, 0], "DATA.STD", [1, 1])
    assert len(commands(next_steps(with_weights(*events)))) == 1


def test_a_run_on_own_videos_names_another_folder_for_others(with_weights, folder):
    _, predict, train = map(options, commands(next_steps(with_weights("DATA.PATH_TO_DATA_DIR", folder / "mydata"))))
    assert predict["OUTPUT_DIR"] == "otherdata/predictions"
    assert train["DATA.PATH_TO_DATA_DIR"] == "otherdata"


def test_without_weights_only_training_is_left(run_cfg, folder):
    (train,) = commands(next_steps(run_cfg("TEST.ENABLE", False, "TEST.CHECKPOINT_FILE_PATH", "nowhere.pyth")))
    assert options(train)["MODEL.NUM_CLASSES"] == "2"


def test_python_goes_by_its_name_only_where_its_environment_is_active(with_weights, folder, monkeypatch):
    cfg = with_weights()

    def first_word():
        return next(line.split()[0] for line in next_steps(cfg).splitlines() if line.startswith("  "))

    monkeypatch.setattr(sys, "prefix", str(folder / "venv"))
    monkeypatch.setattr(sys, "executable", str(folder / "venv/bin/python"))
    (folder / "venv/bin").mkdir(parents=True)
    (folder / "venv/bin/python").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{folder}/venv/bin:/bin")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert first_word() == "venv/bin/python"
    monkeypatch.setenv("VIRTUAL_ENV", str(folder / "venv"))
    assert first_word() == "python"
    monkeypatch.chdir(folder / "venv/bin")
    monkeypatch.delenv("VIRTUAL_ENV")
    cfg.TEST.CHECKPOINT_FILE_PATH = str(folder / "out/checkpoints" / checkpoint_name(2))
    assert first_word() == "./python"


def test_an_interrupted_run_ends_with_how_to_go_on(run_cfg, monkeypatch, capsys):
    real = Motion.__getitem__

    def getitem(self, key):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(self, key)

    monkeypatch.setattr(Motion, "__getitem__", getitem)
    with pytest.raises(SystemExit) as ended:
        launch(run_cfg("DATA.CHECK_VIDEOS", 0), run)
    assert ended.value.code == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Interrupted: ") and last.endswith("to go on.")
