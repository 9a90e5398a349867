"""The command line as a new user meets it: own videos train, and each mistake gets one clear message in time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slowfast.cli import main
from slowfast.config import write_config
from slowfast.version import __version__

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def own_videos(motion_dir, tmp_path):
    """A folder with three videos (one name with spaces and accents) and the three lists."""
    folder = tmp_path / "own"
    folder.mkdir()
    for source, name in zip(sorted((motion_dir / "train").iterdir())[:3], ("a.mp4", "b b é.mp4", "c.mp4"), strict=True):
        shutil.copy(source, folder / name)
    for split in ("train", "val", "test"):
        (folder / f"{split}.csv").write_text("a.mp4 0\nb b é.mp4 1\nc.mp4 1\n", encoding="utf-8")
    return folder


@pytest.fixture
def config(run_cfg, own_videos, tmp_path):
    """Config file of a run on the own videos, kept apart from the run's output."""
    where = ("DATA.PATH_TO_DATA_DIR", str(own_videos), "DATA.PATH_PREFIX", str(own_videos), "MODEL.NUM_CLASSES", 2)
    written = write_config(run_cfg("TRAIN.DATASET", "kinetics", "TEST.DATASET", "kinetics", *where))
    return shutil.move(written, tmp_path / "own.yaml")


def test_three_own_videos_and_a_list_train(config, tmp_path, capfd):
    assert main(["--cfg", str(config)]) == 0
    out = capfd.readouterr().out
    assert "list the same videos" in out  # val and test coincide
    assert (tmp_path / "out/report.json").exists()


LIGHT = ("MODEL.MODEL_NAME", "Uniformer_light_ls_fp32")


def break_nothing(folder):
    pass


def write_text_video(folder):
    (folder / "c.mp4").write_text("this is no video")


def label_too_high(folder):
    (folder / "test.csv").write_text("a.mp4 0\nc.mp4 2\n")


def label_in_words(folder):
    (folder / "train.csv").write_text("a.mp4 0\nc.mp4 jump\n")


def forget_a_label(folder):
    (folder / "val.csv").write_text("a.mp4 0\nc.mp4\n")


def remove_a_video(folder):
    (folder / "a.mp4").unlink()


