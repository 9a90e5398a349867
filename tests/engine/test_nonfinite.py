"""Losses and gradients that are not finite: skipped without a trace, explained, and at some point the end."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from slowfast.cli import main
from slowfast.config import write_config
from slowfast.engine import launch, run, step
from slowfast.engine.nonfinite import NonFiniteGuard, NonFiniteLossError, first_nonfinite_layer
from slowfast.engine.test import NoScoreError
from slowfast.models import build_model
from slowfast.utils.checkpoint import BEST_NAME, checkpoint_dir, epoch_checkpoints, load_checkpoint
from slowfast.utils.files import save_atomically


def test_a_bad_step_leaves_no_trace_in_running_statistics():
    model = torch.nn.BatchNorm1d(2)
    guard = NonFiniteGuard(model, 3, "")
    model(torch.randn(4, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    guard.begin_step()
    model(torch.full((4, 2), torch.nan))
    assert model.running_mean.isnan().all()
    guard.undo()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_only_bad_steps_in_a_row_end_the_run():
    guard = NonFiniteGuard(torch.nn.Linear(1, 1), 2, "Rest a while.")
    for _ in range(3):
        guard.skipped("Loss nan", [4, 7], "head (Linear)")
        guard.skipped("Loss nan", [4, 7], "head (Linear)")
        guard.passed()
    assert guard.total == 6
    guard.skipped("Loss nan", [4], "")
    guard.skipped("Loss nan", [4], "")
    with pytest.raises(
        NonFiniteLossError, match=r"\(from 0\): 4, 7\..*3 in a row, and TRAIN\.MAX_NONFINITE_STEPS is 2\. Rest a while"
    ):
        guard.skipped("Loss nan", [4, 7], "head (Linear)")


def test_the_first_layer_that_is_not_finite_is_found():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.ReLU())
    with torch.no_grad():
        model[1].weight[0, 0] = torch.inf
    assert first_nonfinite_layer(model, lambda: model(torch.ones(1, 2))) == "1 (Linear)"
    assert first_nonfinite_layer(model[0], lambda: model[0](torch.ones(1, 2))) == ""


def spoil(monkeypatch, spoiled):
    """The clips of the training steps in `spoiled`, counted from 0, hold a NaN."""
    count, real = iter(range(1000)), step.normalize

    def normalize(clips, mean, std):
        values = real(clips, mean, std)
        return values * torch.nan if next(count) in spoiled else values

    monkeypatch.setattr(step, "normalize", normalize)


def test_a_run_goes_on_after_a_bad_batch_as_if_its_step_were_not_there(run_cfg, monkeypatch):
    spoil(monkeypatch, {1})
    cfg = run_cfg("TEST.ENABLE", False)
    launch(cfg, run)
    log = (Path(cfg.OUTPUT_DIR) / "stdout.log").read_text()
    assert "Loss nan of epoch 1, step 2 is not finite; first in " in log
    assert "Rows of the training list (from 0): " in log
    assert "(1 in a row, 1 so far)" in log
    state = load_checkpoint(epoch_checkpoints(cfg.OUTPUT_DIR)[0])
    assert all(value.isfinite().all() for value in state["model_state"].values())
    assert {int(moments["step"]) for moments in state["optimizer_state"]["state"].values()} == {3}  # of 4


def test_too_many_bad_batches_end_the_run_with_the_last_good_checkpoint_intact(run_cfg, monkeypatch):
    spoil(monkeypatch, set(range(2, 100)))
    cfg = run_cfg("TEST.ENABLE", False, "TRAIN.MAX_NONFINITE_STEPS", 1)
    with pytest.raises(NonFiniteLossError, match=r"2 in a row.*a new OUTPUT_DIR, and lower SOLVER\.BASE_LR"):
        launch(cfg, run)
    (path,) = epoch_checkpoints(cfg.OUTPUT_DIR)
    assert all(value.isfinite().all() for value in load_checkpoint(path)["model_state"].values())


def scale_gradients(monkeypatch, factor: float) -> None:
    """Losses stay as they are, and their gradients are multiplied."""

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * factor

    monkeypatch.setattr(
        step, "build_loss", lambda cfg: lambda x, y: torch.nn.functional.cross_entropy(Scaled.apply(x), y)
    )


def test_a_gradient_that_is_not_finite_is_skipped_though_the_loss_is(run_cfg, monkeypatch):
    scale_gradients(monkeypatch, torch.nan)
    cfg = run_cfg("TEST.ENABLE", False, "TRAIN.MAX_NONFINITE_STEPS", 0)
    with pytest.raises(NonFiniteLossError, match="The gradient of epoch 1, step 1 is not finite"):
        launch(cfg, run)


def stats_of(output: Path, kind: str) -> list[dict]:
    """The json_stats lines of a kind, read as strict JSON."""
    lines = re.findall(r"json_stats: (.*)", (output / "stdout.log").read_text())
    found = [json.loads(line, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON")) for line in lines]
    return [stats for stats in found if kind in (stats.get("_type"), stats.get("split"))]


def test_an_epoch_without_a_counted_step_has_no_figures(run_cfg, monkeypatch):
    spoil(monkeypatch, {0, 1})
    cfg = run_cfg("TEST.ENABLE", False, "TENSORBOARD.ENABLE", True)
    launch(cfg, run)
    first, second = stats_of(Path(cfg.OUTPUT_DIR), "train_epoch")
    assert [first[key] for key in ("loss", "top1_err", "top5_err")] == [None, None, None]
    assert (first["lr"] > 0, second["loss"] > 0) == (True, True)
    assert "epoch 1/2: no step counted, lr" in (Path(cfg.OUTPUT_DIR) / "stdout.log").read_text()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_whose_last_epoch_counts_no_step_fails_and_fails_again(
    run_cfg, tmp_path, monkeypatch, capsys, accumulate
):
    cfg = run_cfg("TRAIN.CHECKPOINT_PERIOD", 10, "SOLVER.GRADIENT_ACCUMULATION_STEPS", accumulate)
    config = shutil.move(write_config(cfg), tmp_path / "run.yaml")
    spoil(monkeypatch, {2, 3} if accumulate == 1 else {3})  # of two steps an epoch
    assert main(["--cfg", str(config)]) == 1
    assert "No step of the last epoch (2) was counted" in capsys.readouterr().err
    (path,) = epoch_checkpoints(cfg.OUTPUT_DIR)
    assert path.name == "checkpoint_epoch_00001.pyth"  # though only the last epoch was to be saved
    spoil(monkeypatch, set(range(1000)))
    assert main(["--cfg", str(config)]) == 1
    assert not (tmp_path / "out/report.json").exists()


def test_a_last_epoch_saved_within_is_done_again_too(run_cfg, monkeypatch):
    cfg = run_cfg("TRAIN.CHECKPOINT_EVERY_STEPS", 1, "TEST.ENABLE", False)
    spoil(monkeypatch, {2, 3})
    with pytest.raises(NonFiniteLossError):
        launch(cfg, run)
    spoil(monkeypatch, set())
    launch(cfg, run)
    assert stats_of(Path(cfg.OUTPUT_DIR), "train_epoch")[-1]["loss"] > 0


def test_an_epoch_whose_every_update_overflowed_in_half_precision_counts_no_step(run_cfg, monkeypatch):
    scale_gradients(monkeypatch, 1e36)  # finite, but not times the loss scale
    half = ("TRAIN.MIXED_PRECISION", True, "TRAIN.AMP_DTYPE", "float16")
    cfg = run_cfg("TEST.ENABLE", False, "SOLVER.MAX_EPOCH", 1, *half)
    with pytest.raises(NonFiniteLossError, match=r"No step of the last epoch.*or set TRAIN\.AMP_DTYPE bfloat16"):
        launch(cfg, run)
    assert stats_of(Path(cfg.OUTPUT_DIR), "train_epoch")[0]["loss"] is None


def test_a_test_with_scores_that_are_not_finite_is_wrong_and_says_which(run_cfg, tmp_path):
    cfg = run_cfg("TRAIN.ENABLE", False, "TEST.CHECKPOINT_FILE_PATH", str(tmp_path / "w.pyth"))
    weights = build_model(cfg).state_dict()
    weights["dwconv_bn.bias"].fill_(10)
    weights["head.weight"].fill_(3e38)
    torch.save({"model_state": weights}, tmp_path / "w.pyth")
    with pytest.raises(NoScoreError, match=r"No video of .*test\.csv has a score that is finite.*w\.pyth"):
        launch(cfg, run)
    output = Path(cfg.OUTPUT_DIR)
    report = json.loads((output / "report.json").read_text())
    assert (report["top1_acc"], report["top5_acc"]) == (0, 0)
    assert report["nonfinite_videos"] == list(range(8))
    log = (output / "stdout.log").read_text()
    assert re.search(r"8 of 8 videos of .*test\.csv have scores that are not finite; they count as wrong:\n", log)
    assert re.search(r"test\.csv:8: .*\.\w+: a score is NaN or infinite", log)


def test_a_sweep_names_videos_for_the_numbers_of_clips_that_overflow(run_cfg, tmp_path):
    cfg = run_cfg(
        *("TRAIN.ENABLE", False, "TEST.CHECKPOINT_FILE_PATH", str(tmp_path / "w.pyth"), "TEST.NUM_ENSEMBLE_VIEWS", -1)
    )
    weights = build_model(cfg).state_dict()
    weights["head.bias"][3] = 3e37  # the sum of 9 views is finite, that of 15 is not
    torch.save({"model_state": weights}, tmp_path / "w.pyth")
    launch(cfg, run)
    finals = stats_of(Path(cfg.OUTPUT_DIR), "test_final")
    assert [stats["top1_acc"] for stats in finals] == ["12.50", "12.50", "0.00", "0.00", "0.00"]
    log = (Path(cfg.OUTPUT_DIR) / "stdout.log").read_text()
    assert log.count("8 of 8 videos of ") == 3


def test_a_test_without_a_readable_video_blames_no_weights(run_cfg, motion_dir, tmp_path):
    folder = shutil.copytree(motion_dir, tmp_path / "unreadable")
    rows = [f"{folder / 'none.mp4'} {label}" for label in range(8)]
    (folder / "none.mp4").write_text("no video")
    (folder / "test.csv").write_text("\n".join(rows) + "\n")
    where = ("TEST.DATASET", "kinetics", "DATA.PATH_TO_DATA_DIR", str(folder), "DATA.CHECK_VIDEOS", 0)
    cfg = run_cfg(*where, "TRAIN.ENABLE", False, "TEST.CHECKPOINT_FILE_PATH", str(tmp_path / "w.pyth"))
    torch.save({"model_state": build_model(cfg).state_dict()}, tmp_path / "w.pyth")
    launch(cfg, run)
    report = json.loads((Path(cfg.OUTPUT_DIR) / "report.json").read_text())
    assert (report["top1_acc"], len(report["unreadable_videos"]), report["nonfinite_videos"]) == (0, 8, [])


def overflowing_in_evaluation(cfg) -> dict:
    """Weights with finite outputs while the norms use the batch's statistics, and NaN with the running ones."""
    weights = build_model(cfg).state_dict()
    weights["dwconv_bn.running_mean"].fill_(3e38)
    weights["dwconv_bn.weight"].fill_(1e4)
    return weights


