"""The models without spikes train, validate and test by the command line, from random or from image weights."""

import shutil
from pathlib import Path

import pytest
import torch

from slowfast.cli import main
from slowfast.config import write_config
from slowfast.engine import launch, run
from slowfast.models import build_model
from slowfast.utils.checkpoint import load_checkpoint
from slowfast.utils.files import CheckpointError

VIT = ("TIMESFORMER.EMBED_DIM", 16, "TIMESFORMER.DEPTH", 1, "TIMESFORMER.NUM_HEADS", 2, "TIMESFORMER.MLP_RATIO", 2)
ONE_EPOCH = ("SOLVER.MAX_EPOCH", 1, "TEST.NUM_ENSEMBLE_VIEWS", 1, "TEST.NUM_SPATIAL_CROPS", 1, "TEST.BATCH_SIZE", 8)
UNIFORMER = ("MODEL.MODEL_NAME", "Uniformer", *ONE_EPOCH)
MODELS = {
    "Uniformer": UNIFORMER,
    "Uniformer split": (*UNIFORMER, "UNIFORMER.SPLIT", True, "UNIFORMER.STD", True),
    "TimeSformer": ("MODEL.MODEL_NAME", "vit_base_patch16_224", *VIT, *ONE_EPOCH),
    "TimeSformer mix": ("MODEL.MODEL_NAME", "vit_base_patch16_224_mix", *VIT, *ONE_EPOCH),
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS.keys())
def test_a_model_runs_from_training_to_its_test(options, run_cfg, tmp_path):
    config = shutil.move(write_config(run_cfg(*options)), tmp_path / "run.yaml")
    assert main(["--cfg", str(config)]) == 0
    assert (tmp_path / "out/report.json").exists()
    trained = load_checkpoint(tmp_path / "out/checkpoints/checkpoint_epoch_00001.pyth")["model_state"]
    assert all(value.isfinite().all() for value in trained.values())


def test_training_starts_from_the_image_weights_the_config_names(run_cfg, tmp_path):
    still = ("SOLVER.BASE_LR", 1e-9, "SOLVER.WARMUP_START_LR", 0, "SOLVER.WEIGHT_DECAY", 0, "TEST.ENABLE", False)
    cfg = run_cfg(*UNIFORMER, *still)
    image = {
        key: torch.rand_like(value[:, :, 0]) if value.dim() == 5 else value
        for key, value in build_model(cfg).state_dict().items()
    }
    torch.save({"model": image}, tmp_path / "image.pth")
    cfg.UNIFORMER.PRETRAIN_NAME = str(tmp_path / "image.pth")
    launch(cfg, run)
    trained = load_checkpoint(Path(cfg.OUTPUT_DIR) / "checkpoints/checkpoint_epoch_00001.pyth")["model_state"]
    inflated = image["patch_embed1.proj.weight"].unsqueeze(2).expand(-1, -1, 3, -1, -1) / 3
    torch.testing.assert_close(trained["patch_embed1.proj.weight"], inflated)
    assert "reshaped" in (Path(cfg.OUTPUT_DIR) / "stdout.log").read_text()


def test_image_weights_that_cannot_be_found_are_an_error(run_cfg, monkeypatch):
    monkeypatch.delenv("CKPT_ROOT", raising=False)
    with pytest.raises(CheckpointError, match="CKPT_ROOT"):
        launch(run_cfg(*UNIFORMER, "UNIFORMER.PRETRAIN_NAME", "uniformer_small_in1k"), run)


def test_weights_for_other_classes_are_not_tested(run_cfg, tmp_path):
    torch.save({"model_state": build_model(run_cfg(*UNIFORMER)).state_dict()}, tmp_path / "w.pyth")
    weights = ("TRAIN.ENABLE", False, "TEST.CHECKPOINT_FILE_PATH", str(tmp_path / "w.pyth"))
    with pytest.raises(CheckpointError, match=r"head\.weight: file \(8, 16\), model \(9, 16\)"):
        launch(run_cfg(*UNIFORMER, *weights, "MODEL.NUM_CLASSES", 9), run)
