"""Settings of every test: one thread, fixed seed, no GPU unless a test asks for one; and what many tests share."""

import fcntl
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for runs too, which would choose for themselves


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_cfg():
    """A function of KEY VALUE pairs: the config of an SVFormer that runs in milliseconds."""
    from slowfast.config import get_cfg

    def make(*options):
        cfg = get_cfg()
        cfg.merge_from_list(
            [
                *("MODEL.MODEL_NAME", "SVFormer", "MODEL.NUM_CLASSES", 5),
                *("DATA.NUM_FRAMES", 3, "DATA.TRAIN_CROP_SIZE", 32, "DATA.TEST_CROP_SIZE", 32),
                *("DATA.TRAIN_JITTER_SCALES", [36, 40]),
                *("UNIFORMER.EMBED_DIM", [8, 8, 16, 16], "UNIFORMER.DEPTH", [1, 1, 1, 1]),
                *("UNIFORMER.HEAD_DIM", 8, "UNIFORMER.MLP_RATIO", 2, "UNIFORMER.DROP_DEPTH_RATE", 0.0),
                *("SNN.V_THRESHOLD", 0.2),
                *options,
            ]
        )
        return cfg

    return make


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """A function of a name and of what makes that folder: the folder, to read only, made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name, make):
        folder, done = shared / name, shared / f"{name}.done"
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed here
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def motion_dir(made_once):
    """A small embedded data set: 16 videos to train on, 8 to validate, 8 to test, one of each class."""
    from slowfast.datasets.motion import write_motion

    return made_once(
        "motion", lambda folder: write_motion(folder, counts={"train": 16, "val": 8, "test": 8}, workers=1)
    )


@pytest.fixture(scope="session")
def small_run(tiny_cfg, motion_dir):
    """A function of a folder and KEY VALUE pairs: a checked config that trains two epochs of two steps."""
    from slowfast.config import assert_and_infer_cfg

    def make(output, *options):
        cfg = tiny_cfg(
            *("NUM_GPUS", 0, "LOG_PERIOD", 1, "OUTPUT_DIR", str(output)),
            *("TRAIN.DATASET", "motion", "TEST.DATASET", "motion", "DATA.PATH_TO_DATA_DIR", str(motion_dir)),
            *("TRAIN.BATCH_SIZE", 8, "TEST.BATCH_SIZE", 12, "DATA_LOADER.NUM_WORKERS", 0),
            *("TEST.NUM_ENSEMBLE_VIEWS", 2, "TEST.NUM_SPATIAL_CROPS", 3, "MODEL.NUM_CLASSES", 8),
            *("TRAIN.EVAL_PERIOD", 1, "TRAIN.CHECKPOINT_PERIOD", 1, "LOG_MODEL_INFO", False),
            *("SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.BASE_LR", 1e-3, "SOLVER.MAX_EPOCH", 2),
            *("DATA.DECODING_BACKEND", "decord", "UNIFORMER.DROP_DEPTH_RATE", 0.1),
            *options,
        )
        return assert_and_infer_cfg(cfg)

    return make


@pytest.fixture
def run_cfg(small_run, tmp_path):
    """A function of KEY VALUE pairs: `small_run` in a folder of this test."""
    return lambda *options: small_run(tmp_path / "out", *options)


@pytest.fixture
def run_python(monkeypatch, capfd):
    """A function of the words behind `python`, a script or -m and a module: what it prints and its status.

    It is run in this process: to start one and import torch in it takes two seconds.
    """

    def run(*words):
        words = [str(word) for word in words]
        name = words.pop(1) if words[0] == "-m" else words[0]
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.syspath_prepend(str(Path(name).resolve().parent))  # as Python does for a script
        capfd.readouterr()
        try:
            if words[0] == "-m":
                monkeypatch.delitem(sys.modules, name, raising=False)
                runpy.run_module(name, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(name, run_name="__main__")
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
        return subprocess.CompletedProcess(name, status, *capfd.readouterr())

    return run
