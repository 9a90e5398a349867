"""Checkpoints that are whole, with a digest that is right, and hold entries from which no run can go on."""

import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from harness import Job, assert_same_run, finish

from slowfast.engine.entries import ALWAYS, BEST, OWN
from slowfast.engine.train import Trainer
from slowfast.utils.checkpoint import load_checkpoint, run_checkpoints
from slowfast.utils.files import CheckpointError, save_atomically


def put(state, *place, value):
    for key in place[:-1]:
        state = state[key]
    state[place[-1]] = value


def drop(state, *place):
    for key in place[:-1]:
        state = state[key]
    del state[place[-1]]


MOMENT = ("optimizer_state", "state", 0)
GROUP = ("optimizer_state", "param_groups", 0)
# What is changed in a checkpoint, and the entry that the message names with its value.
ODD = {
    "a future field of its place": (partial(put, value=3), ("position", "shard"), "its position/shard is not known"),
    "a place without an epoch": (drop, ("position", "epoch"), "it has no position/epoch"),
    "steps below zero": (partial(put, value=-2), ("position", "steps"), "its position/steps is -2"),
    "samples of no step": (partial(put, value=7), ("position", "samples"), "steps is 0 and its position/samples 7"),
    "steps in words": (
        partial(put, value="two"),
        ("position", "steps"),
        "its position/steps is 'two' and must be a whole",
    ),
    "another form of cfg": (partial(put, value={}), ("cfg",), "its cfg cannot be read"),
    "an epoch of 10^9": (partial(put, value=10**9), ("epoch",), "its epoch is 1000000000 and its position/epoch 2"),
    "a fraction of an epoch": (partial(put, value=1.5), ("epoch",), "its epoch is 1.5 and must be a whole number"),
    "no optimizer": (drop, ("optimizer_state",), "it holds no optimizer_state"),
    "an optimizer of no kind": (
        partial(put, value=[]),
        ("optimizer_state",),
        "its optimizer_state is list and must be a dict",
    ),
    "a place without steps": (drop, ("position", "steps"), "it has no position/steps"),
    "meters of a future version": (partial(put, value=[{}]), ("position", "meters"), "no position/meters/0/sums"),
    "meters that are numbers": (partial(put, value=[3]), ("position", "meters"), "position/meters/0 is 3 and must be"),
    "a best epoch in words": (partial(put, value="x"), ("best", "epoch"), "its best/epoch is 'x' and must be a whole"),
    "another cfg": (partial(put, value="FOO: 1"), ("cfg",), r"its cfg has no MODEL\.MODEL_NAME"),
    "a cfg without end": (partial(put, value="a: &x {b: *x}"), ("cfg",), "its cfg cannot be read"),
    "params in another order": (
        partial(put, value=["a"]),
        (*GROUP, "params"),
        "are not the numbers of all parameters in order",
    ),
    "no betas": (
        drop,
        (*GROUP, "betas"),
        "it has no optimizer_state/param_groups/0/betas",
    ),
    "one beta": (
        partial(put, value=(0.9,)),
        (*GROUP, "betas"),
        "betas is tuple and must be like",
    ),
    "an eps that is no number": (
        partial(put, value=None),
        (*GROUP, "eps"),
        "eps is NoneType",
    ),
    "the groups of Adam": (
        partial(put, value=False),
        (*GROUP, "decoupled_weight_decay"),
        "decoupled_weight_decay is False, which is another optimizer's",
    ),
    "a step in words": (partial(put, value="x"), (*MOMENT, "step"), "state/0/step is 'x' and must be a count"),
    "a step below zero": (
        partial(put, value=torch.tensor(-1.0)),
        (*MOMENT, "step"),
        "0/step is Tensor and must be",
    ),
    "no groups": (drop, ("optimizer_state", "param_groups"), "it has no optimizer_state/param_groups"),
    "no moments": (
        partial(put, value={}),
        ("optimizer_state", "state"),
        "optimizer_state/state has moments of 0 parameters",
    ),
    "no moments of one parameter": (drop, MOMENT, "optimizer_state/state has moments of"),
    "no second moment of one": (drop, (*MOMENT, "exp_avg_sq"), "it has no optimizer_state/state/0/exp_avg_sq"),
    "moments of another shape": (
        partial(put, value=torch.zeros(3)),
        (*MOMENT, "exp_avg"),
        r"its optimizer_state/state/0/exp_avg is \(3,\) and must be \(\d+,\)",
    ),
    "words for a moment": (partial(put, value="none"), (*MOMENT, "exp_avg"), "0/exp_avg is 'none' and no tensor"),
    "weights of another shape": (
        partial(put, value=torch.zeros(3)),
        ("model_state", "head.bias"),
        r"its model_state/head.bias is \(3,\) and must be \(8,\)",
    ),
    "a weight too many": (partial(put, value=torch.zeros(3)), ("model_state", "x"), "its model_state/x has no place"),
    "a weight too few": (drop, ("model_state", "head.bias"), "it has no model_state/head.bias"),
    **{f"no {name}": (drop, (name,), f"it has no {name}") for name in ALWAYS},
    **{f"no {name} of the best": (drop, ("best", name), f"it has no best/{name}") for name in BEST},
    "no version of torch": (drop, ("versions", "torch"), "it has no versions/torch"),
    "a place without meters": (drop, ("position", "meters"), "it has no position/meters"),
    "a torn scaler": (partial(put, value={"scale": 1.0}), ("scaler_state",), "it has no scaler_state/growth_factor"),
    "a best that is a number": (partial(put, value=3.0), ("best",), "its best is 3.0 and must be a dict"),
}


