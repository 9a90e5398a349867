"""An optimizer, a schedule and a loss are one line in their table: a run takes them, and goes on with them."""

import pytest
import torch
import torch.nn.functional as F
from test_run import assert_same_weights, weights

from slowfast.engine import launch, run
from slowfast.models.losses import LOSSES
from slowfast.solver.lr_policy import LR_POLICIES
from slowfast.solver.optimizer import OPTIMIZERS


@pytest.fixture
def new_parts(monkeypatch):
    """KEY VALUE pairs that select parts which exist only here."""
    monkeypatch.setitem(OPTIMIZERS, "rmsprop", lambda groups, cfg: torch.optim.RMSprop(groups, lr=cfg.SOLVER.BASE_LR))
    monkeypatch.setitem(LR_POLICIES, "halving", lambda cfg: lambda epoch: cfg.SOLVER.BASE_LR * 0.5**epoch)
    monkeypatch.setitem(LOSSES, "smooth", lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=0.1))
    return (
        *("SOLVER.OPTIMIZING_METHOD", "rmsprop", "SOLVER.LR_POLICY", "halving", "MODEL.LOSS_FUNC", "smooth"),
        *("TEST.ENABLE", False, "SOLVER.COSINE_END_LR", 0.0),
    )


def test_a_run_takes_them_and_goes_on_with_them(new_parts, small_run, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    launch(small_run(whole, *new_parts), run)
    launch(small_run(cut, *new_parts, "SOLVER.MAX_EPOCH", 1), run)
    launch(small_run(cut, *new_parts, "TRAIN.RESUME_CHANGED", True), run)
    assert "Resumed from" in (cut / "stdout.log").read_text()
    assert_same_weights(weights(whole, 2), weights(cut, 2))
