"""Checkpoints that are whole, with a digest that is right, and hold numbers from which nothing can be computed."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from harness import Job, assert_same_run, finish

from slowfast.engine.train import Trainer
from slowfast.utils.checkpoint import load_checkpoint, load_outline, run_checkpoints
from slowfast.utils.files import CheckpointError, save_atomically


def spoil(path: Path, *place, value) -> str:
    """Writes `value(tensor)` into a checkpoint as the project itself writes it; returns the tensor's name."""
    state = load_checkpoint(path)
    node = state
    for key in place[:-1]:
        node = node[key]
    name = next(name for name in node if str(name).startswith(place[-1]) and node[name].is_floating_point())
    node[name] = value(node[name])
    save_atomically(state, path)
    return "/".join(map(str, (*place[:-1], name)))


MOMENT = ("optimizer_state", "state", 0)
HARMS = {
    "NaN weights": ("model_state", "head.weight", lambda x: x * math.nan, "NaN"),
    "infinite statistics": ("model_state", "lpBN.running_var", lambda x: x + math.inf, "infinite"),
    "weights of whole numbers": ("model_state", "head.weight", torch.Tensor.long, "int64"),
    "NaN moments": (*MOMENT, "exp_avg_sq", lambda x: x * math.nan, "NaN"),
    "complex moments": (*MOMENT, "exp_avg", lambda x: x + 1j, "complex64"),
    "an infinite step": (*MOMENT, "step", lambda x: x / 0, "infinite"),
}


@pytest.mark.parametrize("what", HARMS)
def test_a_checkpoint_is_refused_by_name_that_holds(config, references, tmp_path, what):
    path = Path(shutil.copy(run_checkpoints(references[1])[0], tmp_path))
    ledger = Trainer(config(), torch.device("cpu"), "").ledger
    ledger.refuse_unusable(path, load_outline(path))
    *place, value, said = HARMS[what]
    name = spoil(path, *place, value=value)
    with pytest.raises(CheckpointError, match=rf"{path} is not loaded: 1 of its \d+ .*: {name} \({said}\)\."):
        ledger.refuse_unusable(path, load_outline(path))


@pytest.mark.parametrize("what", ["NaN weights", "NaN moments"])
def test_a_run_continues_from_the_checkpoint_before_one_that_holds(config, references, what):
    cfg = config()
    output = Path(shutil.copytree(references[1], cfg.OUTPUT_DIR))
    *place, value, said = HARMS[what]
    newest, before = run_checkpoints(output)[:2]
    name = spoil(newest, *place, value=value)
    job = finish(cfg)
    assert f"{name} ({said}). Using an older one." in job.said()
    assert f"Resumed from {before}" in job.said()
    assert_same_run(output, references[1])


@pytest.mark.parametrize("what", ["resumed", "continued from", "started from", "tested"])
def test_nan_weights_in_every_checkpoint_are_refused_when(config, references, tmp_path, what):
    other = Path(shutil.copytree(references[1], tmp_path / "other"))
    for path in run_checkpoints(other):
        spoil(path, "model_state", "head.weight", value=lambda x: x * math.nan)
    path = run_checkpoints(other)[0]
    options = {
        "resumed": (),
        "continued from": ("TRAIN.CHECKPOINT_FILE_PATH", str(path)),
        "started from": ("TRAIN.CHECKPOINT_FILE_PATH", str(path), "TRAIN.CHECKPOINT_EPOCH_RESET", True),
        "tested": ("TRAIN.ENABLE", False, "TEST.ENABLE", True, "TEST.CHECKPOINT_FILE_PATH", str(path)),
    }
    with Job(config(*options[what], name="other" if what == "resumed" else "out")) as job:
        assert job.wait() == [1]
    assert f"{path} is not loaded: 1 of its " in job.said()
    assert "head.weight (NaN)" in job.said()
    assert "Traceback" not in job.said()
    assert "epoch 1/2" not in job.said()