def make_odd(path: Path, what: str) -> None:
    change, place, _ = ODD[what]
    state = load_checkpoint(path)
    change(state, *place)
    save_atomically(state, path)


def start_from(config, path: Path):
    """Where a run begins that TRAIN.CHECKPOINT_FILE_PATH leads to a checkpoint."""
    return Trainer(config("TRAIN.CHECKPOINT_FILE_PATH", str(path)), torch.device("cpu"), "").start()


@pytest.mark.parametrize("what", ODD)
def test_no_run_goes_on_from_a_checkpoint_with(config, references, what, record_property):
    """One message names the file and the entry."""
    cfg = config()
    shutil.copytree(references[1], cfg.OUTPUT_DIR)
    path, *others = run_checkpoints(cfg.OUTPUT_DIR)
    for other in others:
        other.unlink()
    trainer = Trainer(cfg, torch.device("cpu"), load_checkpoint(path)["train_list"])
    make_odd(path, what)
    with pytest.raises(CheckpointError, match=ODD[what][-1]) as refused:
        trainer.start()
    said = str(refused.value)
    assert said.count(str(path)) == 1
    assert len(said) < 600
    said = said.partition(f"{path} ")[2] or said.partition("\n")[2]
    record_property("seen", re.split(r"\.? Set |\.? To |\n", said)[0].strip())


def test_an_epoch_beyond_the_end_of_its_own_run_is_refused_without_a_place(config, references, tmp_path):
    path = Path(shutil.copy(run_checkpoints(references[1])[0], tmp_path))
    state = load_checkpoint(path)
    foreign = {name: state[name] for name in state.keys() - {*OWN}}
    save_atomically(foreign | {"epoch": 10**9}, path)
    with pytest.raises(CheckpointError, match=r"its epoch is 1000000000, of a run of SOLVER\.MAX_EPOCH 2"):
        start_from(config, path)


def test_a_checkpoint_of_a_step_without_its_place_is_refused(config, references, tmp_path):
    """The epoch would be done again from its start, on weights that have a part of it behind them."""
    state = load_checkpoint(run_checkpoints(references[1])[0])
    del state["position"]
    path = save_atomically(state | {"epoch": 0}, tmp_path / "checkpoint_epoch_00002_step_000003.pyth")
    with pytest.raises(CheckpointError, match=rf"{path} cannot be gone on from: it has no position"):
        start_from(config, path)


@pytest.mark.parametrize("what", ["a future field of its place", "no second moment of one"])
def test_a_run_goes_on_from_the_checkpoint_before_one_with(config, references, what):
    cfg = config()
    output = Path(shutil.copytree(references[1], cfg.OUTPUT_DIR))
    newest, before = run_checkpoints(output)[:2]
    make_odd(newest, what)
    job = finish(cfg)
    assert f"{newest} cannot be gone on from: " in job.said()
    assert "Using an older one" in job.said()
    assert f"Resumed from {before}" in job.said()
    assert_same_run(output, references[1])


