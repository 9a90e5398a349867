"""Five optimizer steps from upstream's weights on upstream's input: one trajectory however they are run.

Upstream's parameter groups and schedule (linear warm-up, then cosine), AdamW or, for ReSpike, SGD. Run eagerly, with
recomputed activations, and by two gloo processes. Each process takes the whole input, so that the averaged gradients
are the eager ones; sharded batches are compared in tests/engine/test_distributed.py.
"""

from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from parity_fixtures import clips_of, config_of, fixture_files, load_fixture, model_name, state_of
from processes import START_METHOD
from torch.nn import functional as F

from slowfast.config import preset_model
from slowfast.engine.parallel import gradient_norm
from slowfast.engine.step import Learner
from slowfast.models.pretrained import load_weights
from slowfast.solver import build_lr_schedule, set_learning_rate
from slowfast.utils.distributed import free_port

STEPS = 5
EVERY_BLOCK = ("MODEL.USE_CHECKPOINT", True, "MODEL.CHECKPOINT_NUM", [99] * 4)
ADAMW = ("SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.WEIGHT_DECAY", 0.05, "SOLVER.ZERO_WD_1D_PARAM", True)
SGD = ("SOLVER.OPTIMIZING_METHOD", "sgd", "SOLVER.WEIGHT_DECAY", 1e-4, "SOLVER.NESTEROV", False)
SCHEDULE = (
    *("SOLVER.MAX_EPOCH", STEPS, "SOLVER.WARMUP_EPOCHS", 2.0, "SOLVER.WARMUP_START_LR", 1e-4),
    *("SOLVER.BASE_LR", 1e-3, "SOLVER.COSINE_END_LR", 1e-6, "SOLVER.COSINE_AFTER_WARMUP", True),
    *("SOLVER.LEGACY_PARAM_GROUPS", True, "NUM_GPUS", 0, "TRAIN.MIXED_PRECISION", False),
)


def one_of_each_model() -> dict[str, Path]:
    """Registered model -> its first fixture that takes clips alone and gives one tensor of logits."""
    found = {}
    for path in fixture_files():
        fixture = load_fixture(path)
        if isinstance(fixture["input"], torch.Tensor) and isinstance(fixture["output_train"], torch.Tensor):
            found.setdefault(preset_model(model_name(path)), path)
    return found


CASES = one_of_each_model()


def trajectory(name: str, output: Path, *options) -> dict:
    """Losses of five steps, and the weights and buffers after them."""
    fixture = load_fixture(CASES[name])
    cfg = config_of(fixture)
    cfg.merge_from_list([*SCHEDULE, *(SGD if name == "ReSpike" else ADAMW), "OUTPUT_DIR", str(output), *options])
    learner, learning_rate = Learner(cfg, torch.device("cpu")), build_lr_schedule(cfg)
    load_weights(learner.model, state_of(fixture))
    learner.parallel.train()
    (clips,) = clips_of(fixture)
    labels = torch.arange(len(clips)) % cfg.MODEL.NUM_CLASSES
    losses = []
    for step in range(STEPS):
        set_learning_rate(learner.optimizer, learning_rate(step))
        loss = F.cross_entropy(learner.parallel(clips), labels)
        loss.backward()
        learner.update_weights(gradient_norm(learner.model))
        losses.append(loss.item())
    return {"losses": losses, "state": {key: value.clone() for key, value in learner.model.state_dict().items()}}


def train_every_model(rank: int, port: int, folder: Path) -> None:
    """One of two processes; the first writes every model's trajectory."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{port}", world_size=2, rank=rank)
    for name in CASES:
        result = trajectory(name, folder / "run")
        if rank == 0:
            torch.save(result, folder / f"{name}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def distributed_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    mp.start_processes(train_every_model, (free_port(), folder), 2, start_method=START_METHOD)
    return lambda name: torch.load(folder / f"{name}.pt")


@pytest.fixture(scope="module")
def eager_run(tmp_path_factory):
    cache = {}

    def run(name):
        if name not in cache:
            cache[name] = trajectory(name, tmp_path_factory.mktemp("eager"))
        return cache[name]

    return run


def assert_same_trajectory(one: dict, other: dict) -> None:
    assert one["losses"] == pytest.approx(other["losses"], rel=1e-5, abs=1e-6)
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)
    for key, value in other["state"].items():
        close(one["state"][key], value, msg=lambda message, key=key: f"{key}: {message}")


@pytest.mark.parametrize("name", CASES)
def test_every_step_moves_the_weights(name, eager_run):
    fixture = load_fixture(CASES[name])
    run, start = eager_run(name), state_of(fixture)
    used = start.keys() - set(fixture["no_grad_params"])
    assert len(set(run["losses"])) == STEPS
    assert all(not torch.equal(run["state"][key], start[key]) for key in used if key.endswith("proj.weight"))


@pytest.mark.parametrize("name", CASES)
def test_recomputed_activations_stay_on_the_trajectory(name, eager_run, tmp_path):
    assert_same_trajectory(trajectory(name, tmp_path, *EVERY_BLOCK), eager_run(name))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_stay_on_the_trajectory(name, eager_run, distributed_runs):
    assert_same_trajectory(distributed_runs(name), eager_run(name))