def test_a_validation_that_is_not_finite_is_never_the_best(run_cfg, tmp_path):
    torch.save({"model_state": overflowing_in_evaluation(run_cfg())}, tmp_path / "w.pyth")
    cfg = run_cfg("TEST.ENABLE", False, "TRAIN.CHECKPOINT_FILE_PATH", str(tmp_path / "w.pyth"))
    launch(cfg, run)
    output = Path(cfg.OUTPUT_DIR)
    for stats in stats_of(output, "val_epoch"):
        assert (stats["top1_err"], stats["top5_err"], stats["min_top1_err"]) == (100, 100, None)
    assert all(stats["top1_err"] == 100 for stats in stats_of(output, "val_iter"))
    assert len(stats_of(output, "val_epoch")) == 2
    assert not (checkpoint_dir(output) / BEST_NAME).exists()
    assert "have scores that are not finite" in (output / "stdout.log").read_text()


@pytest.mark.parametrize("stored", [torch.nan, -torch.inf, -3.0])
def test_a_best_that_is_no_number_does_not_block_later_ones(run_cfg, stored):
    cfg = run_cfg("TEST.ENABLE", False, "SOLVER.MAX_EPOCH", 1)
    launch(cfg, run)
    (checkpoint_dir(cfg.OUTPUT_DIR) / BEST_NAME).unlink()
    (path,) = epoch_checkpoints(cfg.OUTPUT_DIR)
    best = {"top1_err": stored, "top5_err": stored, "epoch": 0}
    save_atomically(load_checkpoint(path) | {"best": best}, path)
    launch(run_cfg("TEST.ENABLE", False, "TRAIN.RESUME_CHANGED", True), run)
    assert (checkpoint_dir(cfg.OUTPUT_DIR) / BEST_NAME).exists()
    assert 0 <= stats_of(Path(cfg.OUTPUT_DIR), "val_epoch")[-1]["min_top1_err"] <= 100
