"""Losses and gradients that are not finite: skipped without a trace, explained, and at some point the end."""

from pathlib import Path

import pytest
import torch

from slowfast.engine import launch, run, step
from slowfast.engine.nonfinite import NonFiniteGuard, NonFiniteLossError, first_nonfinite_layer
from slowfast.utils.checkpoint import epoch_checkpoints, load_checkpoint


def test_a_bad_step_leaves_no_trace_in_running_statistics():
    model = torch.nn.BatchNorm1d(2)
    guard = NonFiniteGuard(model, 3)
    model(torch.randn(4, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    guard.begin_step()
    model(torch.full((4, 2), torch.nan))
    assert model.running_mean.isnan().all()
    guard.undo()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_only_bad_steps_in_a_row_end_the_run():
    guard = NonFiniteGuard(torch.nn.Linear(1, 1), 2)
    for _ in range(3):
        guard.skipped("Loss nan", [4, 7], "head (Linear)")
        guard.skipped("Loss nan", [4, 7], "head (Linear)")
        guard.passed()
    assert guard.total == 6
    guard.skipped("Loss nan", [4], "")
    guard.skipped("Loss nan", [4], "")
    with pytest.raises(
        NonFiniteLossError, match=r"\(from 0\): 4, 7\..*3 in a row, and TRAIN\.MAX_NONFINITE_STEPS is 2"
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
    with pytest.raises(NonFiniteLossError, match=r"2 in a row.*Lower SOLVER\.BASE_LR"):
        launch(cfg, run)
    (path,) = epoch_checkpoints(cfg.OUTPUT_DIR)
    assert all(value.isfinite().all() for value in load_checkpoint(path)["model_state"].values())


def test_a_gradient_that_is_not_finite_is_skipped_though_the_loss_is(run_cfg, monkeypatch):
    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.nan

    monkeypatch.setattr(
        step, "build_loss", lambda cfg: lambda x, y: torch.nn.functional.cross_entropy(Poison.apply(x), y)
    )
    cfg = run_cfg("TEST.ENABLE", False, "TRAIN.MAX_NONFINITE_STEPS", 0)
    with pytest.raises(NonFiniteLossError, match="The gradient of epoch 1, step 1 is not finite"):
        launch(cfg, run)
