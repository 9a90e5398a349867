"""Every experiment's scripts run: one step of training on the embedded data, validation, and a test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PYTHON_DIR = Path(sys.executable).parent
EXPERIMENTS = sorted(path.parent for path in REPOSITORY.glob("exp/*/config.yaml"))

# Small enough for a CPU, and otherwise as the experiment has it.
SMALL = (
    *("NUM_GPUS 0 SOLVER.MAX_EPOCH 1 TRAIN.BATCH_SIZE 8 TEST.BATCH_SIZE 8 DATA_LOADER.NUM_WORKERS 0".split()),
    *("TRAIN.DATASET motion TEST.DATASET motion TEST.NUM_ENSEMBLE_VIEWS 1 TEST.NUM_SPATIAL_CROPS 1".split()),
    *("DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.NUM_FRAMES 2 DATA.SAMPLING_RATE 8".split()),
    *("DATA.TRAIN_JITTER_SCALES", "[32, 40]", "UNIFORMER.EMBED_DIM", "[8, 8, 64, 64]", "LOG_MODEL_INFO", "False"),
)


@pytest.fixture(scope="module")
def eight_videos(tmp_path_factory):
    from slowfast.datasets.motion import write_motion

    root = tmp_path_factory.mktemp("exp") / "motion"
    return write_motion(root, counts={"train": 8, "val": 8, "test": 8}, workers=1)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.name)
def test_run_and_test_scripts_run(experiment, eight_videos, tmp_path):
    options = [*SMALL, "DATA.PATH_TO_DATA_DIR", str(eight_videos), "OUTPUT_DIR", str(tmp_path / "out")]
    for script in ("run.sh", "test.sh"):
        result = subprocess.run(
            ["bash", str(experiment / script), *options],
            # The scripts take the first Python that can import slowfast: this one.
            env=os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{PYTHON_DIR}:{os.environ['PATH']}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert "top-1" in result.stdout
    assert (tmp_path / "out/report.json").exists()


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.name)
def test_an_experiment_has_its_three_files(experiment):
    assert {"config.yaml", "run.sh", "test.sh"} <= {path.name for path in experiment.iterdir()}
