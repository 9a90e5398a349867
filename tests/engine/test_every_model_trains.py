"""Every registered model trains, validates and tests on the embedded data set by way of the command line."""

import json

import pytest
import yaml
from tiny_models import tiny_options

from slowfast.cli import main
from slowfast.models import MODEL_REGISTRY
from slowfast.utils.checkpoint import load_checkpoint


@pytest.mark.parametrize("name", sorted(name for name, _ in MODEL_REGISTRY))
def test_a_model_trains_one_step_and_is_tested(name, motion_dir, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"NUM_GPUS": 0, "CPU_THREADS": 1, "OUTPUT_DIR": str(tmp_path / "out")}))
    options = [
        *tiny_options(name),
        *("TRAIN.DATASET", "motion", "TEST.DATASET", "motion", "DATA.PATH_TO_DATA_DIR", motion_dir),
        *("MODEL.NUM_CLASSES", 8, "TRAIN.BATCH_SIZE", 16, "TEST.BATCH_SIZE", 8, "DATA_LOADER.NUM_WORKERS", 0),
        *("TEST.NUM_ENSEMBLE_VIEWS", 1, "TEST.NUM_SPATIAL_CROPS", 1, "DATA.SAMPLING_RATE", 2),
        *("SOLVER.MAX_EPOCH", 1, "SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.BASE_LR", 1e-3, "LOG_MODEL_INFO", False),
    ]
    assert main(["--cfg", str(config), *map(str, options)]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert 0 <= report["top1_acc"] <= 100
    state = load_checkpoint(tmp_path / "out/checkpoints/checkpoint_epoch_00001.pyth")
    assert state["epoch"] == 0
    moments = state["optimizer_state"]["state"].values()
    assert moments and all(entry["step"] == 1 for entry in moments)
