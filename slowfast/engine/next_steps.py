"""What a run ends with: the commands that test its weights again, predict with them, and train on other videos."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from slowfast.config.files import flatten
from slowfast.engine.weights import test_weights

# Which data set of videos takes its frames as another data set does; where none is named, kinetics.
SPARSE = {"sth": "kinetics_sparse", "kinetics_sparse": "kinetics_sparse"}
COLOURS = 3


def next_steps(cfg) -> str:
    """Commands for the shell and folder that a run was started in, each below a line that says what it is for.

    Each is OUTPUT_DIR/config.yaml with what has to differ from it; none overwrites what a training has written.
    """
    steps = {}
    own = own_folder(cfg)
    weights = weights_of(cfg)
    if weights:
        test = {"NUM_SHARDS": 1, "TRAIN.ENABLE": False, "TEST.ENABLE": True, "TEST.CHECKPOINT_FILE_PATH": weights}
        in_place = {"NUM_SHARDS": 1, "TEST.ENABLE": True}
        beside = test | {"OUTPUT_DIR": shortest(Path(cfg.OUTPUT_DIR, "test"))}
        steps[f"Test these weights{' again' * cfg.TEST.ENABLE}"] = beside if cfg.TRAIN.ENABLE else in_place
        if takes_videos(cfg):
            what = f"Predict your videos in {own}/test.csv (a path a line); scores go to {own}/predictions/*.pkl"
            steps[what] = test | videos_in(cfg, own) | {"OUTPUT_DIR": f"{own}/predictions"}
    if cfg.TRAIN.ENABLE and takes_videos(cfg):
        lists = "train.csv, val.csv and test.csv" if cfg.TEST.ENABLE else "train.csv and val.csv"
        lines = f"a line `path{cfg.DATA.PATH_LABEL_SEPARATOR}label` for each"
        steps[f"Train on your videos in {own}/{lists}, here of 2 classes ({lines})"] = training_on(cfg, own)
    return "\n".join(f"{what}:\n  {command(cfg, changes)}" for what, changes in steps.items())


def weights_of(cfg) -> str | None:
    """The weights that a test of this run takes; None where it has not come to any."""
    try:
        return shortest(test_weights(cfg))
    except FileNotFoundError:
        return None


def takes_videos(cfg) -> bool:
    return cfg.DATA.INPUT_CHANNEL_NUM[0] == COLOURS  # event frames have two channels


def own_folder(cfg) -> str:
    """What the folder with the user's lists is called, which is not that of this run."""
    return "otherdata" if os.path.abspath(cfg.DATA.PATH_TO_DATA_DIR) == os.path.abspath("mydata") else "mydata"


def videos_in(cfg, folder: str) -> dict[str, object]:
    """What lets a test take the lists of a folder, whose paths start at the current one."""
    return {
        "TEST.DATASET": SPARSE.get(cfg.TEST.DATASET, "kinetics"),
        "DATA.PATH_TO_DATA_DIR": folder,
        "DATA.PATH_PREFIX": "",
        # Their names are those of the run's classes.json.
        "TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH": "",
        "TENSORBOARD.HISTOGRAM.SUBSET_PATH": "",
    }


def training_on(cfg, folder: str) -> dict[str, object]:
    """What trains on two classes from the weights that this run started from."""
    return videos_in(cfg, folder) | {
        "NUM_SHARDS": 1,
        "TRAIN.DATASET": SPARSE.get(cfg.TRAIN.DATASET, "kinetics"),
        "MODEL.NUM_CLASSES": 2,
        "TENSORBOARD.CLASS_NAMES_PATH": "",
        "TEST.CHECKPOINT_FILE_PATH": "",
        # Another run's optimizer and epoch are of no use for another head.
        "TRAIN.CHECKPOINT_EPOCH_RESET": cfg.TRAIN.CHECKPOINT_EPOCH_RESET or bool(cfg.TRAIN.CHECKPOINT_FILE_PATH),
        "OUTPUT_DIR": f"{folder}/run",
    }


def command(cfg, changes: dict[str, object]) -> str:
    """The command line that runs this configuration with some keys changed, for a POSIX shell."""
    values = flatten(cfg)
    changed = [str(word) for key, value in changes.items() if values[key] != value for word in (key, value)]
    return shlex.join([python(), "-m", "slowfast", "--cfg", shortest(Path(cfg.OUTPUT_DIR, "config.yaml")), *changed])


def python() -> str:
    """This Python as the user's shell finds it: by its name only if its environment is active there.

    The scripts put an environment into PATH that is not in that of the shell they are started from.
    """
    active = sys.prefix in (os.environ.get("VIRTUAL_ENV"), os.environ.get("CONDA_PREFIX"))
    if active and shutil.which("python") == os.path.join(sys.prefix, "bin", "python"):
        return "python"
    path = shortest(sys.executable)
    return path if os.sep in path else f"./{path}"


def shortest(path: str | Path) -> str:
    """A path from the current folder, or from the root where that is shorter."""
    absolute = os.path.abspath(path)
    return min(os.path.relpath(absolute), absolute, key=len)