def cut_a_video(folder):
    data = (folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(data[: len(data) // 3])


@pytest.mark.parametrize(
    ("harm", "options", "message"),
    [
        (break_nothing, ("DATA.PATH_TO_DATA_DIR", "/nowhere"), ["no folder /nowhere", "DATA.PATH_TO_DATA_DIR"]),
        (break_nothing, ("DATA.PATH_PREFIX", "/nowhere"), ["train.csv:1: /nowhere/a.mp4", "DATA.PATH_PREFIX"]),
        (break_nothing, ("MODEL.NUM_CLASSES", "1"), ["train.csv:2: label 1", "MODEL.NUM_CLASSES"]),
        (break_nothing, ("NUM_GPUS", "64", "TRAIN.BATCH_SIZE", "64", "TEST.BATCH_SIZE", "64"), ["NUM_GPUS 64", "Set"]),
        (break_nothing, ("MODEL.MODEL_NAME", "SVFromer"), ["Did you mean SVFormer"]),
        (break_nothing, ("MODEL.MODEL_NAME", "Uniformer2d_psnn_lgfX"), ["Did you mean Uniformer2d_psnn_lgf?"]),
        (break_nothing, ("MODEL.MODEL_NAME", "SlowFast", "SOLVER.BASE_LR", "fast"), ["'SlowFast' is not registered"]),
        (remove_a_video, ("SOLVER.BASE_RL", "1", "MODEL.MODEL_NAME", "X3D"), ["'X3D' is not registered"]),
        (break_nothing, ("MIXUP.PROB", "3", "MODEL.ARCH", "uniformer", *LIGHT), [f"{LIGHT[1]} is not supported"]),
        (break_nothing, ("MODEL.MODEL_NAMES", "X3D"), ["Did you mean MODEL.MODEL_NAME"]),
        (break_nothing, ("TRAIN.DATASET", "kinetic"), ["Did you mean kinetics"]),
        (break_nothing, ("SOLVER.BASE_RL", "1"), ["Did you mean SOLVER.BASE_LR"]),
        (break_nothing, ("TRAIN.ENABLE", "False"), ["Nothing to test", "TEST.CHECKPOINT_FILE_PATH"]),
        (break_nothing, ("TEST.CHECKPOINT_FILE_PATH", "/nowhere.pyth"), ["/nowhere.pyth does not exist"]),
        (break_nothing, ("DATA.TEST_CROP_SIZE", "64"), ["TEST_CROP_SIZE"]),
        (break_nothing, ("OUTPUT_DIR", "/dev/null/out"), ["/dev/null/out"]),
        (break_nothing, ("TRAIN.BATCH_SIZE", "1"), ["batch norm needs two"]),
        (write_text_video, (), ["train.csv:3:", "c.mp4", "not a readable video"]),
        (label_too_high, (), ["test.csv:2: label 2", "MODEL.NUM_CLASSES"]),
        (label_in_words, (), ["train.csv:2: label 'jump'"]),
        (forget_a_label, (), ["val.csv:2:"]),
        (remove_a_video, (), ["train.csv:1:", "a.mp4"]),
        (cut_a_video, (), ["train.csv:1:", "a.mp4"]),
    ],
)
def test_a_mistake_gets_one_message_before_any_training(harm, options, message, config, own_videos, tmp_path, capfd):
    harm(own_videos)
    assert main(["--cfg", str(config), *options]) == 1
    captured = capfd.readouterr()
    assert captured.err.count("Error") == 1
    for part in message:
        assert part in captured.err
    assert "Traceback" not in captured.err
    assert "epoch 1/" not in captured.out
    assert not list(tmp_path.glob("out/checkpoints/*"))


@pytest.mark.parametrize("place", ["command line", "--opts", "file"])
@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("DATA.MULTI_LABEL", "True", "several labels of one video"),
        ("MODEL.FROZEN_BN", "True", "norms that are not trained"),
        ("TRAIN.KILL_LOSS_EXPLOSION_FACTOR", "2.5", "the stop at a loss that explodes"),
        ("TRAIN.KILL_LOSS_EXPLOSION_FACTOR", "1", "the stop at a loss that explodes"),
        ("DEMO.ENABLE", "True", "the demo"),
        ("TRAIN.FINETUNE", "True", "TRAIN.CHECKPOINT_EPOCH_RESET True does"),
        ("TRAIN.CHECKPOINT_TYPE", "caffe2", "Caffe2 weights"),
        ("TEST.CHECKPOINT_TYPE", "caffe2", "Caffe2 weights"),
        ("DATA.LOADER_CHUNK_SIZE", "100", "lists that are read in parts"),
        ("DATA.DUMMY_LOAD", "True", "clips that stand for those of the videos"),
    ],
)
def test_an_option_that_would_change_the_result_is_refused(key, value, what, place, config, tmp_path, run_python):
    words = ["--cfg", config, *(["--opts"] if place == "--opts" else []), key, value]
    if place == "file":
        section, name = key.split(".")
        (tmp_path / "more.yaml").write_text(f"_BASE_: {config}\n{section}:\n  {name}: {value}\n")
        words = ["--cfg", tmp_path / "more.yaml"]
    result = run_python(REPOSITORY / "tools/run_net.py", *words)
    assert result.returncode == 1
    assert f"{key} " in result.stderr
    assert f"asks for {what}" in result.stderr or f"({what})" in result.stderr
    assert not (tmp_path / "out/stdout.log").exists()


@pytest.mark.parametrize("key", ["DATA.MULTI_LABEL", "MODEL.FROZEN_BN", "DEMO.ENABLE", "TRAIN.FINETUNE"])
def test_1_is_no_way_to_switch_such_an_option_on(key, config, run_python):
    result = run_python(REPOSITORY / "tools/run_net.py", "--cfg", config, key, "1")
    assert result.returncode == 1
    assert f"{key} is '1' and must be True or False" in result.stderr


def test_a_config_that_names_no_model_is_told_so_before_its_other_mistakes(tmp_path, capfd):
    (tmp_path / "slowfast.yaml").write_text("MIXUP: {PROB: 3}\nNUM_GPUS: 64\n")
    assert main(["--cfg", str(tmp_path / "slowfast.yaml")]) == 1
    assert "MODEL.MODEL_NAME 'SlowFast' is not registered. Did you mean Slow?" in capfd.readouterr().err


def test_the_package_runs_from_any_directory_and_tells_its_version(tmp_path):
    command = [sys.executable, "-m", "slowfast", "--version"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == f"spikefast {__version__}\n"


def test_help_lists_both_command_lines(run_python):
    result = run_python(REPOSITORY / "tools/run_net.py", "--help")
    assert "--cfg FILE NUM_GPUS 2" in result.stdout
    assert "--opts" in result.stdout
    help_config = run_python(REPOSITORY / "tools/run_net.py", "--help-config", "SNN.TAU")
    assert "SNN.TAU = None [time steps]" in help_config.stdout


def test_without_a_config_the_usage_is_shown(run_python):
    result = run_python(REPOSITORY / "tools/run_net.py")
    assert result.returncode == 2
    assert "--cfg FILE is missing" in result.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = f"{sys.executable} {REPOSITORY / 'tools/run_net.py'} --help-config | head -n 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert os.linesep in result.stdout