def test_the_processes_of_a_run_refuse_moments_of_another_shape_with_one_message(config, references):
    cfg = config("TRAIN.BATCH_SIZE", 3)
    output = Path(shutil.copytree(references[2], cfg.OUTPUT_DIR))
    for path in run_checkpoints(output):
        make_odd(path, "moments of another shape")
    with Job(cfg, 2) as job:
        assert job.wait() == [1, 1]
    assert job.said().count("does not fit this model and optimizer: its optimizer_state/state/0/exp_avg") == 1
    assert "Traceback" not in job.said()


def test_entries_of_a_newer_version_are_told_and_not_used(config, references):
    cfg = config()
    output = Path(shutil.copytree(references[1], cfg.OUTPUT_DIR))
    newest, before = run_checkpoints(output)[:2]
    newest.unlink()
    state = load_checkpoint(before)
    versions = state["versions"] | {"python": "9.9"}
    save_atomically(state | {"future": [1], "versions": versions}, before)
    job = finish(cfg)
    assert f"{before} has entries that are not known here and not used: future, versions/python." in job.said()
    assert_same_run(output, references[1])


def test_a_place_unlike_the_files_name_is_refused(config, references, tmp_path):
    state = load_checkpoint(run_checkpoints(references[1])[0])
    place = {"epoch": 1, "steps": 0, "samples": 0, "meters": []}
    path = save_atomically(
        state | {"epoch": 0, "position": place}, tmp_path / "checkpoint_epoch_00002_step_000003.pyth"
    )
    with pytest.raises(CheckpointError, match="its position is 0 steps into epoch 2"):
        start_from(config, path)


@pytest.mark.parametrize("entry", ["world_size", "versions", "threads", "best"])
def test_other_projects_may_use_common_names(config, references, tmp_path, entry):
    state = load_checkpoint(run_checkpoints(references[1])[0])
    foreign = {name: state[name] for name in ("epoch", "model_state", "optimizer_state", "cfg", entry)}
    path = save_atomically(foreign | {"epoch": 0}, tmp_path / "other.pyth")
    position = start_from(config, path)
    assert (position.epoch, position.steps) == (1, 0)


def test_a_checkpoint_without_the_number_of_threads_is_one_of_an_older_version(config, references, tmp_path):
    state = load_checkpoint(run_checkpoints(references[1])[0])
    path = save_atomically({name: state[name] for name in state.keys() - {"threads", "moments"}}, tmp_path / "old.pyth")
    assert start_from(config, path).epoch == 2


def test_meters_of_fewer_processes_than_the_run_had_are_refused(config, references, tmp_path):
    state = load_checkpoint(run_checkpoints(references[2])[0])
    place = {"epoch": 1, "steps": 3, "samples": 18, "meters": []}
    path = save_atomically(
        state | {"epoch": 0, "position": place}, tmp_path / "checkpoint_epoch_00002_step_000003.pyth"
    )
    with pytest.raises(CheckpointError, match="its position/meters are of 0 processes, and its world_size is 2"):
        start_from(config, path)


def test_other_projects_checkpoints_without_cfg_are_gone_on_from_where_changed_settings_may(config, references):
    cfg = config()
    output = Path(shutil.copytree(references[1], cfg.OUTPUT_DIR))
    newest, *others = run_checkpoints(output)
    for path in others:
        path.unlink()
    state = load_checkpoint(newest)
    save_atomically({name: state[name] for name in state.keys() - {*OWN, "cfg"}}, newest)
    with Job(cfg, 1) as job:
        assert job.wait() == [1]
    assert "cfg: the checkpoint has none that can be read" in job.said()
    job = finish(config("TRAIN.RESUME_CHANGED", True))
    assert "cfg: the checkpoint has none that can be read" in job.said()
    assert "Nothing to train" in job.said()


def test_moments_that_nothing_counts_are_told_when_they_are_missing(config, references, tmp_path):
    """As in another project's file, or one of an older version."""
    path = Path(shutil.copy(run_checkpoints(references[1])[1], tmp_path))
    state = load_checkpoint(path)
    state.pop("moments", None)
    moments = len(state["optimizer_state"]["state"])
    del state["optimizer_state"]["state"][0]
    save_atomically(state, path)
    job = finish(config("TRAIN.CHECKPOINT_FILE_PATH", str(path)))
    assert f"{path} has moments (optimizer_state/state) of {moments - 1} parameters of {moments}" in job.said()
